//! A panic of a driver fails the requests in its queue, and no others.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, pause, sleep};

use crate::buf::Frame;
use crate::protocol::Protocol as _;
use crate::protocol::redis::Redis;
use crate::protocol::{ConnProfile, Span, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::tests::exactly_once::output;
use crate::proxy::tests::profiles::server;
use crate::proxy::tests::{the_server, with_pool_at};
use crate::proxy::upstream::conn::{Admission, UpstreamConn};

/// Panics when its reply arrives.
struct Panics;

impl ReplyHandler<Redis> for Panics {
    fn part(&self, _: &[u8]) {}

    fn complete(self: Rc<Self>, _: Frame<'_>, _: bool) {
        panic!("as a bug would");
    }

    fn fail(self: Rc<Self>, _: UpstreamError, _: bool) {}
}

fn forward(conn: &UpstreamConn<Redis>, responder: Responder<Redis>) {
    let ping = Frame::Borrowed(b"*1\r\n$4\r\nPING\r\n");
    conn.forward(ping, Span::default(), responder, Instant::now());
}

/// The reply to a PING.
async fn ping(conn: &UpstreamConn<Redis>) -> Vec<u8> {
    let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
    forward(
        conn,
        Responder::whole(Rc::clone(&replies), replies.reserve(), Redis::HANDSHAKE),
    );
    while !replies.is_idle() {
        yield_now().await;
    }
    output(&replies)
}

#[test]
fn panicking_driver_fails_its_requests_and_reconnects() {
    let (address, _) = server();
    with_pool_at(&address, async |pool| {
        let server = the_server(&pool);
        let conn = server.upstream(ConnProfile::FIRST, 0).unwrap();
        forward(conn, Responder::handler(Rc::new(Panics), Redis::HANDSHAKE));
        assert!(ping(conn).await.starts_with(b"-ERR"));
        let admission = conn.admit(Instant::now());
        assert_eq!(admission, Admission::Down(UpstreamError::Dropped));
        pause();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(conn.admit(Instant::now()), Admission::Open);
        assert_eq!(ping(conn).await, b"+OK\r\n");
    });
}

#[test]
fn panicking_driver_fails_a_dedicated_connection() {
    let (address, _) = server();
    with_pool_at(&address, async |pool| {
        let server = the_server(&pool);
        let lease = pool.leases.acquire(&server, ConnProfile::FIRST).unwrap();
        let conn = lease.upstream().unwrap();
        forward(conn, Responder::handler(Rc::new(Panics), Redis::HANDSHAKE));
        assert!(ping(conn).await.starts_with(b"-ERR"));
        assert!(lease.is_lost());
    });
}
