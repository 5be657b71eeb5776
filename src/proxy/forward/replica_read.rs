//! Reads that replicas answer.
//!
//! ```text
//! read --> a replica that is certain to have all that this client has written, and is not too far behind
//!              |-- reply in time: to the client
//!              |-- it takes long (`read_hedge_limit`): the primary is asked too, and the first reply counts
//!              \-- no reply, too late a one, or LOADING, MASTERDOWN: the primary is asked
//! ```
//!
//! The watcher certifies of a replica that it has all that the primary had acknowledged at some time
//! ([`PoolReplica::fresh_to_us`]). Invariants: a client reads what it wrote itself: it reads from a replica only if that time is
//! after the last reply to a write of its own. No reply is passed on that comes more than `replica_max_lag` after that time. A
//! write is sent only after the replies to the client's reads at replicas: they must not see it.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::config::ReadFrom;
use crate::protocol::Connections as _;
use crate::protocol::{Effect, Plan, PlanOf, Protocol, Route, Span, UpstreamError};
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::pool::LocalPool;
use crate::proxy::pool::handle::ReplicaHandle;
use crate::proxy::pool::hedges::{Hedged, Pace};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::Seq;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{CommandId, ServerMetric};
use crate::topology::{PoolServer, ServerIndex, process_us};

/// Sends a read to a replica, if one may answer it. `None` if it is to be executed as if there were none.
#[cold]
pub(crate) fn look<P: Protocol>(
    fw: &Forwarder<P>,
    (plan, command): (&PlanOf<P>, CommandId),
    (frame, stripped): (&Frame<'_>, Span),
    buffers: &PlanBuffers,
    now: Instant,
) -> Option<Dispatched<P>> {
    if !P::Stateful::only_reads(command) {
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
    let Chosen {
        pace,
        upstream,
        fresh_to_us,
    } = choose(fw, owner, written_us, now)?;
    let primary = fw.view.server(owner)?;
    let read = Rc::new(ReplicaRead {
        pool: Rc::clone(&fw.pool),
        session: fw.session,
        replies: Rc::clone(&fw.replies),
        seq: fw.reserve(),
        command,
        expect,
        frame: match frame {
            Frame::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Frame::Shared(bytes) => bytes.clone(),
        },
        stripped,
        server: Arc::clone(&primary.server.shared),
        upstream: Rc::clone(upstream),
        pace: Rc::clone(pace),
        since: now,
        fresh_to_us,
        max_lag_us: max_lag_us(fw),
        progress: Cell::new(Progress::Awaited),
        is_first_over: Cell::new(false),
        is_second_asked: Cell::new(false),
    });
    fw.reads.note_read();
    upstream.server.cells.bump(ServerMetric::ReplicaReads);
    let limit = fw.view.topology.config.read_hedge_limit;
    if limit > 0 {
        let paces = fw.view.replicas(owner).iter();
        let late = paces.map(|replica| replica.pace.p99()).min();
        let late_at = now + late.unwrap_or_default();
        let weak: Weak<ReplicaRead<P>> = Rc::downgrade(&read);
        fw.pool.hedges.add(late_at, limit, weak);
    }
    let responder = Responder::handler(read, expect).of_command(command);
    upstream.forward(frame.clone(), stripped, responder, now);
    Some(Dispatched::Taken)
}

/// Notes that a client writes: after the replies to its reads at replicas, which must not see that.
pub(crate) fn note_write<P: Protocol>(fw: &Forwarder<P>) -> Option<Dispatched<P>> {
    let may_write = fw.reads.note_write(&fw.replies);
    (!may_write).then_some(Dispatched::Fence)
}

/// The replica that is to answer.
struct Chosen<'v, P: Protocol> {
    pace: &'v Rc<Pace>,
    upstream: &'v Rc<UpstreamConn<P>>,
    /// What it is certain to have.
    fresh_to_us: u64,
}

/// Chooses the replica that is to answer: the one that has the least to do, or they take turns, with the
/// primary if that is among them.
fn choose<P: Protocol>(
    fw: &Forwarder<P>,
    owner: ServerIndex,
    written_us: u64,
    now: Instant,
) -> Option<Chosen<'_, P>> {
    let replicas = fw.view.replicas(owner);
    let now_us = process_us(now.into_std());
    let least_us = written_us.max(now_us.saturating_sub(max_lag_us(fw)));
    let may_answer = |known: &'_ ReplicaHandle<P>| {
        let fresh_to_us = known.replica.fresh_to_us();
        let upstream = known.handle.upstream(fw.profile, fw.session)?;
        let is_usable = fresh_to_us >= least_us.max(1) && upstream.admit(now) == Admission::Open;
        is_usable.then_some((fresh_to_us, upstream.load()))
    };
    let first = fw.reads.next_turn().wrapping_add(fw.session);
    let start = first.checked_rem(replicas.len())?;
    let in_turn = replicas.iter().cycle().skip(start).take(replicas.len());
    let usable = in_turn.filter_map(|known| Some((known, may_answer(known)?)));
    let (known, (fresh_to_us, load)) = usable.min_by_key(|(_, (_, load))| *load)?;
    let upstream = known.handle.upstream(fw.profile, fw.session)?;
    if fw.view.topology.config.read_from == ReadFrom::Any {
        let primary = fw.view.upstream(owner, fw.profile, fw.session)?;
        let is_its_turn = first % (replicas.len() + 1) == replicas.len();
        let is_idler = primary.load() < load || primary.load() == load && is_its_turn;
        if is_idler && primary.admit(now) == Admission::Open {
            return None;
        }
    }
    Some(Chosen {
        pace: &known.pace,
        upstream,
        fresh_to_us,
    })
}

