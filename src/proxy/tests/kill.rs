//! A client that was killed is served no further, even before its worker is notified.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use tokio::task::{JoinHandle, spawn_local};

use crate::net::{Accepted, Stream};
use crate::protocol::redis::Redis;
use crate::proxy::client::session::Session;
use crate::proxy::pool::LocalPool;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::tests::with_pool;
use crate::stats::PoolMetric;

/// A client of a pool, its session, and its reply queue.
fn open(
    pool: &Rc<LocalPool<Redis>>,
    number: usize,
) -> (UnixStream, Session<Redis>, Rc<ReplyQueue>) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let stream = Stream::adopt(Accepted::Unix(near), false).unwrap();
    let replies = Rc::new(ReplyQueue::new(Rc::clone(&pool.cells), Rc::default()));
    let session = Session::new(stream, Rc::clone(pool), Rc::clone(&replies), number);
    (far, session, replies)
}

/// A client of a pool, whose session runs.
fn connect(pool: &Rc<LocalPool<Redis>>, number: usize) -> (UnixStream, JoinHandle<()>) {
    let (client, session, _) = open(pool, number);
    let served = async {
        session.await;
    };
    (client, spawn_local(served))
}

async fn roundtrip(client: &mut UnixStream, request: &str) -> String {
    client.write_all(request.as_bytes()).unwrap();
    let mut reply = [0; 64];
    loop {
        match client.read(&mut reply) {
            Ok(len) => return String::from_utf8_lossy(&reply[..len]).into_owned(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                tokio::task::yield_now().await;
            }
        }
    }
}

#[test]
fn a_killed_client_executes_nothing_more() {
    with_pool(async |pool| {
        let (mut victim, session) = connect(&pool, 0);
        let id = roundtrip(&mut victim, "CLIENT ID\r\n").await;
        let id = id.trim_matches([':', '\r', '\n']);
        let (mut admin, _session) = connect(&pool, 1);
        let kill = format!("CLIENT KILL ID {id}\r\n");
        assert_eq!(roundtrip(&mut admin, &kill).await, ":1\r\n");
        // No kill hook is set: the message to the worker of the client never arrives.
        assert_eq!(roundtrip(&mut victim, "PING\r\n").await, "");
        session.await.unwrap();
    });
}

#[test]
fn a_killed_session_reads_nothing_more() {
    with_pool(async |pool| {
        let (mut client, session, replies) = open(&pool, 0);
        client.write_all(b"ECHO 1\r\n").unwrap();
        // Once another session has read, the runtime knows that this socket is readable too.
        let (mut other, _session) = connect(&pool, 1);
        assert_eq!(roundtrip(&mut other, "PING\r\n").await, "+PONG\r\n");
        replies.kill();
        session.await;
        assert_eq!(pool.cells.get(PoolMetric::RequestsLocal), 1, "the PING");
    });
}
