//! Reads that replicas answer.
//!
//! ```text
//! read --> a replica that is certain to have all that this client has written, and is not too far behind
//!              |-- reply in time: to the client
//!              \-- no reply, too late a one, or LOADING, MASTERDOWN: the primary is asked
//! ```
//!
//! The watcher certifies of a replica that it has all that the primary had acknowledged at some time
//! ([`PoolReplica::fresh_to_us`]). Invariants: a client reads what it wrote itself: it reads from a replica only if that time is
//! after the last reply to a write of its own. No reply is passed on that comes more than `replica_max_lag` after that time. A
//! write is sent only after the replies to the client's reads at replicas: they must not see it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::config::ReadFrom;
use crate::protocol::Connections as _;
use crate::protocol::{Deed, Plan, PlanOf, Protocol, Route, Span, UpstreamError};
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::LocalPool;
use crate::proxy::pool::handle::ReplicaHandle;
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::Seq;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::ServerMetric;
use crate::topology::{PoolReplica, PoolServer, ServerIndex, process_us};

/// Sends a read to a replica, if one may answer it. `None` if it is to be executed as if there were none.
#[cold]
pub(crate) fn look<P: Protocol>(
    fw: &Forwarder<P>,
    (plan, tag): (&PlanOf<P>, P::CommandTag),
    (frame, stripped): (&Frame<'_>, Span),
    buffers: &PlanBuffers,
    now: Instant,
) -> Option<Dispatched<P>> {
    if !P::Stateful::only_reads(tag) {
        return if plan.is_sent() { note_write(fw) } else { None };
    }
    let (owner, expect) = match *plan {
        Plan::Forward(route @ (Route::Key(_) | Route::Decoded), expect) => {
            (fw.owner(route, frame, buffers), expect)
        }
        // Of several servers each gets its part, and answers itself.
        Plan::ForwardSameServer(expect) | Plan::MultiShard(_, expect) => {
            (fw.common_owner(&buffers.keys, frame).ok()?, expect)
        }
        _ => return None,
    };
    let owner = owner?;
    let written_us = fw.reads.written_us(&fw.replies)?;
    let (replica, upstream) = choose(fw, owner, written_us, now)?;
    let primary = fw.view.server(owner)?;
    let read = ReplicaRead {
        pool: Rc::clone(&fw.pool),
        session: fw.session,
        replies: Rc::clone(&fw.replies),
        seq: fw.reserve(),
        expect,
        frame: match frame {
            Frame::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Frame::Shared(bytes) => bytes.clone(),
        },
        stripped,
        server: Arc::clone(&primary.server.shared),
        upstream: Rc::clone(upstream),
        fresh_to_us: replica.fresh_to_us(),
        max_lag_us: max_lag_us(fw),
        reply: Cell::new(Reply::Awaited),
    };
    fw.reads.note_read();
    upstream.server.cells.bump(ServerMetric::ReplicaReads);
    let responder = Responder::handler(Rc::new(read), expect).tagged(tag);
    upstream.forward(frame.clone(), stripped, responder, now);
    Some(Dispatched::Taken)
}

/// Notes that a client writes: after the replies to its reads at replicas, which must not see that.
pub(crate) fn note_write<P: Protocol>(fw: &Forwarder<P>) -> Option<Dispatched<P>> {
    let may_write = fw.reads.note_write(&fw.replies);
    (!may_write).then_some(Dispatched::Fence)
}

/// A replica that may answer, in turn with the others, and with the primary if that is among them.
fn choose<P: Protocol>(
    fw: &Forwarder<P>,
    owner: ServerIndex,
    written_us: u64,
    now: Instant,
) -> Option<(&PoolReplica, &Rc<UpstreamConn<P>>)> {
    let replicas = fw.view.replicas(owner);
    let reads_primary = fw.view.topology.config.read_from == ReadFrom::Any;
    let count = replicas.len() + usize::from(reads_primary);
    let now_us = process_us(now.into_std());
    let least = written_us.max(now_us.saturating_sub(max_lag_us(fw)));
    let first = fw
        .reads
        .next_turn()
        .wrapping_add(fw.session)
        .checked_rem(count)?;
    // The place after the last replica is that of the primary.
    let places = (first..count).chain(0..first);
    for place in places {
        let ReplicaHandle { replica, handle } = replicas.get(place)?;
        if replica.fresh_to_us() < least.max(1) {
            continue;
        }
        let upstream = handle.upstream(fw.profile, fw.session)?;
        if upstream.admit(now) == Admission::Open {
            return Some((replica, upstream));
        }
    }
    None
}

fn max_lag_us<P: Protocol>(fw: &Forwarder<P>) -> u64 {
    let max_lag = fw.view.topology.config.replica_max_lag;
    u64::try_from(max_lag.as_micros()).unwrap_or(u64::MAX)
}

/// How far the reply of the replica is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Awaited,
    Begun,
    /// It came too late: the primary is asked when it has ended.
    Dropped,
}

