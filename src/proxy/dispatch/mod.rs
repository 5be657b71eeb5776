//! From a scanned request to the upstreams that it goes to.

pub(crate) mod pinned;

use std::cell::OnceCell;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::{Frame, WriteBuf};
use crate::protocol::{
    ConnInfo, ConnProfile, KeySpan, Part, Plan, Protocol, Route, Span, SubscriptionChange, Targets,
    UpstreamError,
};
use crate::proxy::dispatch::pinned::Pinned;
use crate::proxy::pool::LocalPool;
use crate::proxy::pubsub::subscriber::Subscriber;
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::Seq;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::PoolMetric;
use crate::topology::ServerId;

/// Sends the requests of one session on their way.
#[derive(Debug)]
pub(crate) struct Dispatcher<P: Protocol> {
    pub(crate) pool: Rc<LocalPool<P>>,
    pub(crate) replies: Rc<ReplyQueue>,
    pub(crate) session: usize,
    pub(crate) client: P::Client,
    /// The lane of the requests in flight.
    pub(crate) profile: ConnProfile,
    /// What its next requests may depend on; few clients have any.
    pub(crate) pinned: Option<Box<Pinned<P>>>,
    /// What the hub knows of the client, once it has subscribed to something.
    subscriber: OnceCell<Rc<Subscriber>>,
}

/// A request on its way to a server.
#[derive(Debug)]
pub(crate) struct Outgoing<'f, P: Protocol> {
    pub(crate) frame: Frame<'f>,
    /// Bytes of the frame that servers do not get.
    pub(crate) stripped: Span,
    pub(crate) expect: P::Expect,
    pub(crate) tag: P::CommandTag,
}

/// What the session does next.
#[derive(Debug)]
pub(crate) enum Dispatched<P: Protocol> {
    Taken,
    /// The request was not taken: this connection to its server has too much queued. It must be offered again.
    Backpressure(Rc<UpstreamConn<P>>),
    /// The request was not taken: it must not overtake those in flight. It must be offered again when all are answered.
    Fence,
    /// No further request is taken; the connection ends when all is answered.
    Close,
}

impl<P: Protocol> Dispatched<P> {
    /// Whether the request was taken; otherwise it must be offered again.
    pub(crate) fn is_taken(&self) -> bool {
        !matches!(self, Self::Backpressure(_) | Self::Fence)
    }
}

impl<P: Protocol> Dispatcher<P> {
    pub(crate) fn new(pool: Rc<LocalPool<P>>, replies: Rc<ReplyQueue>, arrival: ConnInfo) -> Self {
        let session = arrival.session;
        let client = P::client(&pool.settings, arrival);
        let profile = P::profile(&client);
        replies.belongs_to(P::number(&client));
        Self {
            pool,
            replies,
            session,
            client,
            profile,
            pinned: None,
            subscriber: OnceCell::new(),
        }
    }

    /// Takes one request.
    pub(crate) fn dispatch(
        &mut self,
        request: &P::Request,
        frame: Frame<'_>,
        now: Instant,
    ) -> Dispatched<P> {
        if self.pinned.is_some() && self.is_barred() {
            return Dispatched::Fence;
        }
        if let Some(subscriber) = self.subscriber.get() {
            // What it hears is written in the old manner as long as replies are due that are.
            if subscriber.is_busy() || P::may_change_profile(request) && !self.replies.is_idle() {
                return Dispatched::Fence;
            }
            P::set_subscriptions(&mut self.client, subscriber.subscription_count());
        }
        let mut buffers = self.pool.plan_buffers.take();
        let plan = P::plan(
            request,
            frame.bytes(),
            &mut self.client,
            &self.pool.settings,
            &mut buffers.keys,
            &mut buffers.reply,
        );
        let next =
            if P::profile(&self.client) != self.profile && plan.is_sent() && !self.change_profile()
            {
                Dispatched::Fence
            } else if self.pinned.is_some() {
                self.execute_pinned(&plan, request, frame, &mut buffers, now)
            } else {
                self.execute(&plan, request, frame, &mut buffers, now)
            };
        buffers.clear();
        self.pool.plan_buffers.set(buffers);
        if let Some(subscriber) = self.subscriber.get()
            && !matches!(next, Dispatched::Fence | Dispatched::Backpressure(_))
        {
            subscriber.set_profile(P::profile(&self.client));
        }
        next
    }

    /// Goes over to the client's lane, whose requests travel on other connections, once those in flight are answered.
    #[cold]
    fn change_profile(&mut self) -> bool {
        let may_change = self.replies.is_idle();
        if may_change {
            self.profile = P::profile(&self.client);
        }
        may_change
    }

