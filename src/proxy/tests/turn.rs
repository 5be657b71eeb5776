//! One turn of a session is bounded in work, whoever answers its requests.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::net::{Accepted, Stream};
use crate::protocol::redis::Redis;
use crate::proxy::client::session::Session;
use crate::proxy::pool::LocalPool;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::tests::with_pool;

/// Requests that the client sends at once.
const SENT: usize = 2000;

/// Sends requests at once, and polls the session until all are answered. Returns the largest number of replies in one turn,
/// and the number of turns.
async fn turns(
    pool: &Rc<LocalPool<Redis>>,
    first: &str,
    request: &str,
    last: &str,
) -> (usize, usize) {
    let (near, mut client) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    client.set_nonblocking(true).unwrap();
    let stream = Stream::adopt(Accepted::Unix(near), false).unwrap();
    let replies = Rc::new(ReplyQueue::new(
        Rc::clone(&pool.cells),
        Rc::clone(&pool.context),
    ));
    let mut session = pin!(Session::new(stream, Rc::clone(pool), replies, 0));
    let sent = [first, &request.repeat(SENT), last].concat();
    client.write_all(sent.as_bytes()).unwrap();
    let (most, turns, ended) = (Cell::new(0), Cell::new(0), Cell::new(false));
    while !ended.get() {
        poll_fn(|cx| {
            assert!(session.as_mut().poll(cx).is_pending());
            turns.set(turns.get() + 1);
            let mut bytes = vec![0; 1 << 20];
            match client.read(&mut bytes) {
                Ok(len) => {
                    let lines = memchr::memchr_iter(b'\n', &bytes[..len]).count();
                    most.set(most.get().max(lines));
                    ended.set(bytes[..len].ends_with(b"LAST\r\n"));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
    (most.get(), turns.get())
}

#[test]
fn turn_takes_a_bounded_number_of_requests() {
    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\ny\r\n";
    for (first, request, last) in [
        ("", "*1\r\n$4\r\nPING\r\n", ""),
        ("", "PING\r\n", ""),
        ("", "\r\n", ""),
        ("", "*0\r\n", ""),
        ("", "NOSUCH\r\n", ""),
        ("", "SUBSCRIBE\r\n", ""),
        ("CLIENT REPLY OFF\r\n", "PING\r\n", "CLIENT REPLY ON\r\n"),
        ("MULTI\r\n", SET, "DISCARD\r\n"),
    ] {
        with_pool(async |pool| {
            let last = format!("{last}PING LAST\r\n");
            let (most, turns) = turns(&pool, first, request, &last).await;
            let limit = pool.flow.turn_local_requests;
            // The last reply has two lines.
            assert!(most <= limit + 1, "{request:?}: {most} replies in one turn");
            assert!(turns >= SENT / limit, "{request:?}: {turns} turns");
        });
    }
}