fn max_lag_us<P: Protocol>(fw: &Forwarder<P>) -> u64 {
    let max_lag = fw.view.topology.config.replica_max_lag;
    u64::try_from(max_lag.as_micros()).unwrap_or(u64::MAX)
}

/// Whose reply is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Awaited,
    /// That of the replica.
    First,
    /// That of the primary, which was asked second.
    Second,
}

/// A read that waits for the reply of a replica.
#[derive(Debug)]
struct ReplicaRead<P: Protocol> {
    pool: Rc<LocalPool<P>>,
    session: usize,
    replies: Rc<ReplyQueue>,
    seq: Seq,
    command: CommandId,
    expect: P::Expect,
    /// The request, as the client sent it.
    frame: Bytes,
    stripped: Span,
    /// The server whose replica is asked.
    server: Arc<PoolServer>,
    /// The connection to the replica.
    upstream: Rc<UpstreamConn<P>>,
    pace: Rc<Pace>,
    since: Instant,
    /// What the replica was certain to have when it was asked.
    fresh_to_us: u64,
    max_lag_us: u64,
    progress: Cell<Progress>,
    /// The replica has failed, or its reply is not to be used.
    is_first_over: Cell<bool>,
    is_second_asked: Cell<bool>,
}

impl<P: Protocol> ReplicaRead<P> {
    /// Returns true if a reply that comes now is not too old.
    fn is_in_time(&self) -> bool {
        let now_us = process_us(std::time::Instant::now());
        now_us.saturating_sub(self.fresh_to_us) <= self.max_lag_us
    }

    /// Returns true if the reply of this server is passed on; it is, if none of the other has come.
    fn wins(&self, which: Progress) -> bool {
        if self.progress.get() == Progress::Awaited {
            self.progress.set(which);
        }
        self.progress.get() == which
    }

    /// Has the primary answer, unless it was asked already.
    fn end_first(self: &Rc<Self>) {
        self.is_first_over.set(true);
        if !self.is_second_asked.get() {
            let cells = &self.upstream.server.cells;
            cells.bump(ServerMetric::ReplicaReadsRepeated);
            self.ask_primary();
        }
    }

    fn ask_primary(self: &Rc<Self>) {
        self.is_second_asked.set(true);
        let now = Instant::now();
        let view = self.pool.backends.view();
        let mut servers = view.servers().map(|(_, handle)| handle);
        let primary = servers.find(|handle| handle.server.name() == self.server.name);
        let profile = self.upstream.profile;
        let upstream = primary.and_then(|handle| handle.upstream(profile, self.session));
        let second = Rc::new(SecondRead(Rc::clone(self)));
        let responder = Responder::handler(second, self.expect).of_command(self.command);
        match (upstream, upstream.map(|upstream| upstream.admit(now))) {
            (Some(upstream), Some(Admission::Open | Admission::Full)) => {
                let frame = Frame::Shared(self.frame.clone());
                upstream.forward(frame, self.stripped, responder, now);
            }
            (Some(upstream), Some(Admission::Down(error))) => {
                upstream.server.turn_away(responder, error);
            }
            (..) => responder.fail(UpstreamError::Ejected),
        }
    }