    pub(crate) fn execute(
        &mut self,
        plan: &Plan<P>,
        request: &P::Request,
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let outgoing = |frame, expect| Outgoing {
            frame,
            stripped: P::stripped(request),
            expect,
            tag: P::command_tag(request),
        };
        match *plan {
            Plan::Ignore => Dispatched::Taken,
            Plan::Reply => self.answer(&buffers.reply, PoolMetric::RequestsLocal),
            Plan::Error => self.answer(&buffers.reply, PoolMetric::RequestsRefused),
            Plan::ReplyAndClose => {
                self.answer(&buffers.reply, PoolMetric::RequestsLocal);
                Dispatched::Close
            }
            Plan::Forward(route, expect) => {
                let owner = self.owner(route, &frame, buffers);
                self.forward(owner, outgoing(frame, expect), now)
            }
            Plan::ForwardAndFixReply(route, split, expect) => {
                let owner = self.owner(route, &frame, buffers);
                let whole = outgoing(frame.clone(), expect);
                self.merge_from(owner.as_slice(), split, frame.bytes(), &whole, now)
            }
            Plan::PubSub(change, expect) => {
                if change == SubscriptionChange::Leave {
                    self.unwatch();
                }
                self.change_subscriptions(change, expect, &frame, buffers, now)
            }
            Plan::ForwardSameServer(expect) => match self.common_owner(&buffers.keys, &frame) {
                Ok(owner) => self.forward(owner, outgoing(frame, expect), now),
                Err(apart) => self.refuse_keys(apart, &frame, buffers),
            },
            Plan::ForwardScript(expect) => match self.common_owner(&buffers.keys, &frame) {
                Ok(owner) => self.forward_script(owner, &outgoing(frame, expect), now),
                Err(apart) => self.refuse_keys(apart, &frame, buffers),
            },
            Plan::MultiShard(split, expect) => {
                self.split(split, &buffers.keys, outgoing(frame, expect), now)
            }
            Plan::AllServers(split, expect) => {
                self.all_servers(split, frame.bytes(), outgoing(frame.clone(), expect), now)
            }
            Plan::Rewrite(whom, split, expect) => {
                let rewritten = Outgoing {
                    frame: Frame::Borrowed(&buffers.reply),
                    stripped: Span::default(),
                    expect,
                    tag: P::command_tag(request),
                };
                match whom {
                    Targets::All => self.all_servers(split, frame.bytes(), rewritten, now),
                    Targets::One(server) => {
                        let server = [ServerId::new(server)];
                        self.merge_from(&server, split, frame.bytes(), &rewritten, now)
                    }
                    Targets::PerServer => {
                        self.merge_per_server(&buffers.keys, split, frame.bytes(), &rewritten, now)
                    }
                }
            }
            Plan::Transaction(ref step) => self.tx_op(step, frame, buffers, now),
            Plan::Blocking(expect) => self.block(&frame, expect, buffers, now),
            Plan::WaitReplicas(split, expect) => {
                self.wait_replicas(split, &frame, expect, buffers, now)
            }
        }
    }

    /// A slot for a request that is taken.
    pub(crate) fn reserve(&self) -> Seq {
        if P::take_reply_suppressed(&self.client) {
            self.replies.reserve_discarded()
        } else {
            self.replies.reserve()
        }
    }

    /// The server that one key names.
    fn owner(&self, route: Route, frame: &Frame<'_>, buffers: &PlanBuffers) -> Option<ServerId> {
        match route {
            Route::Key(key) => self.pool.route(key.of(frame.bytes())),
            Route::Decoded => self.pool.route(&buffers.reply),
            Route::Placeholder => self.pool.route(P::PLACEHOLDER),
        }
    }

    fn change_subscriptions(
        &self,
        change: SubscriptionChange,
        expect: P::Expect,
        frame: &Frame<'_>,
        buffers: &PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        // What it published itself belongs before, and what comes behind must find it subscribed.
        if !self.replies.is_idle() {
            return Dispatched::Fence;
        }
        let pubsub = &self.pool.pubsub;
        let subscriber = self.subscriber.get_or_init(|| {
            let profile = P::profile(&self.client);
            let client = P::client_number(&self.client);
            Subscriber::new(self.session, client, Rc::clone(&self.replies), profile)
        });
        let seq = if change == SubscriptionChange::Leave {
            self.reserve()
        } else {
            // As in Redis, not even a client that wants no replies misses what tells it of its subscriptions; that it did
            // not want this one is over then.
            P::take_reply_suppressed(&self.client);
            self.replies.reserve()
        };
        let responder = Responder::whole(Rc::clone(&self.replies), seq, expect);
        self.pool.cells.bump(PoolMetric::RequestsLocal);
        let names = buffers.keys.iter().map(|name| name.key.of(frame.bytes()));
        match change {
            SubscriptionChange::Subscribe(topic) => {
                pubsub.subscribe(subscriber, topic, names, responder, now);
            }
            SubscriptionChange::Unsubscribe(topic) => {
                pubsub.unsubscribe(subscriber, topic, names, responder, now);
            }
            SubscriptionChange::Leave => pubsub.reset(subscriber, &buffers.reply, responder, now),
        }
        Dispatched::Taken
    }

