//! From a scanned request to the upstreams that it goes to.

pub(crate) mod pinned;

use std::cell::OnceCell;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::{Frame, WriteBuf};
use crate::protocol::{
    Arrival, Change, Fault, KeySpan, Lane, Part, Plan, Protocol, Route, Span, Whom,
};
use crate::proxy::dispatch::pinned::Held;
use crate::proxy::pool::LocalPool;
use crate::proxy::pubsub::subscriber::Subscriber;
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::{Pipeline, Seq};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::upstream::conn::{Admission, Upstream};
use crate::proxy::worker::plan_buffers::Work;
use crate::stats::PoolMetric;
use crate::topology::ServerId;

/// Sends the requests of one session on their way.
#[derive(Debug)]
pub(crate) struct Dispatcher<P: Protocol> {
    pub(crate) pool: Rc<LocalPool<P>>,
    pub(crate) pipeline: Rc<Pipeline>,
    pub(crate) session: usize,
    pub(crate) client: P::Client,
    /// The lane of the requests in flight.
    pub(crate) lane: Lane,
    /// What its next requests may depend on; few clients have any.
    pub(crate) held: Option<Box<Held<P>>>,
    /// What the hub knows of the client, once it has subscribed to something.
    subscriber: OnceCell<Rc<Subscriber>>,
}

/// A request on its way to a server.
#[derive(Debug)]
pub(crate) struct Parcel<'f, P: Protocol> {
    pub(crate) frame: Frame<'f>,
    /// Bytes of the frame that servers do not get.
    pub(crate) left_out: Span,
    pub(crate) expect: P::Expect,
    pub(crate) label: P::Label,
}

/// What the session does next.
#[derive(Debug)]
pub(crate) enum Next<P: Protocol> {
    Continue,
    /// The request was not taken: this connection to its server has too much queued. It must be offered again.
    Stalled(Rc<Upstream<P>>),
    /// The request was not taken: it must not overtake those in flight. It must be offered again when all are answered.
    Fenced,
    /// No further request is taken; the connection ends when all is answered.
    Close,
}

impl<P: Protocol> Next<P> {
    /// Whether the request was taken; otherwise it must be offered again.
    pub(crate) fn is_taken(&self) -> bool {
        !matches!(self, Self::Stalled(_) | Self::Fenced)
    }
}

impl<P: Protocol> Dispatcher<P> {
    pub(crate) fn new(pool: Rc<LocalPool<P>>, pipeline: Rc<Pipeline>, arrival: Arrival) -> Self {
        let session = arrival.session;
        let client = P::client(&pool.settings, arrival);
        let lane = P::lane(&client);
        pipeline.belongs_to(P::number(&client));
        Self {
            pool,
            pipeline,
            session,
            client,
            lane,
            held: None,
            subscriber: OnceCell::new(),
        }
    }

    /// Takes one request.
    pub(crate) fn dispatch(
        &mut self,
        request: &P::Request,
        frame: Frame<'_>,
        now: Instant,
    ) -> Next<P> {
        if self.held.is_some() && self.must_hold() {
            return Next::Fenced;
        }
        if let Some(subscriber) = self.subscriber.get() {
            // What it hears is written in the old manner as long as replies are due that are.
            if subscriber.is_busy() || P::may_change_lane(request) && !self.pipeline.is_idle() {
                return Next::Fenced;
            }
            P::note_subscriptions(&mut self.client, subscriber.tally());
        }
        let mut work = self.pool.work.take();
        let plan = P::plan(
            request,
            frame.bytes(),
            &mut self.client,
            &self.pool.settings,
            &mut work.keys,
            &mut work.reply,
        );
        let next = if P::lane(&self.client) != self.lane && plan.is_sent() && !self.change_lane() {
            Next::Fenced
        } else if self.held.is_some() {
            self.carry_out_held(&plan, request, frame, &mut work, now)
        } else {
            self.carry_out(&plan, request, frame, &mut work, now)
        };
        work.clear();
        self.pool.work.set(work);
        if let Some(subscriber) = self.subscriber.get()
            && !matches!(next, Next::Fenced | Next::Stalled(_))
        {
            subscriber.set_lane(P::lane(&self.client));
        }
        next
    }

    /// Goes over to the client's lane, whose requests travel on other connections, once those in flight are answered.
    #[cold]
    fn change_lane(&mut self) -> bool {
        let may_change = self.pipeline.is_idle();
        if may_change {
            self.lane = P::lane(&self.client);
        }
        may_change
    }

