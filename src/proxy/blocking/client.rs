//! Requests that need a connection to their server for themselves: those that watch keys, and those that wait.
//!
//! ```text
//! WATCH ----fence, acquire--> Watch: all requests to its server use the lease --EXEC, UNWATCH ...--> release, fence
//! BLPOP ----fence, acquire--> Waiting: nothing else is taken
//!                               |-- the reply is written to the client ----------------------------> release
//!                               |-- the client leaves: CLIENT UNBLOCK; the reply, if any, is put back -> release
//! ```
//!
//! To close the connection of a client that has left would not do: a server that has taken an element for it, and reads the
//! end of the connection in the same turn, drops the element. `CLIENT UNBLOCK` has exactly one reply come, in any case.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep};

use crate::buf::Frame;
use crate::protocol::{Fault, Identity, Lane, Phrase, Protocol, Span, Unblocked};
use crate::proxy::blocking::call::{Outcome, Wait};
use crate::proxy::dispatch::{Dispatcher, Next};
use crate::proxy::pool::dedicated::{Denied, Lease};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::transaction::probe::{Asking, Standing};
use crate::proxy::transaction::queue::Home;
use crate::proxy::upstream::conn::{Admission, Upstream};
use crate::proxy::worker::plan_buffers::Work;
use crate::stats::PoolMetric;
use crate::topology::ServerId;

/// How long a server has to end what blocks, or to take back what it gave, before its connection is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// When it is told again: it may not have known of what blocks when it was told first.
pub(crate) const AGAIN: Duration = Duration::from_millis(20);

/// Rings again and again.
pub(crate) type Alarm = Pin<Box<Sleep>>;

/// A client watches keys.
#[derive(Debug)]
pub(crate) struct Watch<P: Protocol> {
    lease: Lease<P>,
    pub(crate) home: Home,
    lane: Lane,
}

/// A client waits.
#[derive(Debug)]
pub(crate) struct Waiting<P: Protocol> {
    wait: Rc<Wait<P>>,
    lease: Lease<P>,
    upstream: Rc<Upstream<P>>,
    server: ServerId,
    keys: Box<[Span]>,
    epoch: u64,
    /// Rings when the server is to be told again that nobody waits any more.
    ending: Option<Alarm>,
    /// It is already what was taken that goes back.
    gives_back: bool,
    since: Instant,
    /// Others may know that the client waits.
    is_told: bool,
}

impl<P: Protocol> Watch<P> {
    /// The connection that requests of this lane to this server use. Once it is lost, any does: what is watched cannot decide
    /// a transaction any more.
    pub(crate) fn serves(&self, server: ServerId, lane: Lane) -> Option<&Rc<Upstream<P>>> {
        let is_there = self.home.server == server && self.lane == lane && !self.lease.is_lost();
        self.lease.upstream().filter(|_| is_there)
    }

    /// Why what is watched cannot decide a transaction in `lane`.
    pub(crate) fn objection(&self, lane: Lane) -> Option<Phrase> {
        if self.lease.is_lost() {
            Some(Phrase::WatchLost)
        } else if self.lane != lane {
            Some(Phrase::WatchedElsewhere)
        } else {
            None
        }
    }

    /// The transaction is on its way, and whatever comes of it, nothing is watched then.
    pub(crate) fn release(self) {
        self.lease.release();
    }

    /// Forgets what is watched.
    pub(crate) fn end(self, expect: P::Expect) {
        if let Some(upstream) = self.lease.upstream()
            && !self.lease.is_lost()
        {
            let mut unwatch = BytesMut::new();
            P::write_phrase(Phrase::Unwatch, &mut unwatch);
            let frame = Frame::Borrowed(&unwatch);
            let ticket = Ticket::nobody(expect);
            upstream.forward(frame, Span::default(), ticket, Instant::now());
        }
        self.lease.release();
    }
}

