//! Publish and subscribe: who among a worker's clients of one pool hears what, and over which connections it comes.
//!
//! ```text
//!  SUBSCRIBE --> Errand --asks--> Feed --one connection--> server      each name at its home; patterns at all servers
//!                   |              |
//!      reply <--all confirmed------+--message--> Audience --each member--> Pipeline --> client
//! ```
//!
//! Invariants: a feed wants a name as long as somebody holds it here and its server is a home of it; a client becomes a
//! member when every home has confirmed, right before its reply is written (what comes for it since the first has waits in
//! the [`lobby`]), and is none any more when the reply to its unsubscription is written; what was published before either is heard before it, for each change asks every feed
//! concerned something, and the answer comes behind what was published. A client that leaves leaves nothing behind.
//! Every borrow ends before another room is called.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, timeout};

use crate::config::BufferLimit;
use crate::protocol::{Change, Fault, Home, Protocol, Topic};
use crate::proxy::pool::{Target, log_transition};
use crate::proxy::pubsub::channels::Audiences;
use crate::proxy::pubsub::conn::{Asked, Feed, What};
use crate::proxy::pubsub::driver;
use crate::proxy::pubsub::pending::Lobby;
use crate::proxy::pubsub::subscribe_op::Errand;
use crate::proxy::pubsub::subscriber::{Subject, Subscriber};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::upstream::disconnect::Loss;
use crate::proxy::worker::context::Commons;
use crate::stats::{PoolCells, PoolMetric};
use crate::topology::ServerId;
use crate::topology::{PoolHealth, Topology};

/// How often it is looked whether an ejected server's time has come, while nothing but subscribers use a pool.
const WATCH_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// What the clients of one worker and pool are subscribed to.
pub(crate) struct Hub<P: Protocol> {
    pool: Rc<str>,
    settings: Rc<P::Settings>,
    pub(crate) commons: Rc<Commons>,
    pub(crate) cells: Rc<PoolCells>,
    pub(crate) limit: BufferLimit,
    health: Arc<PoolHealth>,
    topology: RefCell<Arc<Topology>>,
    pub(crate) audiences: Audiences,
    pub(crate) lobby: Lobby<P>,
    /// By server.
    feeds: Vec<Rc<Feed<P>>>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
    /// Whether servers can be ejected, and somebody looks for it.
    watched: Cell<bool>,
}

impl<P: Protocol> Hub<P> {
    pub(crate) fn new(
        pool: &Rc<str>,
        settings: &Rc<P::Settings>,
        commons: &Rc<Commons>,
        cells: &Rc<PoolCells>,
        limit: BufferLimit,
        health: &Arc<PoolHealth>,
        targets: &[Rc<Target<P>>],
    ) -> Rc<Self> {
        let feeds = targets
            .iter()
            .map(|target| Rc::new(Feed::new(Rc::clone(target))));
        Rc::new(Self {
            pool: Rc::clone(pool),
            settings: Rc::clone(settings),
            commons: Rc::clone(commons),
            cells: Rc::clone(cells),
            limit,
            health: Arc::clone(health),
            topology: RefCell::new(health.topology()),
            audiences: Audiences::default(),
            lobby: Lobby::default(),
            feeds: feeds.collect(),
            tasks: RefCell::default(),
            watched: Cell::new(false),
        })
    }