    /// The client takes no part any more.
    pub(crate) fn unsubscribe(&self) {
        if let Some(subscriber) = self.subscriber.get() {
            self.pool.pubsub.leave(subscriber);
        }
    }

    pub(crate) fn answer(&self, reply: &[u8], metric: PoolMetric) -> Dispatched<P> {
        self.pool.cells.bump(metric);
        self.reply(reply);
        Dispatched::Taken
    }

    /// Tells the client, if it wants to hear.
    pub(crate) fn reply(&self, reply: &[u8]) {
        if !P::take_reply_suppressed(&self.client) {
            self.replies.answer(reply);
        }
    }

    /// Answers with an error although the request was in order.
    pub(crate) fn fail(&self, error: UpstreamError, expect: P::Expect) -> Dispatched<P> {
        let mut reply = BytesMut::new();
        P::write_upstream_error(error, expect, &mut reply);
        self.answer(&reply, PoolMetric::ForwardError)
    }

    pub(crate) fn forward(
        &self,
        owner: Option<ServerId>,
        outgoing: Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let Outgoing {
            frame,
            stripped,
            expect,
            tag: label,
        } = outgoing;
        let Some(upstream) = owner.and_then(|owner| self.upstream(owner)) else {
            return self.fail(UpstreamError::Ejected, expect);
        };
        match upstream.admit(now) {
            Admission::Open => {
                let seq = self.reserve();
                let responder =
                    || Responder::whole(Rc::clone(&self.replies), seq, expect).tagged(label);
                upstream.forward_with(frame, stripped, responder, now);
                Dispatched::Taken
            }
            Admission::Full => Dispatched::Backpressure(Rc::clone(upstream)),
            Admission::Down(error) => self.fail(error, expect),
        }
    }

    fn refuse_keys(
        &self,
        apart: [Span; 2],
        frame: &Frame<'_>,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        let keys = apart.map(|key| key.of(frame.bytes()));
        P::write_cross_server(&self.pool.settings, keys, &mut buffers.reply);
        self.answer(&buffers.reply, PoolMetric::RequestsRefused)
    }

    /// The connection to a server that speaks as this client does.
    pub(crate) fn upstream(&self, server: ServerId) -> Option<&Rc<UpstreamConn<P>>> {
        if let Some(pinned) = &self.pinned
            && let Some(watch) = &pinned.watch
            && let Some(upstream) = watch.serves(server, self.profile)
        {
            return Some(upstream);
        }
        self.pool.upstream(server, self.profile, self.session)
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
        split: P::MergeSpec,
        keys: &[KeySpan],
        outgoing: Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let (expect, label) = (outgoing.expect, outgoing.tag);
        let Some(fragments) = Fragments::new(&self.pool, keys, &outgoing.frame) else {
            return self.fail(UpstreamError::Ejected, expect);
        };
        if let [(server, _)] = fragments.servers[..] {
            return self.forward(Some(server), outgoing, now);
        }
        let frame = outgoing.frame;
        let mut upstreams = Vec::with_capacity(fragments.servers.len());
        for &(server, _) in &fragments.servers {
            let Some(upstream) = self.upstream(server) else {
                return self.fail(UpstreamError::Ejected, expect);
            };
            let admission = upstream.admit(now);
            if admission == Admission::Full {
                return Dispatched::Backpressure(Rc::clone(upstream));
            }
            upstreams.push((upstream, admission));
        }
        let context = P::merge_context(split, frame.bytes(), keys, &self.pool.settings);
        let gather = self.gather(
            (context, expect),
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
        let responders = (0..=u16::MAX).map(|index| Responder::fragment(Rc::clone(&gather), index));
        for (((upstream, admission), (mut out, before)), responder) in
            upstreams.into_iter().zip(open).zip(responders)
        {
            P::end_fragment(split, out.tail());
            let len = out.len() - before;
            match admission {
                Admission::Down(error) => responder.fail(error),
                _ => upstream.close_fragment(out, len, responder, now),
            }
        }
        Dispatched::Taken
    }

    pub(crate) fn gather(
        &self,
        expected: (P::MergeContext, P::Expect),
        label: P::CommandTag,
        owners: Vec<u16>,
        fragments: usize,
        since: Option<Instant>,
    ) -> Rc<Gather<P>> {
        let cells = &self.pool.cells;
        cells.add(PoolMetric::Fragments, fragments as u64);
        let place = (Rc::clone(&self.replies), self.reserve());
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
