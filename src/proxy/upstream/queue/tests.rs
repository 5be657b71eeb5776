//! Tests of the order of requests in a queue, and between two.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::*;
use crate::protocol::redis::Redis;

/// Accepts so many bytes.
struct Sink(Vec<u8>, usize);

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let taken = bytes.len().min(self.1 - self.0.len());
        self.0.extend_from_slice(&bytes[..taken]);
        if taken == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(taken))
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes until the sink takes no more.
async fn write(queue: &mut Queue<Redis>, sink: &mut Sink) {
    poll_fn(|cx| {
        loop {
            let out = queue.take_out();
            let outcome = out.poll_send(sink, cx);
            let written = match outcome {
                Poll::Ready(Ok(written)) => written,
                _ => 0,
            };
            queue.put_out(out, written, (Instant::now(), 0));
            if written == 0 {
                return Poll::Ready(());
            }
        }
    })
    .await;
}

/// What is sent if `first` is inserted when `sent` bytes of a request and a transaction are.
async fn order(sent: usize) -> String {
    let mut queue = Queue::<Redis>::new(Rc::default(), false);
    let now = Instant::now();
    for (bytes, follows) in [
        ("get ", false),
        ("multi ", false),
        ("a ", true),
        ("exec", true),
    ] {
        queue.out().copy(bytes.as_bytes());
        let responder = Responder::discard(Redis::HANDSHAKE);
        let responder = if follows {
            responder.following()
        } else {
            responder
        };
        queue.enqueue(bytes.len(), || responder, now);
    }
    let mut sink = Sink(Vec::new(), sent);
    write(&mut queue, &mut sink).await;
    let first = Bytes::from_static(b"(first)");
    queue.insert_first(first, Responder::discard(Redis::HANDSHAKE), now);
    sink.1 = usize::MAX;
    write(&mut queue, &mut sink).await;
    assert_eq!(queue.sent, 5, "every request is counted");
    String::from_utf8(sink.0).unwrap()
}

/// What another queue sends of three transactions and a request of which `sent` bytes were sent, and what this one still sends.
async fn moved(sent: usize) -> (String, String) {
    let now = Instant::now();
    let [mut old, mut new] = [(); 2].map(|()| Queue::<Redis>::new(Rc::default(), true));
    for text in [["multi1 ", "a1 ", "exec1 "], ["multi2 ", "a2 ", "exec2 "]] {
        for (nth, bytes) in text.into_iter().enumerate() {
            old.out().copy(bytes.as_bytes());
            let responder = Responder::discard(Redis::HANDSHAKE);
            let responder = if nth > 0 {
                responder.following()
            } else {
                responder
            };
            old.enqueue(bytes.len(), || responder, now);
        }
    }
    old.push(
        Frame::Borrowed(b"get k"),
        Span::default(),
        || Responder::discard(Redis::HANDSHAKE),
        now,
    );
    let mut sink = Sink(Vec::new(), sent);
    write(&mut old, &mut sink).await;
    new.put_unsent(old.take_unsent().unwrap(), now);
    let mut other = Sink(Vec::new(), usize::MAX);
    write(&mut new, &mut other).await;
    sink.1 = usize::MAX;
    write(&mut old, &mut sink).await;
    let text = |sink: Sink| String::from_utf8(sink.0).unwrap();
    (text(sink), text(other))
}

#[tokio::test]
async fn unsent_requests_move_to_another_queue_whole() {
    let (first, second) = ("multi1 a1 exec1 ", "multi2 a2 exec2 ");
    for sent in [0, 1, 7, 8, 16, 17, 32, 33, 37] {
        let (stays, goes) = moved(sent).await;
        let all = format!("{first}{second}get k");
        let cut = match sent {
            0 => 0,
            1..=16 => 16,
            17..=32 => 32,
            _ => 37,
        };
        assert_eq!((stays.as_str(), goes.as_str()), all.split_at(cut), "{sent}");
    }
}

#[tokio::test]
async fn first_request_is_not_inserted_into_a_transaction() {
    for (sent, expected) in [
        (0, "(first)get multi a exec"),
        (1, "get (first)multi a exec"),
        (4, "get (first)multi a exec"),
        (5, "get multi a exec(first)"),
        (10, "get multi a exec(first)"),
        (12, "get multi a exec(first)"),
        (15, "get multi a exec(first)"),
        (16, "get multi a exec(first)"),
    ] {
        assert_eq!(order(sent).await, expected, "{sent} bytes sent");
    }
}

#[tokio::test]
async fn transaction_whose_first_reply_has_come_is_not_torn() {
    let now = Instant::now();
    let mut queue = Queue::<Redis>::new(Rc::default(), true);
    for (bytes, follows) in [("multi ", false), ("a ", true), ("exec ", true)] {
        queue.out().copy(bytes.as_bytes());
        let responder = Responder::discard(Redis::HANDSHAKE);
        let responder = if follows {
            responder.following()
        } else {
            responder.leading()
        };
        queue.enqueue(bytes.len(), || responder, now);
    }
    let get = Frame::Borrowed(b"get k");
    let discard = || Responder::discard(Redis::HANDSHAKE);
    queue.push(get, Span::default(), discard, now);
    let mut sink = Sink(Vec::new(), "multi ".len());
    write(&mut queue, &mut sink).await;
    drop(queue.pop());
    let unsent = queue.take_unsent().unwrap();
    let texts: Vec<_> = unsent.copies.iter().map(|copy| &copy[..]).collect();
    assert_eq!(texts, [b"get k"]);
}
