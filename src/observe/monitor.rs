//! The requests that one client of `MONITOR` is shown.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::observe::feed::{Batch, Feed};
use crate::observe::watch::{Seen, Watch};

/// The number of bytes of a request that are shown.
pub const SHOWN_BYTES: usize = 64 << 10;

/// The requests that it has yet to be shown.
#[derive(Debug, Default)]
pub struct MonitorFeed(Feed<Monitored>);

/// A request to be shown.
#[derive(Debug)]
pub struct Monitored {
    /// When it was taken, since the Unix epoch.
    pub at: Duration,
    /// The database of its client.
    pub database: u32,
    /// The address of its client.
    pub client: Arc<str>,
    /// The request, in its canonical form: at most [`SHOWN_BYTES`] of it.
    pub head: Box<[u8]>,
}

impl MonitorFeed {
    /// Waits for requests.
    pub async fn next(&self) -> Batch<Monitored> {
        self.0.next().await
    }

    /// Ends it.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Watch for MonitorFeed {
    fn see(&self, request: &Seen<'_>) {
        if request.is_administrative {
            return;
        }
        let head = request.frame.get(..SHOWN_BYTES).unwrap_or(request.frame);
        self.0.push(head.len(), || Monitored {
            at: unix_time(),
            database: request.database,
            client: Arc::clone(request.client),
            head: head.into(),
        });
    }

    fn miss(&self, requests: u64) {
        self.0.miss(requests);
    }
}

/// The time since the Unix epoch.
pub(super) fn unix_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}