    pub(crate) fn carry_out(
        &mut self,
        plan: &Plan<P>,
        request: &P::Request,
        frame: Frame<'_>,
        work: &mut Work,
        now: Instant,
    ) -> Next<P> {
        let parcel = |frame, expect| Parcel {
            frame,
            left_out: P::left_out(request),
            expect,
            label: P::label(request),
        };
        match *plan {
            Plan::Nothing => Next::Continue,
            Plan::Answered => self.answer(&work.reply, PoolMetric::RequestsLocal),
            Plan::Refused => self.answer(&work.reply, PoolMetric::RequestsRefused),
            Plan::AnsweredClose => {
                self.answer(&work.reply, PoolMetric::RequestsLocal);
                Next::Close
            }
            Plan::Forward(route, expect) => {
                let owner = self.owner(route, &frame, work);
                self.forward(owner, parcel(frame, expect), now)
            }
            Plan::Reread(route, split, expect) => {
                let owner = self.owner(route, &frame, work);
                let whole = parcel(frame.clone(), expect);
                self.gather_from(owner.as_slice(), split, frame.bytes(), &whole, now)
            }
            Plan::Subscriptions(change, expect) => {
                if change == Change::Leave {
                    self.unwatch();
                }
                self.change_subscriptions(change, expect, &frame, work, now)
            }
            Plan::Together(expect) => match self.common_owner(&work.keys, &frame) {
                Ok(owner) => self.forward(owner, parcel(frame, expect), now),
                Err(apart) => self.refuse_keys(apart, &frame, work),
            },
            Plan::Retold(expect) => match self.common_owner(&work.keys, &frame) {
                Ok(owner) => self.forward_retold(owner, &parcel(frame, expect), now),
                Err(apart) => self.refuse_keys(apart, &frame, work),
            },
            Plan::Split(split, expect) => self.split(split, &work.keys, parcel(frame, expect), now),
            Plan::Everyone(split, expect) => {
                self.everyone(split, frame.bytes(), parcel(frame.clone(), expect), now)
            }
            Plan::Rewritten(whom, split, expect) => {
                let rewritten = Parcel {
                    frame: Frame::Borrowed(&work.reply),
                    left_out: Span::default(),
                    expect,
                    label: P::label(request),
                };
                match whom {
                    Whom::All => self.everyone(split, frame.bytes(), rewritten, now),
                    Whom::One(server) => {
                        let server = [ServerId::new(server)];
                        self.gather_from(&server, split, frame.bytes(), &rewritten, now)
                    }
                    Whom::Each => {
                        self.gather_each(&work.keys, split, frame.bytes(), &rewritten, now)
                    }
                }
            }
            Plan::Transaction(ref step) => self.step(step, frame, work, now),
            Plan::Block(expect) => self.block(&frame, expect, work, now),
            Plan::Attest(split, expect) => self.attest(split, &frame, expect, work, now),
        }
    }

    /// A slot for a request that is taken.
    pub(crate) fn reserve(&self) -> Seq {
        if P::is_hushed(&self.client) {
            self.pipeline.reserve_silent()
        } else {
            self.pipeline.reserve()
        }
    }

    /// The server that one key names.
    fn owner(&self, route: Route, frame: &Frame<'_>, work: &Work) -> Option<ServerId> {
        match route {
            Route::Key(key) => self.pool.route(key.of(frame.bytes())),
            Route::Written => self.pool.route(&work.reply),
            Route::Placeholder => self.pool.route(P::PLACEHOLDER),
        }
    }

