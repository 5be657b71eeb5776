//! Whatever becomes of a ticket, its request is answered once, in its turn.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::redis::command::SplitKind;
use crate::protocol::redis::{Redis, Split};
use crate::protocol::{Fault, Protocol};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::Pipeline;
use crate::proxy::replies::responder::Ticket;

const DROPPED: &[u8] = b"-ERR the proxy dropped the request\r\n";

fn error(fault: Fault) -> Vec<u8> {
    let mut text = BytesMut::new();
    Redis::write_fault(fault, (), &mut text);
    text.to_vec()
}

/// What the pipeline has for its client.
pub(crate) fn output(pipeline: &Pipeline) -> Vec<u8> {
    let mut out = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(1..)) = pipeline.poll_write(&mut out, &mut cx) {}
    out
}

fn ticket(pipeline: &Rc<Pipeline>) -> Ticket<Redis> {
    Ticket::whole(Rc::clone(pipeline), pipeline.reserve(), ())
}

#[test]
fn a_dropped_ticket_answers_with_an_error_in_its_turn() {
    let pipeline = Rc::new(Pipeline::new(Rc::default(), Rc::default()));
    let [first, second, third] = std::array::from_fn(|_| ticket(&pipeline));
    third.complete(Frame::Borrowed(b"+3\r\n"));
    drop(second);
    assert_eq!(output(&pipeline), b"", "the first is still to come");
    first.complete(Frame::Borrowed(b"+1\r\n"));
    assert_eq!(output(&pipeline), [b"+1\r\n", DROPPED, b"+3\r\n"].concat());
    assert_eq!(pipeline.status().in_flight, 0);
}

#[test]
fn a_reply_that_breaks_off_at_the_client_ends_its_connection() {
    let pipeline = Rc::new(Pipeline::new(Rc::default(), Rc::default()));
    let [mut first, second] = std::array::from_fn(|_| ticket(&pipeline));
    first.part(b"$9\r\nhalf");
    drop(first);
    second.complete(Frame::Borrowed(b"+2\r\n"));
    assert!(pipeline.status().cut);
    assert_eq!(
        output(&pipeline),
        b"$9\r\nhalf",
        "no error may pass for a part of the value"
    );
}

#[test]
fn a_client_that_is_gone_is_owed_nothing() {
    let pipeline = Rc::new(Pipeline::new(Rc::default(), Rc::default()));
    let [first, mut second, third] = std::array::from_fn(|_| ticket(&pipeline));
    second.part(b"$9\r\nhalf");
    pipeline.abandon();
    first.complete(Frame::Borrowed(b"+1\r\n"));
    second.complete(Frame::Borrowed(b"+half\r\n"));
    drop(third);
    assert_eq!(output(&pipeline), b"");
    assert_eq!(pipeline.status().owed_bytes, 0);
}

/// How one fragment ends.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Whole,
    InParts,
    Failed,
    Dropped,
}

#[test]
fn a_gather_answers_once_when_its_last_fragment_has_ended_however_it_ended() {
    use Fate::{Dropped, Failed, InParts, Whole};
    let timed_out = error(Fault::TimedOut);
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
            let pipeline = Rc::new(Pipeline::new(Rc::default(), Rc::default()));
            let split = Split {
                name: "del",
                kind: SplitKind::Sum,
            };
            let seq = pipeline.reserve();
            let gather = Gather::<Redis>::new(
                (Rc::clone(&pipeline), seq),
                (split.into(), ()),
                crate::proxy::tests::nothing_known(),
                vec![0, 1, 2],
                3,
                Some(Instant::now()),
            );
            let gather = Rc::new(gather);
            let mut tickets =
                [0, 1, 2].map(|index| Some(Ticket::fragment(Rc::clone(&gather), index)));
            for index in order {
                assert_eq!(output(&pipeline), b"", "{fates:?} in {order:?}: too early");
                let mut ticket = tickets[index].take().unwrap();
                match fates[index] {
                    Whole => ticket.complete(Frame::Shared(Bytes::from_static(b":2\r\n"))),
                    InParts => {
                        ticket.part(b":");
                        ticket.part(b"2");
                        ticket.complete(Frame::Borrowed(b"\r\n"));
                    }
                    Failed => ticket.fail(Fault::TimedOut),
                    Dropped => drop(ticket),
                }
            }
            assert_eq!(
                output(&pipeline).escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{fates:?} in {order:?}"
            );
            assert_eq!(pipeline.status().in_flight, 0);
        }
    }
}

/// What happens next to one of the requests that are still open.
#[derive(Debug, Clone)]
enum Event {
    Part(Vec<u8>),
    Complete(Vec<u8>),
    Fail,
    Drop,
}

fn event() -> impl Strategy<Value = (usize, Event)> {
    // Small replies wait in the stash, large ones in parts of their own.
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
    /// Requests end in any order, by reply, error or neglect; the client reads as if each had waited for the one before.
    #[test]
    fn replies_leave_in_the_order_of_their_requests(
        requests in 1..12_usize,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let pipeline = Rc::new(Pipeline::new(Rc::default(), Rc::default()));
        let mut tickets: Vec<_> = (0..requests).map(|_| Some(ticket(&pipeline))).collect();
        let mut replies = vec![Vec::new(); requests];
        let mut broken = None;
        let mut seen = Vec::new();
        let neglect = (0..requests).map(|_| (0, Event::Drop));
        for (nth, event) in events.into_iter().chain(neglect) {
            let open: Vec<_> = (0..requests).filter(|&n| tickets[n].is_some()).collect();
            let Some(&nth) = open.get(nth % open.len().max(1)) else { break };
            let mut ticket = tickets[nth].take().unwrap();
            let begun = !replies[nth].is_empty();
            let is_front = open[0] == nth && broken.is_none();
            let fault = match event {
                Event::Part(bytes) => {
                    ticket.part(&bytes);
                    replies[nth].extend(bytes);
                    tickets[nth] = Some(ticket);
                    None
                }
                Event::Complete(bytes) => {
                    ticket.complete(Frame::Borrowed(&bytes));
                    replies[nth].extend(bytes);
                    None
                }
                Event::Fail => {
                    ticket.fail(Fault::Closed);
                    Some(Fault::Closed)
                }
                Event::Drop => {
                    drop(ticket);
                    Some(Fault::Dropped)
                }
            };
            match fault {
                Some(_) if begun && is_front => broken = Some(nth),
                Some(fault) => replies[nth] = error(fault),
                None => {}
            }
            seen.extend(output(&pipeline));
            prop_assert_eq!(pipeline.status().cut, broken.is_some());
        }
        let expected = replies[..broken.map_or(requests, |nth| nth + 1)].concat();
        prop_assert_eq!(seen, expected);
    }
}