    /// Subscribes a client to what it names, or to nothing at all where that fails for one of them.
    pub(crate) fn subscribe<'n>(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        topic: Topic,
        names: impl Iterator<Item = &'n [u8]>,
        ticket: Ticket<P>,
        now: Instant,
    ) {
        let (mut tally, lane) = (subscriber.tally(), subscriber.lane());
        let mut reply = BytesMut::new();
        let mut joins = Vec::new();
        let mut fresh = HashSet::new();
        for name in names {
            if !subscriber.has(topic, name) && fresh.insert(name) {
                let homes = self.homes(topic, name);
                if homes.is_empty() {
                    return ticket.fail(Fault::Ejected);
                }
                tally.add(topic);
                joins.push((self.audiences.subject(topic, name), homes));
            }
            let change = Change::Subscribe(topic);
            P::write_confirmation(lane, change, Some(name), tally, &mut reply);
        }
        let subjects = joins.iter().map(|(subject, _)| subject.clone()).collect();
        let errand = Errand::joining(subscriber, subjects, reply, ticket);
        for (subject, homes) in joins {
            self.audiences.hold(&subject, &homes);
            for server in homes {
                self.ask(server, What::Subscribe(subject.clone()), Some(&errand), now);
            }
        }
        self.arrived(&errand);
    }

    /// Unsubscribes a client from what it names, or from all of that topic if it names nothing.
    pub(crate) fn unsubscribe<'n>(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        topic: Topic,
        names: impl Iterator<Item = &'n [u8]>,
        ticket: Ticket<P>,
        now: Instant,
    ) {
        let mut names: Vec<Rc<[u8]>> = names.map(Rc::from).collect();
        let all = names.is_empty();
        if all {
            names = subscriber.names(topic);
        }
        let lane = subscriber.lane();
        let change = Change::Unsubscribe(topic);
        let mut reply = BytesMut::new();
        if names.is_empty() {
            P::write_confirmation(lane, change, None, subscriber.tally(), &mut reply);
        }
        let mut leaves = Vec::new();
        for name in names {
            leaves.extend(subscriber.remove(topic, &name));
            P::write_confirmation(lane, change, Some(&name), subscriber.tally(), &mut reply);
        }
        self.part(subscriber, leaves, reply, ticket, now);
    }

    /// Unsubscribes a client from everything, and then gives it `reply`.
    pub(crate) fn reset(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        reply: &[u8],
        ticket: Ticket<P>,
        now: Instant,
    ) {
        let leaves = subscriber.remove_all();
        self.part(subscriber, leaves, reply.into(), ticket, now);
    }

    fn part(
        self: &Rc<Self>,
        subscriber: &Rc<Subscriber>,
        leaves: Vec<Subject>,
        reply: BytesMut,
        ticket: Ticket<P>,
        now: Instant,
    ) {
        let errand = Errand::leaving(subscriber, leaves.clone(), reply, ticket);
        // What others still hear goes on: only what is under way has to arrive first.
        let mut barriers = BTreeSet::new();
        for subject in leaves {
            let (homes, last) = self.audiences.release(&subject);
            for server in homes {
                if last {
                    let what = What::Unsubscribe(subject.clone());
                    self.ask(server, what, Some(&errand), now);
                } else {
                    barriers.insert(server.index());
                }
            }
        }
        let servers = ServerId::all().take(self.feeds.len());
        for server in servers.filter(|server| barriers.contains(&server.index())) {
            self.ask(server, What::Heartbeat, Some(&errand), now);
        }
        self.arrived(&errand);
    }

    /// Forgets a client that is gone.
    pub(crate) fn leave(self: &Rc<Self>, subscriber: &Rc<Subscriber>) {
        for subject in subscriber.leave() {
            self.remove_member(&subject, subscriber);
            self.let_go(&subject);
        }
    }

    /// A server has subscribed to something on an errand.
    pub(crate) fn confirmed(self: &Rc<Self>, subject: &Subject, errand: &Rc<Errand<P>>) {
        if errand.waits_for_others() {
            self.lobby.enter(subject, errand);
        }
        self.arrived(errand);
    }

    /// One answer that an errand waited for has come.
    pub(crate) fn arrived(self: &Rc<Self>, errand: &Errand<P>) {
        if errand.arrive() {
            self.finish(errand);
        }
    }

    /// One answer that an errand waited for will not come.
    pub(crate) fn failed(self: &Rc<Self>, errand: &Errand<P>, loss: &Loss) {
        errand.note_loss(loss);
        self.arrived(errand);
    }

    fn finish(self: &Rc<Self>, errand: &Errand<P>) {
        let subscriber = &errand.subscriber;
        let loss = errand.loss();
        let joins = loss.is_none() && !subscriber.is_gone();
        for subject in &errand.joins {
            self.lobby.leave(subject, errand);
            if joins {
                self.add_member(subject, subscriber);
            } else {
                self.let_go(subject);
            }
        }
        for subject in &errand.leaves {
            self.remove_member(subject, subscriber);
        }
        if !subscriber.is_gone() {
            P::note_tally(&self.settings, subscriber.client, subscriber.tally());
        }
        subscriber.set_busy(false);
        let held = errand.take_held();
        errand.answer(loss);
        if joins {
            self.hand_over(subscriber, held, Instant::now());
        }
    }

    fn add_member(&self, subject: &Subject, subscriber: &Rc<Subscriber>) {
        subscriber.add(subject);
        self.cells.bump(PoolMetric::Subscriptions);
        if self.audiences.add(subject, subscriber) > 1 {
            P::note_crowd(&self.settings, subject.topic, &subject.name, true);
        }
    }

    fn remove_member(&self, subject: &Subject, subscriber: &Subscriber) {
        if let Some(left) = self.audiences.remove(subject, subscriber) {
            self.cells.drop_one(PoolMetric::Subscriptions);
            if left > 0 {
                P::note_crowd(&self.settings, subject.topic, &subject.name, false);
            }
        }
    }

    /// Holds a name no longer, and does not wait for what the servers say to it.
    fn let_go(self: &Rc<Self>, subject: &Subject) {
        let (homes, last) = self.audiences.release(subject);
        if last {
            for server in homes {
                let what = What::Unsubscribe(subject.clone());
                self.ask(server, what, None, Instant::now());
            }
        }
    }

    fn ask(
        self: &Rc<Self>,
        server: ServerId,
        what: What,
        errand: Option<&Rc<Errand<P>>>,
        now: Instant,
    ) {
        let Some(feed) = self.feeds.get(server.index()) else {
            return;
        };
        if let Some(errand) = errand {
            errand.expect_one();
        }
        let asked = feed.ask(what, errand, now);
        match (asked, errand) {
            (Asked::Waits, _) => self.start(feed),
            (Asked::Done, Some(errand)) => self.arrived(errand),
            (Asked::Failed(loss), Some(errand)) => self.failed(errand, &loss),
            (Asked::Done | Asked::Failed(_), None) => {}
        }
    }

    /// Sees to it that somebody drives a feed, and that somebody watches the topology.
    fn start(self: &Rc<Self>, feed: &Rc<Feed<P>>) {
        if feed.begin() {
            let task = spawn_local(driver::drive(Rc::clone(feed), Rc::clone(self)));
            self.tasks.borrow_mut().push(task);
        }
        if feed.target.ejects && !self.watched.replace(true) {
            let hub = Rc::clone(self);
            let mut changes = hub.health.changes();
            let task = spawn_local(async move {
                loop {
                    // Either will do: it is looked in any case.
                    let _ = timeout(WATCH_EVERY, changes.changed()).await;
                    hub.refresh(Instant::now());
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
        for subject in self.audiences.subjects() {
            let homes = self.homes(subject.topic, &subject.name);
            let Some(before) = self.audiences.rehome(&subject, &homes) else {
                continue;
            };
            for &server in homes.iter().filter(|home| !before.contains(home)) {
                self.ask(server, What::Subscribe(subject.clone()), None, now);
            }
            for &server in before.iter().filter(|home| !homes.contains(home)) {
                self.ask(server, What::Unsubscribe(subject.clone()), None, now);
            }
        }
    }

    /// Where `name` has to be subscribed to; nowhere if no server that could have it is live.
    fn homes(&self, topic: Topic, name: &[u8]) -> Vec<ServerId> {
        let topology = self.topology.borrow();
        match P::home(&self.settings, topic, name) {
            Home::Key(key) => topology.router.route(key).into_iter().collect(),
            Home::Everywhere => ServerId::all()
                .zip(&topology.live)
                .filter_map(|(server, &live)| live.then_some(server))
                .collect(),
        }
    }

    /// Ends the clients that would wait for messages that cannot come, since a server refuses to subscribe again.
    pub(crate) fn refused(&self, subject: &Subject) {
        for member in self.audiences.members(subject) {
            member.pipeline.kill();
        }
    }

    /// Ends all tasks.
    pub(crate) fn stop(&self) {
        self.tasks.take().iter().for_each(JoinHandle::abort);
    }
}

impl<P: Protocol> fmt::Debug for Hub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