    fn change_subscriptions(
        &self,
        change: Change,
        expect: P::Expect,
        frame: &Frame<'_>,
        work: &Work,
        now: Instant,
    ) -> Next<P> {
        // What it published itself belongs before, and what comes behind must find it subscribed.
        if !self.pipeline.is_idle() {
            return Next::Fenced;
        }
        let hub = &self.pool.hub;
        let subscriber = self.subscriber.get_or_init(|| {
            let lane = P::lane(&self.client);
            let client = P::client_number(&self.client);
            Subscriber::new(self.session, client, Rc::clone(&self.pipeline), lane)
        });
        let seq = if change == Change::Leave {
            self.reserve()
        } else {
            // As in Redis, not even a client that wants no replies misses what tells it of its subscriptions; that it did
            // not want this one is over then.
            P::is_hushed(&self.client);
            self.pipeline.reserve()
        };
        let ticket = Ticket::whole(Rc::clone(&self.pipeline), seq, expect);
        self.pool.cells.bump(PoolMetric::RequestsLocal);
        let names = work.keys.iter().map(|name| name.key.of(frame.bytes()));
        match change {
            Change::Subscribe(topic) => hub.subscribe(subscriber, topic, names, ticket, now),
            Change::Unsubscribe(topic) => hub.unsubscribe(subscriber, topic, names, ticket, now),
            Change::Leave => hub.reset(subscriber, &work.reply, ticket, now),
        }
        Next::Continue
    }

    /// The client takes no part any more.
    pub(crate) fn unsubscribe(&self) {
        if let Some(subscriber) = self.subscriber.get() {
            self.pool.hub.leave(subscriber);
        }
    }

    pub(crate) fn answer(&self, reply: &[u8], metric: PoolMetric) -> Next<P> {
        self.pool.cells.bump(metric);
        self.tell(reply);
        Next::Continue
    }

    /// Tells the client, if it wants to hear.
    pub(crate) fn tell(&self, reply: &[u8]) {
        if !P::is_hushed(&self.client) {
            self.pipeline.answer(reply);
        }
    }

    /// Answers with an error although the request was in order.
    pub(crate) fn fail(&self, fault: Fault, expect: P::Expect) -> Next<P> {
        let mut reply = BytesMut::new();
        P::write_fault(fault, expect, &mut reply);
        self.answer(&reply, PoolMetric::ForwardError)
    }

    pub(crate) fn forward(
        &self,
        owner: Option<ServerId>,
        parcel: Parcel<'_, P>,
        now: Instant,
    ) -> Next<P> {
        let Parcel {
            frame,
            left_out,
            expect,
            label,
        } = parcel;
        let Some(upstream) = owner.and_then(|owner| self.upstream(owner)) else {
            return self.fail(Fault::Ejected, expect);
        };
        match upstream.admit(now) {
            Admission::Open => {
                let seq = self.reserve();
                let ticket =
                    || Ticket::whole(Rc::clone(&self.pipeline), seq, expect).labelled(label);
                upstream.forward_with(frame, left_out, ticket, now);
                Next::Continue
            }
            Admission::Full => Next::Stalled(Rc::clone(upstream)),
            Admission::Down(fault) => self.fail(fault, expect),
        }
    }

    fn refuse_keys(&self, apart: [Span; 2], frame: &Frame<'_>, work: &mut Work) -> Next<P> {
        let keys = apart.map(|key| key.of(frame.bytes()));
        P::write_apart(&self.pool.settings, keys, &mut work.reply);
        self.answer(&work.reply, PoolMetric::RequestsRefused)
    }

    /// The connection to a server that speaks as this client does.
    pub(crate) fn upstream(&self, server: ServerId) -> Option<&Rc<Upstream<P>>> {
        if let Some(held) = &self.held
            && let Some(watch) = &held.watch
            && let Some(upstream) = watch.serves(server, self.lane)
        {
            return Some(upstream);
        }
        self.pool.upstream(server, self.lane, self.session)
    }

    /// The one server that all keys live on, or two keys that live on different ones. Where there are none, it is that of
    /// the placeholder.
    pub(crate) fn common_owner(
        &self,
        keys: &[KeySpan],
        frame: &Frame<'_>,
    ) -> Result<Option<ServerId>, [Span; 2]> {
        // Where any server is as good as another, the keys cannot live apart: Twemproxy's choice is the first one's.
        let keys = if self.pool.is_random() {
            keys.get(..1).unwrap_or(keys)
        } else {
            keys
        };
        let owner = |key: &KeySpan| self.pool.route(key.key.of(frame.bytes()));
        let Some((first, others)) = keys.split_first() else {
            return Ok(self.pool.route(P::PLACEHOLDER));
        };
        let common = owner(first);
        match others.iter().find(|other| owner(other) != common) {
            None => Ok(common),
            Some(other) => Err([first.key, other.key]),
        }
    }

