//! Publish and subscribe: which of a worker's clients of one pool are subscribed to what, and over which connections.
//!
//! ```text
//! SUBSCRIBE --> SubscribeOp --command--> SubscriberConn --one connection--> server    a channel: at its server
//!                   |                         |                                      a pattern: at all servers
//!     reply <--all confirmed------------------+--message--> Channel --each subscriber--> ReplyQueue --> client
//! ```
//!
//! Invariants:
//! - A connection is to be subscribed to a channel as long as a client here holds it and its server is one of the channel's.
//! - A client becomes a subscriber when every server concerned has confirmed, right before its reply is written. What comes
//!   for it since the first confirmation waits in [`PendingSubscribers`].
//! - It is none any more when the reply to its unsubscription is written. What was published before either is delivered
//!   before it: each change sends a command to every server concerned, and the answer comes behind what was published.
//! - A client that leaves leaves nothing behind. Every borrow ends before anyone is called.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, timeout};

use crate::config::BufferLimit;
use crate::protocol::PubSub as _;
use crate::protocol::{ChannelKind, Placement, Protocol, SubscriptionChange, UpstreamError};
use crate::proxy::pubsub::channels::ChannelMap;
use crate::proxy::pubsub::conn::{ConnCommand, SendResult, SubscriberConn};
use crate::proxy::pubsub::pending::PendingSubscribers;
use crate::proxy::pubsub::subscribe_op::SubscribeOp;
use crate::proxy::pubsub::subscriber::{Channel, Subscriber};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::server::{Server, log_transition};
use crate::proxy::worker::context::WorkerContext;
use crate::stats::{PoolCells, PoolMetric};
use crate::topology::ServerId;
use crate::topology::{PoolHealth, Topology};

/// How often it is looked whether an ejected server's time has come, while nothing but subscribers use a pool.
const WATCH_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// What the clients of one worker and pool are subscribed to.
pub(crate) struct PubSub<P: Protocol> {
    pool: Rc<str>,
    settings: Rc<P::Settings>,
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) cells: Rc<PoolCells>,
    pub(crate) limit: BufferLimit,
    health: Arc<PoolHealth>,
    topology: RefCell<Arc<Topology>>,
    pub(crate) channels: ChannelMap,
    pub(crate) pending: PendingSubscribers<P>,
    /// By server.
    conns: Vec<Rc<SubscriberConn<P>>>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
    /// Whether servers can be ejected, and somebody looks for it.
    watched: Cell<bool>,
    drive: Drive<P>,
}

/// Starts the task that drives a connection. Handed in by the pool, since the driver knows this registry.
pub(crate) type Drive<P> = fn(Rc<SubscriberConn<P>>, Rc<PubSub<P>>) -> JoinHandle<()>;

impl<P: Protocol> PubSub<P> {
    pub(crate) fn new(
        (pool, settings): (&Rc<str>, &Rc<P::Settings>),
        context: &Rc<WorkerContext>,
        cells: &Rc<PoolCells>,
        limit: BufferLimit,
        health: &Arc<PoolHealth>,
        servers: &[Rc<Server<P>>],
        drive: Drive<P>,
    ) -> Rc<Self> {
        let conns = servers
            .iter()
            .map(|server| Rc::new(SubscriberConn::new(Rc::clone(server))));
        Rc::new(Self {
            pool: Rc::clone(pool),
            settings: Rc::clone(settings),
            context: Rc::clone(context),
            cells: Rc::clone(cells),
            limit,
            health: Arc::clone(health),
            topology: RefCell::new(health.topology()),
            channels: ChannelMap::default(),
            pending: PendingSubscribers::default(),
            conns: conns.collect(),
            tasks: RefCell::default(),
            watched: Cell::new(false),
            drive,
        })
    }

