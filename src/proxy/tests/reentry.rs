//! Nothing is called while a `RefCell` is borrowed: every waker and socket here calls straight back into the reply
//! queue or the connection that calls it. A borrow that is held across such a call would panic.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::buf::{Frame, WriteBuf};
use crate::protocol::Protocol as _;
use crate::protocol::redis::command::MergeKind;
use crate::protocol::redis::{MergeSpec, Redis};
use crate::protocol::{ConnProfile, Span, UpstreamError};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::tests::{the_server, with_pool};
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::upstream::disconnect::Disconnect;
use crate::stats::CommandId;

thread_local! {
    /// The action of a woken task; `Wake` itself must be `Send`, and so cannot hold it.
    static VISIT: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
    static VISITS: Cell<usize> = const { Cell::new(0) };
}

struct Visitor;

impl Wake for Visitor {
    fn wake(self: Arc<Self>) {
        let visit = VISIT.with_borrow(Clone::clone);
        if let Some(visit) = visit {
            VISITS.set(VISITS.get() + 1);
            visit();
        }
    }
}

/// A socket that accepts everything, and visits on every write.
struct NosySocket;

impl AsyncWrite for NosySocket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Arc::new(Visitor).wake();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs `act`, with `visit` called by every waker, and fails unless there was a visit.
fn visited(what: &str, visit: impl Fn() + 'static, act: impl FnOnce()) {
    VISITS.set(0);
    VISIT.set(Some(Rc::new(visit)));
    act();
    VISIT.set(None);
    assert!(VISITS.get() > 0, "{what}: nobody was woken");
}

fn waker() -> Waker {
    Arc::new(Visitor).into()
}

/// Borrows everything in a reply queue for reading and for writing.
fn visit_queue(replies: &ReplyQueue) {
    replies.status();
    replies.drain();
}

/// Borrows everything in an upstream connection for reading and for writing.
fn visit_upstream(upstream: &UpstreamConn<Redis>) {
    upstream.admit(Instant::now());
    upstream.want();
    upstream.wait_for_room(Waker::noop());
}

fn split() -> MergeSpec {
    MergeSpec {
        name: "del",
        kind: MergeKind::Sum,
    }
}

fn joined() -> WriteBuf {
    let mut joined = WriteBuf::new();
    joined.copy(b":1\r\n");
    joined
}

#[test]
fn reply_queue_wakes_and_writes_outside_its_borrows() {
    type Act = fn(&Rc<ReplyQueue>);
    let acts: [(&str, Act); 14] = [
        ("complete", |p| {
            p.complete(p.reserve(), Frame::Borrowed(b"+1\r\n"));
        }),
        ("complete early", |p| {
            p.reserve();
            p.complete(p.reserve(), Frame::Borrowed(b"+1\r\n"));
        }),
        ("complete early and large", |p| {
            p.reserve();
            p.complete(p.reserve(), Frame::Shared(Bytes::from(vec![b'x'; 9000])));
        }),
        ("complete joined", |p| {
            p.complete_merged(p.reserve(), joined());
        }),
        ("complete joined early", |p| {
            p.reserve();
            p.complete_merged(p.reserve(), joined());
        }),
        ("part", |p| p.part(p.reserve(), b"$9\r\n")),
        ("finish", |p| p.finish(p.reserve())),
        ("fail", |p| {
            let place = (p.reserve(), CommandId::NONE);
            p.fail::<Redis>(place, UpstreamError::Closed, Redis::HANDSHAKE, false);
        }),
        ("fail in the middle", |p| {
            let place = (p.reserve(), CommandId::NONE);
            p.fail::<Redis>(place, UpstreamError::Closed, Redis::HANDSHAKE, true);
        }),
        ("drain", |p| p.drain()),
        ("kill", |p| p.kill()),
        ("a dropped responder", |p| {
            drop(Responder::<Redis>::whole(
                Rc::clone(p),
                p.reserve(),
                Redis::HANDSHAKE,
            ));
        }),
        ("gather", |p| {
            let gather = Gather::<Redis>::new(
                (Rc::clone(p), p.reserve()),
                (split().into(), Redis::HANDSHAKE),
                crate::proxy::tests::gather_context(),
                vec![0],
                1,
                (Instant::now(), true),
            );
            Responder::fragment(Rc::new(gather), 0).complete(Frame::Borrowed(b":1\r\n"));
        }),
        ("write", |p| {
            p.answer(Frame::Borrowed(b"+OK\r\n"));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(p.poll_write(&mut NosySocket, &mut cx).is_ready());
        }),
    ];
    for (what, act) in acts {
        let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
        replies.begin_turn(&Context::from_waker(&waker()));
        let woken = Rc::clone(&replies);
        visited(what, move || visit_queue(&woken), || act(&replies));
    }
}

