//! However a responder ends, its request is answered once, in order.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::ErrorReplies as _;
use crate::protocol::Protocol as _;
use crate::protocol::UpstreamError;
use crate::protocol::redis::command::MergeKind;
use crate::protocol::redis::{MergeSpec, Redis};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;

const DROPPED: &[u8] = b"-ERR request dropped by the proxy\r\n";

fn error_reply(error: UpstreamError) -> Vec<u8> {
    let mut text = BytesMut::new();
    Redis::write_upstream_error(error, Redis::HANDSHAKE, &mut text);
    text.to_vec()
}

/// The output of a reply queue.
pub(crate) fn output(replies: &ReplyQueue) -> Vec<u8> {
    let mut out = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(1..)) = replies.poll_write(&mut out, &mut cx) {}
    out
}

fn responder(replies: &Rc<ReplyQueue>) -> Responder<Redis> {
    Responder::whole(Rc::clone(replies), replies.reserve(), Redis::HANDSHAKE)
}

#[test]
fn dropped_responder_replies_an_error_in_order() {
    let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
    let [first, second, third] = std::array::from_fn(|_| responder(&replies));
    third.complete(Frame::Borrowed(b"+3\r\n"));
    drop(second);
    assert_eq!(output(&replies), b"", "the first is still to come");
    first.complete(Frame::Borrowed(b"+1\r\n"));
    assert_eq!(output(&replies), [b"+1\r\n", DROPPED, b"+3\r\n"].concat());
    assert_eq!(replies.status().in_flight, 0);
}

#[test]
fn reply_cut_midway_ends_the_client_connection() {
    let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
    let [mut first, second] = std::array::from_fn(|_| responder(&replies));
    first.part(b"$9\r\nhalf");
    drop(first);
    second.complete(Frame::Borrowed(b"+2\r\n"));
    assert!(replies.status().cut);
    assert_eq!(
        output(&replies),
        b"$9\r\nhalf",
        "no error may pass for a part of the value"
    );
}

#[test]
fn detached_client_has_no_pending_output() {
    let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
    let [first, mut second, third] = std::array::from_fn(|_| responder(&replies));
    second.part(b"$9\r\nhalf");
    replies.detach();
    first.complete(Frame::Borrowed(b"+1\r\n"));
    second.complete(Frame::Borrowed(b"+half\r\n"));
    drop(third);
    assert_eq!(output(&replies), b"");
    assert_eq!(replies.status().pending_bytes, 0);
}

/// A request whose reply is the sum of three.
fn sum_of_three(replies: &Rc<ReplyQueue>) -> Rc<Gather<Redis>> {
    let split = MergeSpec {
        name: "del",
        kind: MergeKind::Sum,
    };
    let gather = Gather::new(
        (Rc::clone(replies), replies.reserve()),
        (split.into(), Redis::HANDSHAKE),
        crate::proxy::tests::gather_context(),
        vec![0, 1, 2],
        3,
        (Instant::now(), true),
    );
    Rc::new(gather)
}

/// The end of one fragment.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Whole,
    InParts,
    Failed,
    Dropped,
}

#[test]
fn gather_replies_once_after_its_last_fragment() {
    use Fate::{Dropped, Failed, InParts, Whole};
    let timed_out = error_reply(UpstreamError::TimedOut);
    for (fates, expected) in [
        ([Whole, Whole, Whole], b":6\r\n".as_slice()),
        ([InParts, Whole, InParts], b":6\r\n"),
        ([Dropped, Whole, Whole], DROPPED),
        ([Whole, Whole, Dropped], DROPPED),
        ([Dropped, Dropped, Dropped], DROPPED),
        ([Failed, Dropped, Whole], &timed_out),
        ([Whole, Dropped, Failed], DROPPED),
    ] {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
            let gather = sum_of_three(&replies);
            let mut responders =
                [0, 1, 2].map(|index| Some(Responder::fragment(Rc::clone(&gather), index)));
            for index in order {
                assert_eq!(output(&replies), b"", "{fates:?} in {order:?}: too early");
                let mut responder = responders[index].take().unwrap();
                match fates[index] {
                    Whole => responder.complete(Frame::Shared(Bytes::from_static(b":2\r\n"))),
                    InParts => {
                        responder.part(b":");
                        responder.part(b"2");
                        responder.complete(Frame::Borrowed(b"\r\n"));
                    }
                    Failed => responder.fail(UpstreamError::TimedOut),
                    Dropped => drop(responder),
                }
            }
            assert_eq!(
                output(&replies).escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{fates:?} in {order:?}"
            );
            assert_eq!(replies.status().in_flight, 0);
        }
    }
}

