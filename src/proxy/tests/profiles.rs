//! Connections of another profile than the first are closed when unused, without an effect on requests.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, pause, sleep};

use crate::buf::Frame;
use crate::protocol::Protocol as _;
use crate::protocol::redis::Redis;
use crate::protocol::{ConnProfile, Span};
use crate::proxy::pool::LocalPool;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::tests::exactly_once::output;
use crate::proxy::tests::{the_server, with_pool_at};
use crate::proxy::upstream::connection::KEEP;
use crate::stats::ServerMetric;

const PROFILE: ConnProfile = ConnProfile::new(8);

/// Starts a server that replies `+OK` to everything. Returns its address and the number of connections opened to it.
pub(crate) fn server() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let opened = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&opened);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    for _ in bytes[..read].iter().filter(|byte| **byte == b'*') {
                        stream.write_all(b"+OK\r\n").unwrap();
                    }
                }
            });
        }
    });
    (address, opened)
}

/// Sends one request in a profile, and checks its reply.
async fn roundtrip(pool: &LocalPool<Redis>, profile: ConnProfile) {
    let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
    let server = the_server(pool);
    let upstream = server.upstream(profile, 0).unwrap();
    let responder = Responder::whole(Rc::clone(&replies), replies.reserve(), Redis::HANDSHAKE);
    let frame = Frame::Borrowed(b"*1\r\n$4\r\nPING\r\n");
    upstream.forward(frame, Span::default(), responder, Instant::now());
    while !replies.is_idle() {
        yield_now().await;
    }
    assert_eq!(output(&replies), b"+OK\r\n");
}

#[test]
fn request_arriving_while_closing_is_served() {
    let (address, opened) = server();
    with_pool_at(&address, async |pool| {
        pause();
        for early in [0, 1, 2, 0, 1, 2].map(Duration::from_millis) {
            roundtrip(&pool, PROFILE).await;
            sleep(KEEP.saturating_sub(early)).await;
        }
        roundtrip(&pool, PROFILE).await;
        let before = opened.load(Ordering::SeqCst);
        for _ in 0..3 {
            sleep(KEEP / 2).await;
            roundtrip(&pool, PROFILE).await;
        }
        assert_eq!(opened.load(Ordering::SeqCst), before, "it is in use");
        let server = the_server(&pool);
        let upstream = server.upstream(PROFILE, 0).unwrap();
        let cells = &upstream.server.cells;
        assert_eq!(cells.get(ServerMetric::ServerConnections), 1);
        sleep(2 * KEEP).await;
        assert_eq!(cells.get(ServerMetric::ServerConnections), 0);
        roundtrip(&pool, PROFILE).await;
        assert_eq!(opened.load(Ordering::SeqCst), before + 1);
        assert_eq!(cells.get(ServerMetric::ServerErr), 0);
        assert_eq!(cells.get(ServerMetric::ServerEof), 0);
    });
}

#[test]
fn first_profile_connection_stays_open() {
    let (address, opened) = server();
    with_pool_at(&address, async |pool| {
        pause();
        for _ in 0..3 {
            roundtrip(&pool, ConnProfile::FIRST).await;
            sleep(100 * KEEP).await;
        }
    });
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}
