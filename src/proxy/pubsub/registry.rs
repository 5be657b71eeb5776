//! The pub/sub registry: the subscriptions of a worker's clients of one pool, and their connections.
//!
//! ```text
//! SUBSCRIBE --> SubscribeOp --command--> SubscriberConn --one connection--> server    a channel: at its server
//!                   |                         |                                      a pattern: at all servers
//!     reply <--all confirmed------------------+--message--> Channel --each subscriber--> ReplyQueue --> client
//! ```
//!
//! Invariants:
//! - A connection stays subscribed to a channel while a client here holds it and its server is one of the channel's.
//! - A client becomes a subscriber when every server concerned has confirmed, and its changes before that are
//!   finished, right before its reply is written. Messages for it since the first confirmation are held in
//!   [`PendingSubscribers`].
//! - The changes of a client are sent as they arrive, and finished in that order ([`OpsInOrder`]).
//! - It stops being one when the reply to its unsubscription is written. Messages published before either reply are
//!   sent before it: each change sends a command to every server concerned, whose reply follows those messages.
//! - A disconnected client leaves no state. Every borrow ends before other components are called.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use fnv::FnvHashMap;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::BufferLimit;
use crate::protocol::{ChannelKind, Placement, Protocol, SubscriptionChange, UpstreamError};
use crate::protocol::{PubSub as _, Surveys as _};
use crate::proxy::pubsub::channels::ChannelMap;
use crate::proxy::pubsub::conn::{ConnCommand, SendResult, SubscriberConn};
use crate::proxy::pubsub::in_order::OpsInOrder;
use crate::proxy::pubsub::key_events::KeyEvents;
use crate::proxy::pubsub::pending::PendingSubscribers;
use crate::proxy::pubsub::subscribe_op::{Step, SubscribeOp};
use crate::proxy::pubsub::subscriber::{Channel, Subscriber, Subscription};
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::worker::context::WorkerContext;
use crate::stats::{PoolCells, PoolMetric};
use crate::topology::{ServerId, ServerIndex, Topology};

/// The subscriptions of the clients of one worker and pool.
pub(crate) struct PubSub<P: Protocol> {
    pool: Rc<str>,
    settings: Rc<P::Settings>,
    pub(crate) context: Rc<WorkerContext>,
    pub(crate) cells: Rc<PoolCells>,
    pub(crate) limit: Cell<BufferLimit>,
    topology: RefCell<Option<Arc<Topology>>>,
    pub(crate) channels: ChannelMap,
    pub(crate) pending: PendingSubscribers<P>,
    in_order: OpsInOrder<P>,
    key_events: KeyEvents,
    /// The connections to the servers of the topology.
    conns: RefCell<FnvHashMap<ServerId, Rc<SubscriberConn<P>>>>,
    tasks: RefCell<FnvHashMap<ServerId, JoinHandle<()>>>,
    /// Notifies that a connection is opened.
    opened: Notify,
    drive: Drive<P>,
}

/// Starts the task that drives a connection. Passed in by the pool, since the driver depends on this registry.
pub(crate) type Drive<P> = fn(Rc<SubscriberConn<P>>, Rc<PubSub<P>>) -> JoinHandle<()>;

impl<P: Protocol> PubSub<P> {
    pub(crate) fn new(
        (pool, settings): (&Rc<str>, &Rc<P::Settings>),
        context: &Rc<WorkerContext>,
        cells: &Rc<PoolCells>,
        limit: BufferLimit,
        drive: Drive<P>,
    ) -> Rc<Self> {
        Rc::new(Self {
            pool: Rc::clone(pool),
            settings: Rc::clone(settings),
            context: Rc::clone(context),
            cells: Rc::clone(cells),
            limit: Cell::new(limit),
            topology: RefCell::default(),
            channels: ChannelMap::default(),
            pending: PendingSubscribers::default(),
            in_order: OpsInOrder::default(),
            key_events: KeyEvents::default(),
            conns: RefCell::default(),
            tasks: RefCell::default(),
            opened: Notify::new(),
            drive,
        })
    }

