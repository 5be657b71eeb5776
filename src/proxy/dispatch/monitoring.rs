//! `MONITOR`: one client gets the requests that pass.
//!
//! ```text
//! all workers --see--> MonitorFeed --task of this worker--> lines --push--> ReplyQueue of the client
//! ```
//!
//! A client that does not keep up is closed, as Redis closes one at its output limit: it never gets only some of the requests.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::{spawn_local, yield_now};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::observe::{MonitorFeed, Watch, Watching};
use crate::protocol::{PoolObserver as _, Protocol};
use crate::proxy::forward::Forwarder;
use crate::proxy::replies::queue::ReplyQueue;

/// The number of bytes that are written before other tasks run, and what a line counts for at least.
const BYTES_IN_A_ROW: usize = 64 << 10;
const LINE_BYTES: usize = 1 << 10;

/// The requests that a client is shown, until it is dropped.
#[derive(Debug)]
pub(crate) struct Monitoring {
    feed: Arc<MonitorFeed>,
    _watching: Watching,
}

impl Monitoring {
    pub(crate) fn begin<P: Protocol>(fw: &Forwarder<P>) -> Self {
        let feed = Arc::new(MonitorFeed::default());
        let watch: Arc<dyn Watch> = Arc::clone(&feed) as _;
        let watching = fw.pool.observer.watch(watch);
        let limit = fw.view.topology.config.pubsub_buffer_limit;
        let replies = Rc::clone(&fw.replies);
        spawn_local(show::<P>(Arc::clone(&feed), replies, limit));
        Self {
            feed,
            _watching: watching,
        }
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        self.feed.close();
    }
}

/// Writes the lines of one client.
async fn show<P: Protocol>(feed: Arc<MonitorFeed>, replies: Rc<ReplyQueue>, limit: BufferLimit) {
    let mut line = Vec::new();
    let mut in_a_row = 0;
    loop {
        let batch = feed.next().await;
        if batch.is_closed {
            return;
        }
        for request in batch.entries {
            line.clear();
            // In place of the prefix.
            line.push(b'+');
            P::Observer::write_monitored(&request, &mut line);
            line.extend_from_slice(b"\r\n");
            if !replies.push(b'+', &Frame::Borrowed(&line), &limit, Instant::now()) {
                return;
            }
            in_a_row += line.len().max(LINE_BYTES);
            if in_a_row >= BYTES_IN_A_ROW {
                in_a_row = 0;
                yield_now().await;
            }
        }
        if batch.missed > 0 {
            return replies.close_slow();
        }
    }
}