/// A read that waits for the reply of a replica.
#[derive(Debug)]
struct ReplicaRead<P: Protocol> {
    pool: Rc<LocalPool<P>>,
    session: usize,
    replies: Rc<ReplyQueue>,
    seq: Seq,
    expect: P::Expect,
    /// The request, as the client sent it.
    frame: Bytes,
    stripped: Span,
    /// The server whose replica is asked.
    server: Arc<PoolServer>,
    /// The connection to the replica.
    upstream: Rc<UpstreamConn<P>>,
    /// What the replica was certain to have when it was asked.
    fresh_to_us: u64,
    max_lag_us: u64,
    reply: Cell<Reply>,
}

impl<P: Protocol> ReplicaRead<P> {
    /// Returns true if a reply that comes now is not too old.
    fn is_in_time(&self) -> bool {
        let now_us = process_us(std::time::Instant::now());
        now_us.saturating_sub(self.fresh_to_us) <= self.max_lag_us
    }

    fn ask_primary(&self) {
        self.upstream
            .server
            .cells
            .bump(ServerMetric::ReplicaReadsRepeated);
        let now = Instant::now();
        let view = self.pool.backends.view();
        let mut servers = view.servers().map(|(_, handle)| handle);
        let primary = servers.find(|handle| handle.server.name() == self.server.name);
        let profile = self.upstream.profile;
        let upstream = primary.and_then(|handle| handle.upstream(profile, self.session));
        let admission = upstream.map(|upstream| upstream.admit(now));
        let error = match (upstream, admission) {
            (Some(upstream), Some(Admission::Open | Admission::Full)) => {
                let replies = Rc::clone(&self.replies);
                let responder = Responder::whole(replies, self.seq, self.expect);
                let frame = Frame::Shared(self.frame.clone());
                return upstream.forward(frame, self.stripped, responder, now);
            }
            (_, Some(Admission::Down(error))) => error,
            (..) => UpstreamError::Ejected,
        };
        self.replies.fail::<P>(self.seq, error, self.expect, false);
    }
}

impl<P: Protocol> ReplyHandler<P> for ReplicaRead<P> {
    fn part(&self, part: &[u8]) {
        if self.reply.get() == Reply::Awaited {
            self.reply.set(if self.is_in_time() {
                Reply::Begun
            } else {
                Reply::Dropped
            });
        }
        if self.reply.get() == Reply::Begun {
            self.replies.part(self.seq, part);
        }
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, _: bool) {
        match self.reply.get() {
            Reply::Begun => {
                self.replies.part(self.seq, reply.bytes());
                self.replies.finish(self.seq);
            }
            Reply::Dropped => self.ask_primary(),
            Reply::Awaited => {
                let deed = P::Stateful::deed(&self.frame, self.expect, reply.bytes());
                if deed == Deed::Refused || !self.is_in_time() {
                    self.ask_primary();
                } else {
                    self.replies.complete(self.seq, reply);
                }
            }
        }
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _: bool) {
        if self.reply.get() == Reply::Begun {
            self.replies.fail::<P>(self.seq, error, self.expect, true);
        } else {
            self.ask_primary();
        }
    }

    fn fail_with(self: Rc<Self>, error: UpstreamError, _: &[u8], begun: bool) {
        self.fail(error, begun);
    }

    fn is_for(&self, replies: &Rc<ReplyQueue>) -> bool {
        Rc::ptr_eq(&self.replies, replies)
    }

    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.replies)
    }
}