#[test]
fn cancelled_gather_reports_the_failure_before() {
    let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
    let gather = sum_of_three(&replies);
    let [first, second, third] =
        [0, 1, 2].map(|index| Responder::fragment(Rc::clone(&gather), index));
    third.fail(UpstreamError::TimedOut);
    gather.cancel();
    first.fail(UpstreamError::Closed);
    second.fail_with(UpstreamError::Closed, b"-ERR lost\r\n");
    assert_eq!(output(&replies), error_reply(UpstreamError::TimedOut));
}

/// The next event of one of the open requests.
#[derive(Debug, Clone)]
enum Event {
    Part(Vec<u8>),
    Complete(Vec<u8>),
    Fail,
    Drop,
}

fn event() -> impl Strategy<Value = (usize, Event)> {
    // Small replies are kept in the reorder buffer, large ones in their own buffers.
    let bytes = || {
        prop_oneof![4 => 1..40_usize, 1 => 4000..9000_usize]
            .prop_flat_map(|len| any::<u8>().prop_map(move |byte| vec![byte; len]))
    };
    let event = prop_oneof![
        bytes().prop_map(Event::Part),
        bytes().prop_map(Event::Complete),
        Just(Event::Fail),
        Just(Event::Drop),
    ];
    (any::<usize>(), event)
}

proptest! {
    /// Requests end in any order, by reply, error or drop; the client reads as if each had waited for the one before.
    #[test]
    fn replies_leave_in_request_order(
        requests in 1..12_usize,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let queue = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
        let mut responders: Vec<_> = (0..requests).map(|_| Some(responder(&queue))).collect();
        let mut replies = vec![Vec::new(); requests];
        let mut broken = None;
        let mut seen = Vec::new();
        let drops = (0..requests).map(|_| (0, Event::Drop));
        for (nth, event) in events.into_iter().chain(drops) {
            let open: Vec<_> = (0..requests).filter(|&n| responders[n].is_some()).collect();
            let Some(&nth) = open.get(nth % open.len().max(1)) else { break };
            let mut responder = responders[nth].take().unwrap();
            let begun = !replies[nth].is_empty();
            let is_front = open[0] == nth && broken.is_none();
            let error = match event {
                Event::Part(bytes) => {
                    responder.part(&bytes);
                    replies[nth].extend(bytes);
                    responders[nth] = Some(responder);
                    None
                }
                Event::Complete(bytes) => {
                    responder.complete(Frame::Borrowed(&bytes));
                    replies[nth].extend(bytes);
                    None
                }
                Event::Fail => {
                    responder.fail(UpstreamError::Closed);
                    Some(UpstreamError::Closed)
                }
                Event::Drop => {
                    drop(responder);
                    Some(UpstreamError::Dropped)
                }
            };
            match error {
                Some(_) if begun && is_front => broken = Some(nth),
                Some(error) => replies[nth] = error_reply(error),
                None => {}
            }
            seen.extend(output(&queue));
            prop_assert_eq!(queue.status().cut, broken.is_some());
        }
        let expected = replies[..broken.map_or(requests, |nth| nth + 1)].concat();
        prop_assert_eq!(seen, expected);
    }
}