impl<P: Protocol> Dispatcher<P> {
    /// Watches the keys in the list.
    pub(crate) fn watch(
        &mut self,
        frame: Frame<'_>,
        expect: P::Expect,
        work: &mut Work,
        now: Instant,
    ) -> Next<P> {
        let copy = |span: Span| Box::<[u8]>::from(span.of(frame.bytes()));
        let owner = match self.common_owner(&work.keys, &frame) {
            Ok(Some(owner)) => owner,
            Ok(None) => return self.fail(Fault::Ejected, expect),
            Err(apart) => return self.refuse_apart(apart.map(copy), work),
        };
        let key = work
            .keys
            .first()
            .map_or_else(Box::default, |key| copy(key.key));
        match self.watching() {
            // It must hear of that before it watches anew, or it would take all for watched.
            Some(watch) if watch.lease.is_lost() => {
                self.unwatch();
                P::write_phrase(Phrase::WatchLost, &mut work.reply);
                return self.answer(&work.reply, PoolMetric::ForwardError);
            }
            Some(watch) if watch.home.server != owner => {
                let keys = [watch.home.key.clone(), key];
                return self.refuse_apart(keys, work);
            }
            Some(watch) if watch.lane != self.lane => {
                P::write_phrase(Phrase::WatchedElsewhere, &mut work.reply);
                return self.answer(&work.reply, PoolMetric::RequestsRefused);
            }
            Some(_) => {}
            None if !self.pipeline.is_idle() => return Next::Fenced,
            None => {
                let lease = match self.lease(owner) {
                    Ok(lease) => lease,
                    Err(denied) => return self.deny(denied, expect, work),
                };
                if let Some(upstream) = lease.upstream()
                    && !matches!(upstream.trial.standing(), Standing::Taken)
                {
                    // Later it would forget what is watched.
                    Asking::send(upstream, now);
                }
                let epoch = self.pool.epoch();
                let home = Home {
                    server: owner,
                    key,
                    epoch,
                };
                let lane = self.lane;
                self.held.get_or_insert_default().watch = Some(Watch { lease, home, lane });
            }
        }
        let parcel = crate::proxy::dispatch::Parcel {
            frame,
            left_out: Span::default(),
            expect,
            label: P::Label::default(),
        };
        self.forward(Some(owner), parcel, now)
    }

    /// Sends a request that may wait, once nothing else is in flight.
    pub(crate) fn block(
        &mut self,
        frame: &Frame<'_>,
        expect: P::Expect,
        work: &mut Work,
        now: Instant,
    ) -> Next<P> {
        let owner = match self.common_owner(&work.keys, frame) {
            Ok(owner) if !work.keys.is_empty() => owner,
            Ok(_) => self.pool.route(P::PLACEHOLDER),
            Err(apart) => {
                let keys = apart.map(|key| Box::from(key.of(frame.bytes())));
                return self.refuse_apart(keys, work);
            }
        };
        let Some(server) = owner else {
            return self.fail(Fault::Ejected, expect);
        };
        if !self.pipeline.is_idle() {
            return Next::Fenced;
        }
        // Not that of its watch: what is tried in a transaction would end it.
        let lease = match self.lease(server) {
            Ok(lease) => lease,
            Err(denied) => return self.deny(denied, expect, work),
        };
        let Some(upstream) = lease.upstream().cloned() else {
            return self.fail(Fault::Dropped, expect);
        };
        if let Admission::Down(fault) = upstream.admit(now) {
            return self.fail(fault, expect);
        }
        let request = Bytes::copy_from_slice(frame.bytes());
        let seq = Some(self.reserve());
        let wait = Wait::new(&self.pipeline, seq, expect, &upstream, request);
        wait.attempt(&upstream, now);
        self.pool.leases.wait(self.session, &self.pipeline);
        self.held.get_or_insert_default().waiting = Some(Waiting {
            wait,
            lease,
            upstream,
            server,
            keys: work.keys.iter().map(|key| key.key).collect(),
            epoch: self.pool.epoch(),
            ending: None,
            gives_back: false,
            since: now,
            is_told: false,
        });
        Next::Continue
    }

    /// Looks after a client that waits. `is_paid` says that everything that came for it is written. Returns whether it does
    /// not wait any more.
    pub(crate) fn look_after(&mut self, cx: &mut Context<'_>, is_paid: bool) -> bool {
        let Some(waiting) = self.waiting() else {
            self.look_after_asking(cx);
            return !self.is_waiting();
        };
        match waiting.wait.outcome() {
            Outcome::Open => {
                self.tell_blocked();
                if self.has_moved() {
                    self.end_wait();
                }
                self.poll_ending(cx);
            }
            Outcome::Answered(_) if is_paid => self.end_lease(),
            Outcome::Failed => self.end_lease(),
            // Its client takes its time; nothing can be ended for it any more.
            Outcome::Answered(_) => P::note_blocked(&self.client, Vec::new()),
        }
        !self.is_waiting()
    }

