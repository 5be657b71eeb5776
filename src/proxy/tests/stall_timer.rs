//! A client with much pending output is closed if it reads nothing, not if its server sends nothing.

use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{pause, timeout};

use crate::buf::Frame;
use crate::net::{Accepted, Stream};
use crate::protocol::Protocol as _;
use crate::protocol::redis::Redis;
use crate::proxy::client::session::Session;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::tests::with_pool;
use crate::stats::PoolMetric;

/// More than the limit plus the bytes that the socket accepts at once.
const PENDING_BYTES: usize = 96 << 20;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn stalled_server_keeps_clients_and_non_readers_are_closed() {
    for (is_answered, closed) in [(false, 0), (true, 1)] {
        assert_eq!(closed_as_slow(is_answered), closed);
    }
}

/// Runs a client that does not read for an hour, with more pending output than the limit, behind a request that is
/// answered or not.
fn closed_as_slow(is_answered: bool) -> u64 {
    with_pool(async |pool| {
        let (near, _far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let stream = Stream::adopt(Accepted::Unix(near), false).unwrap();
        let cells = Rc::clone(&pool.cells);
        let replies = Rc::new(ReplyQueue::new(Rc::clone(&cells), Rc::default()));
        let [front, large] = std::array::from_fn(|_| {
            Responder::<Redis>::whole(Rc::clone(&replies), replies.reserve(), Redis::HANDSHAKE)
        });
        large.complete(Frame::Borrowed(&vec![b'x'; PENDING_BYTES]));
        let mut front = Some(front);
        if is_answered && let Some(front) = front.take() {
            front.complete(Frame::Borrowed(b"+OK\r\n"));
        }
        pause();
        let session = Session::new(stream, pool, replies, 0);
        let ended = timeout(LONG, session).await;
        assert_eq!(ended.is_ok(), is_answered);
        cells.get(PoolMetric::SlowClientClosed)
    })
}