    fn split(
        &self,
        split: P::Split,
        keys: &[KeySpan],
        parcel: Parcel<'_, P>,
        now: Instant,
    ) -> Next<P> {
        let (expect, label) = (parcel.expect, parcel.label);
        let Some(fragments) = Fragments::new(&self.pool, keys, &parcel.frame) else {
            return self.fail(Fault::Ejected, expect);
        };
        if let [(server, _)] = fragments.servers[..] {
            return self.forward(Some(server), parcel, now);
        }
        let frame = parcel.frame;
        let mut upstreams = Vec::with_capacity(fragments.servers.len());
        for &(server, _) in &fragments.servers {
            let Some(upstream) = self.upstream(server) else {
                return self.fail(Fault::Ejected, expect);
            };
            let admission = upstream.admit(now);
            if admission == Admission::Full {
                return Next::Stalled(Rc::clone(upstream));
            }
            upstreams.push((upstream, admission));
        }
        let joint = P::joint(split, frame.bytes(), keys, &self.pool.settings);
        let gather = self.gather(
            (joint, expect),
            label,
            fragments.owners,
            upstreams.len(),
            Some(now),
        );
        let mut open = Vec::with_capacity(upstreams.len());
        let first = gather.owners().first().copied();
        let parts = (0..=u16::MAX).zip(&fragments.servers);
        for ((upstream, admission), (index, &(_, keys))) in upstreams.iter().zip(parts) {
            let mut out = match admission {
                Admission::Open => upstream.open_fragment(),
                Admission::Full | Admission::Down(_) => WriteBuf::new(),
            };
            let before = out.len();
            let part = Part {
                keys,
                has_first: first == Some(index),
            };
            P::begin_fragment(split, frame.bytes(), part, out.tail());
            open.push((out, before));
        }
        for (key, &owner) in keys.iter().zip(gather.owners()) {
            if let Some((out, _)) = open.get_mut(usize::from(owner)) {
                out.push(frame.part(key.unit.start, key.unit.end));
            }
        }
        let tickets = (0..=u16::MAX).map(|index| Ticket::fragment(Rc::clone(&gather), index));
        for (((upstream, admission), (mut out, before)), ticket) in
            upstreams.into_iter().zip(open).zip(tickets)
        {
            P::end_fragment(split, out.tail());
            let len = out.len() - before;
            match admission {
                Admission::Down(fault) => ticket.fail(fault),
                _ => upstream.close_fragment(out, len, ticket, now),
            }
        }
        Next::Continue
    }

    pub(crate) fn gather(
        &self,
        expected: (P::Joint, P::Expect),
        label: P::Label,
        owners: Vec<u16>,
        fragments: usize,
        since: Option<Instant>,
    ) -> Rc<Gather<P>> {
        let cells = &self.pool.cells;
        cells.add(PoolMetric::Fragments, fragments as u64);
        let place = (Rc::clone(&self.pipeline), self.reserve());
        let known = (Rc::clone(&self.pool.settings), label);
        Rc::new(Gather::new(
            place, expected, known, owners, fragments, since,
        ))
    }
}

impl<P: Protocol> Drop for Dispatcher<P> {
    fn drop(&mut self) {
        self.unwatch();
        self.pool.leases.wait_no_more(self.session);
    }
}

/// Which key goes with which fragment: one fragment a server, in the order of the servers.
struct Fragments {
    /// Each server with a fragment, and the number of its keys.
    servers: Vec<(ServerId, usize)>,
    /// For each key, the index of its fragment.
    owners: Vec<u16>,
}

impl Fragments {
    /// `None` when all servers are ejected.
    fn new<P: Protocol>(pool: &LocalPool<P>, keys: &[KeySpan], frame: &Frame<'_>) -> Option<Self> {
        let mut counts = vec![0_usize; pool.server_count()];
        let mut homes = Vec::with_capacity(keys.len());
        for key in keys {
            let server = pool.route(key.key.of(frame.bytes()))?;
            *counts.get_mut(server.index())? += 1;
            homes.push(server);
        }
        let mut servers = Vec::new();
        let mut index_of = vec![0_u16; counts.len()];
        for ((server, &keys), index) in ServerId::all().zip(&counts).zip(&mut index_of) {
            if keys > 0 {
                *index = u16::try_from(servers.len()).ok()?;
                servers.push((server, keys));
            }
        }
        let owners: Option<Vec<u16>> = homes
            .iter()
            .map(|home| index_of.get(home.index()).copied())
            .collect();
        Some(Self {
            servers,
            owners: owners?,
        })
    }
}
