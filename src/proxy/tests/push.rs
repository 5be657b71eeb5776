//! Push messages to a client are written between complete replies, within bounds.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::protocol::Protocol as _;
use crate::protocol::redis::Redis;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::CloseSignal;
use crate::proxy::tests::exactly_once::output;

fn queue() -> Rc<ReplyQueue> {
    Rc::new(ReplyQueue::new(Rc::default(), Rc::default()))
}

fn responder(replies: &Rc<ReplyQueue>) -> Responder<Redis> {
    Responder::whole(Rc::clone(replies), replies.reserve(), Redis::HANDSHAKE)
}

fn push(replies: &ReplyQueue, text: &str, limit: &BufferLimit, now: Instant) -> bool {
    replies.push(b'>', &Frame::Borrowed(text.as_bytes()), limit, now)
}

#[test]
fn message_waits_for_the_end_of_a_streamed_reply() {
    let (replies, none, now) = (queue(), BufferLimit::default(), Instant::now());
    let [mut first, mut second] = std::array::from_fn(|_| responder(&replies));
    push(&replies, "*a", &none, now);
    first.part(b"<1");
    push(&replies, "*b", &none, now);
    assert_eq!(output(&replies), b">a<1");
    // The second has begun, but not at the client.
    second.part(b"<2");
    push(&replies, "*c", &none, now);
    first.complete(Frame::Borrowed(b"1>"));
    push(&replies, "*d", &none, now);
    assert_eq!(output(&replies), b"1>>b>c<2");
    second.complete(Frame::Borrowed(b"2>"));
    push(&replies, "*e", &none, now);
    assert_eq!(output(&replies), b"2>>d>e");
    assert_eq!(replies.status().pending_bytes, 0);
}

#[test]
fn subscriber_is_closed_at_hard_and_soft_limits() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let limit = BufferLimit {
        hard_bytes: 100,
        soft_bytes: 50,
        soft_for: Duration::from_secs(60),
    };
    let text = "x".repeat(30);

    let fast = queue();
    assert!((0..3).all(|_| push(&fast, &text, &limit, start)));
    assert!(!push(&fast, &text, &limit, start), "over 100 bytes");
    assert_eq!(
        fast.status().close_signal,
        Some(CloseSignal::SlowSubscriber)
    );
    assert_eq!(fast.status().pending_bytes, 0, "what is owed is dropped");
    assert!(!push(&fast, &text, &limit, start));

    let slow = queue();
    assert!((0..2).all(|_| push(&slow, &text, &limit, start)));
    assert!(push(&slow, "*y", &limit, at(60)));
    assert!(!push(&slow, "*y", &limit, at(61)));

    let recovers = queue();
    assert!((0..2).all(|_| push(&recovers, &text, &limit, start)));
    output(&recovers);
    assert!((0..2).all(|_| push(&recovers, &text, &limit, at(59))));
    assert!(push(&recovers, "*y", &limit, at(61)));
    assert!(!push(&recovers, "*y", &limit, at(120)));
}