    /// Subscribes a client to what it names, or to nothing at all where that fails for one of them.
    pub(crate) fn subscribe<'n>(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        kind: ChannelKind,
        names: impl Iterator<Item = &'n [u8]>,
        responder: Responder<P>,
        now: Instant,
    ) {
        let (mut count, profile) = (subscriber.subscription_count(), subscriber.profile());
        let mut reply = BytesMut::new();
        let mut joins = Vec::new();
        let mut fresh = HashSet::new();
        for name in names {
            if !subscriber.has(kind, name) && fresh.insert(name) {
                let homes = self.servers_of(kind, name);
                if homes.is_empty() {
                    return responder.fail(UpstreamError::Ejected);
                }
                count.add(kind);
                joins.push((self.channels.channel(kind, name), homes));
            }
            let change = SubscriptionChange::Subscribe(kind);
            P::Stateful::write_confirmation(profile, change, Some(name), count, &mut reply);
        }
        let channels = joins.iter().map(|(channel, _)| channel.clone()).collect();
        let op = SubscribeOp::adding(subscriber, channels, reply, responder);
        for (channel, servers_of) in joins {
            self.channels.hold(&channel, &servers_of);
            for server in servers_of {
                self.ask(
                    server,
                    ConnCommand::Subscribe(channel.clone()),
                    Some(&op),
                    now,
                );
            }
        }
        self.acknowledged(&op);
    }

    /// Unsubscribes a client from what it names, or from all of that topic if it names nothing.
    pub(crate) fn unsubscribe<'n>(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        kind: ChannelKind,
        names: impl Iterator<Item = &'n [u8]>,
        responder: Responder<P>,
        now: Instant,
    ) {
        let mut names: Vec<Rc<[u8]>> = names.map(Rc::from).collect();
        let all = names.is_empty();
        if all {
            names = subscriber.names(kind);
        }
        let profile = subscriber.profile();
        let change = SubscriptionChange::Unsubscribe(kind);
        let mut reply = BytesMut::new();
        if names.is_empty() {
            P::Stateful::write_confirmation(
                profile,
                change,
                None,
                subscriber.subscription_count(),
                &mut reply,
            );
        }
        let mut leaves = Vec::new();
        for name in names {
            leaves.extend(subscriber.remove(kind, &name));
            P::Stateful::write_confirmation(
                profile,
                change,
                Some(&name),
                subscriber.subscription_count(),
                &mut reply,
            );
        }
        self.part(subscriber, leaves, reply, responder, now);
    }

    /// Unsubscribes a client from everything, and then gives it `reply`.
    pub(crate) fn reset(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        reply: &[u8],
        responder: Responder<P>,
        now: Instant,
    ) {
        let leaves = subscriber.remove_all();
        self.part(subscriber, leaves, reply.into(), responder, now);
    }

    fn part(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        leaves: Vec<Channel>,
        reply: BytesMut,
        responder: Responder<P>,
        now: Instant,
    ) {
        let op = SubscribeOp::removing(subscriber, leaves.clone(), reply, responder);
        // What others still hear goes on: only what is under way has to arrive first.
        let mut barriers = BTreeSet::new();
        for channel in leaves {
            let (homes, last) = self.channels.release(&channel);
            for server in homes {
                if last {
                    let what = ConnCommand::Unsubscribe(channel.clone());
                    self.ask(server, what, Some(&op), now);
                } else {
                    barriers.insert(server.index());
                }
            }
        }
        let servers = ServerId::all().take(self.conns.len());
        for server in servers.filter(|server| barriers.contains(&server.index())) {
            self.ask(server, ConnCommand::Heartbeat, Some(&op), now);
        }
        self.acknowledged(&op);
    }

    /// Forgets a client that is gone.
    pub(crate) fn leave(self: &Rc<Self>, subscriber: &Rc<Subscriber>) {
        for channel in subscriber.leave() {
            self.remove_member(&channel, subscriber);
            self.let_go(&channel);
        }
    }

    /// A server has subscribed to something for an operation.
    pub(crate) fn confirmed(self: &Rc<Self>, channel: &Channel, op: &Rc<SubscribeOp<P>>) {
        if op.waits_for_others() {
            self.pending.enter(channel, op);
        }
        self.acknowledged(op);
    }

    /// One answer that an operation waited for has come.
    pub(crate) fn acknowledged(self: &Rc<Self>, op: &SubscribeOp<P>) {
        if op.acknowledge() {
            self.finish(op);
        }
    }

    /// One answer that an operation waited for will not come.
    pub(crate) fn failed(self: &Rc<Self>, op: &SubscribeOp<P>, disconnect: &Disconnect) {
        op.note_disconnect(disconnect);
        self.acknowledged(op);
    }

    fn finish(self: &Rc<Self>, op: &SubscribeOp<P>) {
        let subscriber = &op.subscriber;
        let disconnect = op.disconnect();
        let joins = disconnect.is_none() && !subscriber.is_gone();
        for channel in &op.adds {
            self.pending.leave(channel, op);
            if joins {
                self.add_member(channel, subscriber);
            } else {
                self.let_go(channel);
            }
        }
        for channel in &op.removes {
            self.remove_member(channel, subscriber);
        }
        if !subscriber.is_gone() {
            P::Stateful::on_subscriptions(
                &self.settings,
                subscriber.client,
                subscriber.subscription_count(),
            );
        }
        subscriber.set_busy(false);
        let held = op.take_held();
        op.answer(disconnect);
        if joins {
            self.flush_held(subscriber, held, Instant::now());
        }
    }

    fn add_member(&self, channel: &Channel, subscriber: &Rc<Subscriber>) {
        subscriber.add(channel);
        self.cells.bump(PoolMetric::Subscriptions);
        if self.channels.add(channel, subscriber) > 1 {
            P::Stateful::on_shared_subscriber(&self.settings, channel.kind, &channel.name, true);
        }
    }

    fn remove_member(&self, channel: &Channel, subscriber: &Subscriber) {
        if let Some(left) = self.channels.remove(channel, subscriber) {
            self.cells.drop_one(PoolMetric::Subscriptions);
            if left > 0 {
                P::Stateful::on_shared_subscriber(
                    &self.settings,
                    channel.kind,
                    &channel.name,
                    false,
                );
            }
        }
    }

    /// Holds a name no longer, and does not wait for what the servers say to it.
    fn let_go(self: &Rc<Self>, channel: &Channel) {
        let (homes, last) = self.channels.release(channel);
        if last {
            for server in homes {
                let what = ConnCommand::Unsubscribe(channel.clone());
                self.ask(server, what, None, Instant::now());
            }
        }
    }

    fn ask(
        self: &Rc<Self>,
        server: ServerId,
        what: ConnCommand,
        op: Option<&Rc<SubscribeOp<P>>>,
        now: Instant,
    ) {
        let Some(conn) = self.conns.get(server.index()) else {
            return;
        };
        if let Some(op) = op {
            op.expect_one();
        }
        let asked = conn.ask(what, op, now);
        match (asked, op) {
            (SendResult::Waits, _) => self.start(conn),
            (SendResult::Done, Some(op)) => self.acknowledged(op),
            (SendResult::Failed(disconnect), Some(op)) => self.failed(op, &disconnect),
            (SendResult::Done | SendResult::Failed(_), None) => {}
        }
    }

    /// Sees to it that somebody drives a connection, and that somebody watches the topology.
    fn start(self: &Rc<Self>, conn: &Rc<SubscriberConn<P>>) {
        if conn.begin() {
            let task = (self.drive)(Rc::clone(conn), Rc::clone(self));
            self.tasks.borrow_mut().push(task);
        }
        if conn.server.ejects && !self.watched.replace(true) {
            let pubsub = Rc::clone(self);
            let mut changes = pubsub.health.changes();
            let task = spawn_local(async move {
                loop {
                    // Either will do: it is looked in any case.
                    let _ = timeout(WATCH_EVERY, changes.changed()).await;
                    pubsub.refresh(Instant::now());
                }
            });
            self.tasks.borrow_mut().push(task);
        }
    }

    /// Looks whether the topology has changed.
    pub(crate) fn refresh(self: &Rc<Self>, now: Instant) {
        for transition in self.health.on_request(now.into_std()) {
            log_transition(&self.pool, &self.health.topology(), transition);
        }
        let epoch = self.topology.borrow().epoch;
        if self.health.epoch() != epoch {
            self.adopt(&self.health.topology(), now);
        }
    }

    /// Moves every name to the servers where it is heard now.
    pub(crate) fn adopt(self: &Rc<Self>, topology: &Arc<Topology>, now: Instant) {
        *self.topology.borrow_mut() = Arc::clone(topology);
        for channel in self.channels.channels() {
            let homes = self.servers_of(channel.kind, &channel.name);
            let Some(before) = self.channels.relocate(&channel, &homes) else {
                continue;
            };
            for &server in homes.iter().filter(|home| !before.contains(home)) {
                self.ask(server, ConnCommand::Subscribe(channel.clone()), None, now);
            }
            for &server in before.iter().filter(|home| !homes.contains(home)) {
                self.ask(server, ConnCommand::Unsubscribe(channel.clone()), None, now);
            }
        }
    }

    /// Where `name` has to be subscribed to; nowhere if no server that could have it is live.
    fn servers_of(&self, kind: ChannelKind, name: &[u8]) -> Vec<ServerId> {
        let topology = self.topology.borrow();
        match P::Stateful::placement(&self.settings, kind, name) {
            Placement::Key(key) => topology.router.route(key).into_iter().collect(),
            Placement::Everywhere => ServerId::all()
                .zip(&topology.live)
                .filter_map(|(server, &live)| live.then_some(server))
                .collect(),
        }
    }

    /// Ends the clients that would wait for messages that cannot come, since a server refuses to subscribe again.
    pub(crate) fn refused(&self, channel: &Channel) {
        for member in self.channels.members(channel) {
            member.replies.kill();
        }
    }

    /// Ends all tasks.
    pub(crate) fn stop(&self) {
        self.tasks.take().iter().for_each(JoinHandle::abort);
    }
}

impl<P: Protocol> fmt::Debug for PubSub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