    fn finish(&self, which: Progress, reply: Frame<'_>, begun: bool) {
        if !self.wins(which) {
            return;
        }
        if begun {
            self.replies.part(self.seq, reply.bytes());
            self.replies.finish(self.seq);
        } else {
            self.replies.conclude::<P>((self.seq, self.command), reply);
        }
    }

    fn whole_request(&self, which: Progress) -> Option<&Rc<ReplyQueue>> {
        let progress = self.progress.get();
        let is_answered = progress != Progress::Awaited && progress != which;
        (!is_answered).then_some(&self.replies)
    }
}

impl<P: Protocol> Hedged for ReplicaRead<P> {
    fn hedge(self: Rc<Self>) -> bool {
        let is_late = self.progress.get() == Progress::Awaited && !self.is_second_asked.get();
        if is_late {
            self.upstream
                .server
                .cells
                .bump(ServerMetric::ReplicaReadsHedged);
            self.ask_primary();
        }
        is_late
    }
}

impl<P: Protocol> ReplyHandler<P> for ReplicaRead<P> {
    fn part(&self, part: &[u8]) {
        if self.progress.get() == Progress::Awaited && !self.is_in_time() {
            self.is_first_over.set(true);
        }
        if !self.is_first_over.get() && self.wins(Progress::First) {
            self.replies.part(self.seq, part);
        }
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool) {
        self.pace.note(self.since.elapsed());
        let is_usable = || {
            let effect = P::Stateful::effect(&self.frame, self.expect, reply.bytes());
            effect != Effect::Refused && self.is_in_time()
        };
        let has_begun = self.progress.get() == Progress::First;
        if has_begun || !begun && is_usable() {
            self.finish(Progress::First, reply, has_begun);
        } else {
            self.end_first();
        }
    }

    fn fail(self: Rc<Self>, error: UpstreamError, _: bool) {
        if self.progress.get() == Progress::First {
            let place = (self.seq, self.command);
            self.replies.fail::<P>(place, error, self.expect, true);
        } else {
            self.end_first();
        }
    }

    fn fail_with(self: Rc<Self>, error: UpstreamError, _: &[u8], begun: bool) {
        self.fail(error, begun);
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.replies)
    }

    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        self.whole_request(Progress::First)
    }
}

/// The same read at the primary.
#[derive(Debug)]
struct SecondRead<P: Protocol>(Rc<ReplicaRead<P>>);

impl<P: Protocol> ReplyHandler<P> for SecondRead<P> {
    fn part(&self, part: &[u8]) {
        if self.0.wins(Progress::Second) {
            self.0.replies.part(self.0.seq, part);
        }
    }

    fn complete(self: Rc<Self>, reply: Frame<'_>, begun: bool) {
        self.0.finish(Progress::Second, reply, begun);
    }

    fn fail(self: Rc<Self>, error: UpstreamError, begun: bool) {
        let read = &self.0;
        // The reply of the replica may come yet, and be of use.
        let is_last = read.is_first_over.get() || begun;
        if is_last && read.wins(Progress::Second) {
            let place = (read.seq, read.command);
            read.replies.fail::<P>(place, error, read.expect, begun);
        } else {
            read.is_second_asked.set(false);
        }
    }

    fn fail_with(self: Rc<Self>, error: UpstreamError, text: &[u8], begun: bool) {
        let is_last = self.0.is_first_over.get() && !begun;
        if is_last && self.0.wins(Progress::Second) {
            self.0.replies.complete(self.0.seq, Frame::Borrowed(text));
        } else {
            self.fail(error, begun);
        }
    }

    fn may_be_sent_again(&self) -> bool {
        true
    }

    fn client(&self) -> Option<&Rc<ReplyQueue>> {
        Some(&self.0.replies)
    }

    fn whole_request(&self) -> Option<&Rc<ReplyQueue>> {
        self.0.whole_request(Progress::Second)
    }
}