    /// Subscribes a client to the named channels, or to none of them if one fails.
    pub(crate) fn subscribe<'n>(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        kind: ChannelKind,
        names: impl Iterator<Item = &'n [u8]>,
        responder: Responder<P>,
        now: Instant,
    ) {
        let mut fresh = HashSet::new();
        let mut placed = Vec::new();
        for name in names {
            let is_new = !subscriber.has(kind, name) && fresh.insert(name);
            let servers = is_new.then(|| self.servers_of(kind, name));
            if servers.as_ref().is_some_and(Vec::is_empty) {
                return responder.fail(UpstreamError::Ejected);
            }
            placed.push((self.channels.channel(kind, name), servers));
        }
        let steps = placed.iter().map(|(channel, servers)| Step {
            name: Some(Rc::clone(&channel.name)),
            subscription: servers.as_ref().map(|_| subscriber.add(channel.clone())),
        });
        let change = SubscriptionChange::Subscribe(kind);
        let op = self.begin(subscriber, (change, steps.collect()), &[], responder);
        for (channel, servers) in placed {
            let servers = servers.unwrap_or_default();
            if !servers.is_empty() {
                self.channels.hold(&channel, &servers);
            }
            for server in servers {
                self.send(
                    server,
                    ConnCommand::Subscribe(channel.clone()),
                    Some(&op),
                    now,
                );
            }
        }
        self.acknowledged(&op);
    }

    /// Unsubscribes a client from the named channels, or from all of that kind if none is named.
    pub(crate) fn unsubscribe<'n>(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        kind: ChannelKind,
        names: impl Iterator<Item = &'n [u8]>,
        responder: Responder<P>,
        now: Instant,
    ) {
        let mut names: Vec<Rc<[u8]>> = names.map(Rc::from).collect();
        if names.is_empty() {
            names = subscriber.names(kind);
        }
        let mut steps: Vec<Step> = names
            .into_iter()
            .map(|name| Step {
                subscription: subscriber.remove(kind, &name),
                name: Some(name),
            })
            .collect();
        if steps.is_empty() {
            steps.push(Step {
                name: None,
                subscription: None,
            });
        }
        let change = SubscriptionChange::Unsubscribe(kind);
        self.remove(subscriber, (change, steps), &[], responder, now);
    }

    /// Unsubscribes a client from everything, and then sends it `reply`.
    pub(crate) fn reset(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        reply: &[u8],
        responder: Responder<P>,
        now: Instant,
    ) {
        let removed = subscriber.remove_all().into_iter();
        let steps = removed.map(|subscription| Step {
            name: None,
            subscription: Some(subscription),
        });
        let what = (SubscriptionChange::Leave, steps.collect());
        self.remove(subscriber, what, reply, responder, now);
    }

    fn remove(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        what: (SubscriptionChange, Vec<Step>),
        reply: &[u8],
        responder: Responder<P>,
        now: Instant,
    ) {
        let op = self.begin(subscriber, what, reply, responder);
        // Other clients' subscriptions go on: only messages in flight must arrive first.
        let mut barriers = BTreeSet::new();
        for Subscription { channel, .. } in op.subscriptions() {
            let (servers, last) = self.channels.release(channel);
            for server in servers {
                if last {
                    let what = ConnCommand::Unsubscribe(channel.clone());
                    self.send(server, what, Some(&op), now);
                } else {
                    barriers.insert(server);
                }
            }
        }
        for server in barriers {
            self.send(server, ConnCommand::Heartbeat, Some(&op), now);
        }
        self.acknowledged(&op);
    }

    fn begin(
        &self,
        subscriber: &Rc<Subscriber>,
        what: (SubscriptionChange, Vec<Step>),
        reply: &[u8],
        responder: Responder<P>,
    ) -> Rc<SubscribeOp<P>> {
        let op = SubscribeOp::new(subscriber, what, reply, responder);
        self.in_order.begin(&op);
        self.show_count(subscriber);
        op
    }

    /// Removes a disconnected client.
    pub(crate) fn leave(self: &Rc<Self>, subscriber: &Rc<Subscriber>) {
        for Subscription { channel, .. } in subscriber.leave() {
            self.remove_member(&channel, subscriber);
            self.release(&channel);
        }
    }

    /// Handles a server's confirmation of one channel of an operation.
    pub(crate) fn confirmed(self: &Rc<Self>, channel: &Channel, op: &Rc<SubscribeOp<P>>) {
        if op.waits_for_others() || !self.in_order.is_next(op) {
            self.pending.enter(channel, op);
        }
        self.acknowledged(op);
    }

    /// Counts a reply that an operation waited for.
    pub(crate) fn acknowledged(self: &Rc<Self>, op: &SubscribeOp<P>) {
        op.acknowledge();
        while let Some(next) = self.in_order.take_acknowledged(&op.subscriber) {
            self.finish(&next);
        }
    }

    /// Notes that a reply that an operation waited for will not arrive.
    pub(crate) fn failed(self: &Rc<Self>, op: &SubscribeOp<P>, disconnect: &Disconnect) {
        op.note_disconnect(disconnect);
        self.acknowledged(op);
    }

    /// Notes that a channel is not subscribed to at a server, because its servers have changed or its client has
    /// unsubscribed from it meanwhile. In the first case the operation waits for the servers that it has now.
    pub(crate) fn is_obsolete(
        self: &Rc<Self>,
        channel: &Channel,
        op: &Rc<SubscribeOp<P>>,
        now: Instant,
    ) {
        if op.subscriber.has(channel.kind, &channel.name) {
            let servers = self.servers_of(channel.kind, &channel.name);
            if servers.is_empty() {
                return self.failed(op, &Disconnect::Error(UpstreamError::Ejected));
            }
            for server in servers {
                let what = ConnCommand::Subscribe(channel.clone());
                self.send(server, what, Some(op), now);
            }
        }
        self.acknowledged(op);
    }

    fn finish(self: &Rc<Self>, op: &SubscribeOp<P>) {
        let subscriber = &op.subscriber;
        let reply = op.disconnect().map_or_else(|| Ok(op.confirm()), Err);
        for subscription in op.subscriptions() {
            let channel = &subscription.channel;
            if !op.is_adding() {
                self.remove_member(channel, subscriber);
                continue;
            }
            self.pending.leave(channel, op);
            match reply {
                Ok(_) if !subscriber.is_gone() => self.add_member(channel, subscriber),
                Err(_) if subscriber.take_back(subscription) => self.release(channel),
                _ => {}
            }
        }
        self.show_count(subscriber);
        subscriber.change_ends();
        let held = op.take_held();
        let is_member = reply.is_ok() && !subscriber.is_gone();
        op.answer(reply);
        if is_member {
            self.flush_held(subscriber, held, Instant::now());
        }
    }

    /// Shows other clients the number of subscriptions.
    fn show_count(&self, subscriber: &Subscriber) {
        if !subscriber.is_gone() {
            P::Stateful::on_subscriptions(
                &self.settings,
                subscriber.client,
                subscriber.subscription_count(),
            );
        }
    }

    fn add_member(&self, channel: &Channel, subscriber: &Rc<Subscriber>) {
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

    /// Releases a channel, without waiting for the replies of its servers.
    fn release(self: &Rc<Self>, channel: &Channel) {
        let (servers, last) = self.channels.release(channel);
        if last {
            for server in servers {
                let what = ConnCommand::Unsubscribe(channel.clone());
                self.send(server, what, None, Instant::now());
            }
        }
    }

    fn send(
        self: &Rc<Self>,
        server: ServerId,
        what: ConnCommand,
        op: Option<&Rc<SubscribeOp<P>>>,
        now: Instant,
    ) {
        let conn = self.conns.borrow().get(&server).map(Rc::clone);
        let Some(conn) = conn else {
            return;
        };
        if let Some(op) = op {
            op.expect_one();
        }
        let result = conn.ask(what, op, now);
        match (result, op) {
            (SendResult::Waits, _) => self.start(&conn),
            (SendResult::Done, Some(op)) => self.acknowledged(op),
            (SendResult::Failed(disconnect), Some(op)) => self.failed(op, &disconnect),
            (SendResult::Done | SendResult::Failed(_), None) => {}
        }
    }

    /// Ensures that a task drives a connection.
    fn start(self: &Rc<Self>, conn: &Rc<SubscriberConn<P>>) {
        if conn.begin() {
            let task = (self.drive)(Rc::clone(conn), Rc::clone(self));
            self.tasks.borrow_mut().insert(conn.server.id(), task);
            self.opened.notify_one();
        }
    }

    /// Waits until a connection is opened.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// Returns true if a connection is driven.
    pub(crate) fn has_opened(&self) -> bool {
        !self.tasks.borrow().is_empty()
    }

    /// Adopts a topology, with the connections to its servers: moves every channel to its servers in that topology.
    pub(crate) fn adopt(
        self: &Rc<Self>,
        topology: &Arc<Topology>,
        conns: impl Iterator<Item = Rc<SubscriberConn<P>>>,
        now: Instant,
    ) {
        let conns = conns.map(|conn| (conn.server.id(), conn));
        self.conns.borrow_mut().extend(conns);
        *self.topology.borrow_mut() = Some(Arc::clone(topology));
        if topology.moving.is_none() {
            self.key_events.forget();
        }
        for channel in self.channels.channels() {
            let servers = self.servers_of(channel.kind, &channel.name);
            let Some(before) = self.channels.relocate(&channel, &servers) else {
                continue;
            };
            for &server in servers.iter().filter(|server| !before.contains(server)) {
                self.send(server, ConnCommand::Subscribe(channel.clone()), None, now);
            }
            for &server in before.iter().filter(|server| !servers.contains(server)) {
                self.send(server, ConnCommand::Unsubscribe(channel.clone()), None, now);
            }
        }
        let mut leaving = Vec::new();
        self.conns.borrow_mut().retain(|id, conn| {
            let stays = topology.index_of(*id).is_some();
            if !stays {
                leaving.push(Rc::clone(conn));
            }
            stays
        });
        // What waits for a server that has left may wait for ever: it may hang.
        for (what, op) in leaving.iter().flat_map(|conn| conn.take_ops()) {
            match what {
                ConnCommand::Subscribe(channel) => self.is_obsolete(&channel, &op, now),
                ConnCommand::Unsubscribe(_) | ConnCommand::Heartbeat => self.acknowledged(&op),
            }
        }
    }

    /// Returns true if clients get a message of a guarded server.
    pub(crate) fn delivers(&self, server: ServerId, message: &[u8], now: Instant) -> bool {
        let event = P::Stateful::event(message);
        let topology = self.topology.borrow();
        let (Some(event), Some(topology)) = (event, topology.as_ref()) else {
            return true;
        };
        self.key_events
            .delivers((server, message), event, topology, now)
    }

    /// The servers at which `name` is subscribed to; none if no eligible server is live.
    fn servers_of(&self, kind: ChannelKind, name: &[u8]) -> Vec<ServerId> {
        let topology = self.topology.borrow();
        let Some(topology) = topology.as_ref() else {
            return Vec::new();
        };
        let id = |index| topology.server(index).map(|server| server.id);
        match P::Stateful::placement(&self.settings, kind, name) {
            Placement::Key(key) => topology.router.homes(key).filter_map(id).collect(),
            Placement::Everywhere => ServerIndex::all()
                .zip(topology.servers())
                .filter(|(index, _)| {
                    topology.is_live(*index) && !topology.router.is_standby(*index)
                })
                .map(|(_, server)| server.id)
                .collect(),
        }
    }

    /// Closes the subscribers of a channel that a server refuses to resubscribe: its messages cannot arrive.
    pub(crate) fn refused(&self, channel: &Channel) {
        for member in self.channels.members(channel) {
            member.replies.kill();
        }
    }

    /// Ends the task of a server that has left the pool.
    pub(crate) fn forget(&self, server: ServerId) {
        if let Some(task) = self.tasks.borrow_mut().remove(&server) {
            task.abort();
        }
    }

    /// Aborts all tasks.
    pub(crate) fn stop(&self) {
        self.tasks.take().values().for_each(JoinHandle::abort);
    }
}

impl<P: Protocol> fmt::Debug for PubSub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