#[test]
fn gather_merges_outside_its_borrows() {
    for last_fails in [false, true] {
        let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
        replies.begin_turn(&Context::from_waker(&waker()));
        let seq = replies.reserve();
        let gather = Gather::<Redis>::new(
            (Rc::clone(&replies), seq),
            (split().into(), Redis::HANDSHAKE),
            crate::proxy::tests::gather_context(),
            vec![0, 1],
            2,
            (Instant::now(), true),
        );
        let gather = Rc::new(gather);
        let [first, last] = [0, 1].map(|index| Responder::fragment(Rc::clone(&gather), index));
        first.complete(Frame::Borrowed(b":1\r\n"));
        let visit = move || gather.part(0, b"more");
        visited("gather", visit, || {
            if last_fails {
                drop(last);
            } else {
                last.complete(Frame::Borrowed(b":1\r\n"));
            }
        });
    }
}

#[test]
fn upstream_conn_wakes_and_writes_outside_its_borrows() {
    type Act = fn(&UpstreamConn<Redis>, Responder<Redis>);
    let forward = |upstream: &UpstreamConn<Redis>, responder| {
        let frame = Frame::Borrowed(b"*1\r\n$4\r\nPING\r\n");
        upstream.forward(frame, Span::default(), responder, Instant::now());
    };
    let acts: [(&str, Act); 6] = [
        ("forward", forward),
        ("a fragment", |upstream, responder| {
            let mut fragment = upstream.open_fragment();
            fragment.out().copy(b"*1\r\n$4\r\nPING\r\n");
            fragment.close(responder, Instant::now());
        }),
        ("want", |upstream, _| upstream.want()),
        ("fail all", |upstream, responder| {
            let frame = Frame::Borrowed(b"*1\r\n$4\r\nPING\r\n");
            upstream.forward(frame, Span::default(), responder, Instant::now());
            upstream.wait_for_room(&waker());
            let ending = Disconnect::Error(UpstreamError::Closed);
            upstream.fail_all(&ending, Some(Instant::now()));
        }),
        ("refused handshake", |upstream, responder| {
            let frame = Frame::Borrowed(b"*1\r\n$4\r\nPING\r\n");
            upstream.forward(frame, Span::default(), responder, Instant::now());
            let ending = Disconnect::Refused(Bytes::from_static(b"-NOAUTH\r\n"));
            upstream.fail_all(&ending, None);
        }),
        ("room again", |upstream, responder| {
            let large = Bytes::from(vec![b'x'; upstream_limit() + 1]);
            upstream.forward(
                Frame::Shared(large),
                Span::default(),
                responder,
                Instant::now(),
            );
            assert_eq!(upstream.admit(Instant::now()), Admission::Full);
            upstream.wait_for_room(&waker());
            let mut cx = Context::from_waker(Waker::noop());
            let now = (Instant::now(), 0);
            let outcome = upstream.poll_write(&mut NosySocket, &mut cx, now);
            assert!(outcome.is_ready());
            assert_eq!(upstream.admit(Instant::now()), Admission::Open);
        }),
    ];
    for (what, act) in acts {
        with_upstream(|upstream| {
            upstream.begin_turn(&Context::from_waker(&waker()));
            let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
            replies.begin_turn(&Context::from_waker(&waker()));
            let responder =
                Responder::whole(Rc::clone(&replies), replies.reserve(), Redis::HANDSHAKE);
            let woken = Rc::clone(upstream);
            let visit = move || {
                visit_upstream(&woken);
                visit_queue(&replies);
            };
            visited(what, visit, || act(upstream, responder));
        });
    }
}

fn upstream_limit() -> usize {
    crate::proxy::FlowLimits::default().queued_bytes
}

/// Runs `test` with an upstream connection whose driver never runs.
fn with_upstream(test: impl FnOnce(&Rc<UpstreamConn<Redis>>)) {
    with_pool(async |pool| {
        let server = the_server(&pool);
        test(server.upstream(ConnProfile::FIRST, 0).unwrap());
    });
}

#[test]
fn dropped_fragment_leaves_nothing_queued() {
    with_upstream(|upstream| {
        let (replies, now) = (
            Rc::new(ReplyQueue::new(Rc::default(), Rc::default())),
            Instant::now(),
        );
        let responder =
            || Responder::whole(Rc::clone(&replies), replies.reserve(), Redis::HANDSHAKE);
        let ping = b"*1\r\n$4\r\nPING\r\n";
        upstream.forward(Frame::Borrowed(ping), Span::default(), responder(), now);
        let mut fragment = upstream.open_fragment();
        fragment.out().copy(b"*2\r\n$4\r\nMGET\r\n");
        drop(fragment);
        assert_eq!(upstream.queued_bytes(), ping.len());
        let mut fragment = upstream.open_fragment();
        fragment.out().copy(ping);
        fragment.close(responder(), now);
        assert_eq!(upstream.queued_bytes(), 2 * ping.len());
    });
}