    /// Has the server end what the client waits for.
    pub(crate) fn end_wait(&mut self) {
        let Some(waiting) = self.waiting() else {
            return self.stop_asking(Unblocked::Error);
        };
        if waiting.ending.is_some() || waiting.wait.outcome() != Outcome::Open {
            return;
        }
        if waiting.upstream.is_untouched() {
            return waiting.upstream.lose(Fault::Dropped);
        }
        waiting.ending = Some(Box::pin(sleep(Duration::ZERO)));
        give_time(&waiting.upstream);
        self.pipeline.nudge();
    }

    /// Ready when nothing is left to do for a client that is gone.
    pub(crate) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pipeline.begin_turn(cx);
        loop {
            let Some(waiting) = self.waiting() else {
                self.end_asking();
                return Poll::Ready(());
            };
            let reply = match waiting.wait.outcome() {
                Outcome::Open if waiting.gives_back => {
                    let alarm = waiting.ending.as_mut();
                    ready!(alarm.map_or(Poll::Ready(()), |alarm| alarm.as_mut().poll(cx)));
                    Bytes::new()
                }
                Outcome::Open => {
                    waiting.wait.forsake();
                    self.end_wait();
                    self.poll_ending(cx);
                    let outcome = self.waiting().map(|waiting| waiting.wait.outcome());
                    if outcome == Some(Outcome::Open) {
                        return Poll::Pending;
                    }
                    continue;
                }
                Outcome::Failed => Bytes::new(),
                Outcome::Answered(reply) => reply,
            };
            if waiting.gives_back {
                waiting.note_given_back(&reply);
                self.end_lease();
            } else if !self.give_back(&reply) {
                self.end_lease();
            }
        }
    }

    /// Puts back what was taken for a client that is gone. Returns whether it must be waited for.
    fn give_back(&mut self, reply: &[u8]) -> bool {
        let pipeline = Rc::clone(&self.pipeline);
        let Some(waiting) = self.waiting() else {
            return false;
        };
        let mut request = BytesMut::new();
        if !P::give_back(waiting.wait.request(), reply, &mut request) {
            return false;
        }
        let (server, mut upstream) = (waiting.server, Rc::clone(&waiting.upstream));
        let request = request.freeze();
        let expect = waiting.wait.expect();
        let wait = Wait::new(&pipeline, None, expect, &upstream, request.clone());
        waiting.wait = Rc::clone(&wait);
        waiting.gives_back = true;
        waiting.ending = Some(Box::pin(sleep(PATIENCE)));
        give_time(&waiting.upstream);
        if upstream.is_lost()
            && let Some(shared) = self.pool.upstream(server, self.lane, self.session)
        {
            upstream = Rc::clone(shared);
        }
        let ticket = Ticket::wait(wait);
        upstream.forward(
            Frame::Shared(request),
            Span::default(),
            ticket,
            Instant::now(),
        );
        true
    }

    /// Tells the server, now and then, that nobody waits any more.
    fn poll_ending(&mut self, cx: &mut Context<'_>) {
        let Some(waiting) = self.waiting() else {
            return;
        };
        let (server, upstream) = (waiting.server, Rc::clone(&waiting.upstream));
        let Some(alarm) = &mut waiting.ending else {
            return;
        };
        let mut rings = 0;
        while alarm.as_mut().poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + AGAIN);
            rings += 1;
        }
        if rings > 0 {
            self.unblock(server, &upstream, Unblocked::Error);
        }
    }

    /// Has a server end what waits on a connection.
    pub(crate) fn unblock(&self, server: ServerId, upstream: &Upstream<P>, how: Unblocked) {
        let mut unblock = BytesMut::new();
        let exclusive = upstream.exclusive.as_deref();
        let identity = exclusive.and_then(|exclusive| exclusive.identity.get());
        let can_unblock = identity.is_some_and(|id| P::write_unblock(id, how, &mut unblock));
        let now = Instant::now();
        let shared = self.pool.upstream(server, self.lane, self.session);
        match shared.filter(|shared| shared.admit(now) == Admission::Open) {
            Some(shared) if can_unblock => {
                let ticket = Ticket::nobody(P::GREETING);
                shared.forward(Frame::Borrowed(&unblock), Span::default(), ticket, now);
            }
            _ => {
                if let Some(exclusive) = exclusive {
                    exclusive.is_shut.set(true);
                    upstream.ring();
                }
            }
        }
    }

    /// Lets others know that the client waits, once its server has what it waits for: who hears of it may go by that.
    fn tell_blocked(&mut self) {
        if let Some(waiting) = self.waiting()
            && waiting.wait.is_sent()
            && !mem::replace(&mut waiting.is_told, true)
        {
            let place = place(waiting.server, &waiting.upstream);
            P::note_blocked(&self.client, place.into_iter().collect());
        }
    }

    /// Whether a key of what waits lives elsewhere by now.
    fn has_moved(&self) -> bool {
        let Some(waiting) = self.held.as_ref().and_then(|held| held.waiting.as_ref()) else {
            return false;
        };
        let request = waiting.wait.request();
        let owner = |key: &Span| self.pool.route(key.of(request));
        waiting.epoch != self.pool.epoch()
            && !self.pool.is_random()
            && waiting
                .keys
                .iter()
                .any(|key| owner(key) != Some(waiting.server))
    }

    /// What the client waited for has ended.
    fn end_lease(&mut self) {
        let Some(waiting) = self.held.as_mut().and_then(|held| held.waiting.take()) else {
            return;
        };
        P::note_blocked(&self.client, Vec::new());
        self.pool.leases.wait_no_more(self.session);
        waiting.upstream.lift_end();
        waiting.lease.release();
        self.let_go();
    }

    pub(crate) fn lease(&self, server: ServerId) -> Result<Lease<P>, Denied> {
        let leases = &self.pool.leases;
        leases.acquire(&self.pool, server.index(), self.lane)
    }

    pub(crate) fn deny(&self, denied: Denied, expect: P::Expect, work: &mut Work) -> Next<P> {
        match denied {
            Denied::Down(fault) => self.fail(fault, expect),
            Denied::Exhausted(most) => self.say(Phrase::Exhausted(most), work),
            Denied::NoRoom(most) => self.say(Phrase::NoRoom(most), work),
        }
    }

    fn say(&self, phrase: Phrase, work: &mut Work) -> Next<P> {
        P::write_phrase(phrase, &mut work.reply);
        self.answer(&work.reply, PoolMetric::ForwardError)
    }

    fn refuse_apart(&self, [first, second]: [Box<[u8]>; 2], work: &mut Work) -> Next<P> {
        P::write_apart(&self.pool.settings, [&first, &second], &mut work.reply);
        self.answer(&work.reply, PoolMetric::RequestsRefused)
    }

    pub(crate) fn watching(&self) -> Option<&Watch<P>> {
        self.held.as_ref()?.watch.as_ref()
    }

    fn waiting(&mut self) -> Option<&mut Waiting<P>> {
        self.held.as_mut()?.waiting.as_mut()
    }
}

/// As others may know where a client waits.
pub(crate) fn place<P: Protocol>(
    server: ServerId,
    upstream: &Upstream<P>,
) -> Option<(u16, Identity)> {
    let exclusive = upstream.exclusive.as_deref()?;
    let index = u16::try_from(server.index()).ok()?;
    Some((index, Arc::clone(&exclusive.identity)))
}

/// From now on a server has some time to end what waits on a connection, and no more.
pub(crate) fn give_time<P: Protocol>(upstream: &Upstream<P>) {
    if let Some(exclusive) = upstream.exclusive.as_deref() {
        exclusive.ends_at.set(Some(Instant::now() + PATIENCE));
        upstream.ring();
    }
}

impl<P: Protocol> Waiting<P> {
    /// Whether the reply has not come.
    pub(crate) fn is_open(&self) -> bool {
        self.wait.outcome() == Outcome::Open
    }

    /// Whether the end of what the client says is the end of its wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.wait.blocks() || self.is_open() && self.since.elapsed() >= PATIENCE
    }

    fn note_given_back(&self, reply: &[u8]) {
        let target = &self.upstream.target;
        if reply.is_empty() || reply.first() == Some(&b'-') {
            target.not_given_back();
        } else {
            target.given_back();
        }
    }
}
