//! The servers of a pool, as one worker uses them: adopts each topology that is published.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

use crate::config::PoolConfig;
use crate::journal::PoolJournal;
use crate::protocol::{Protocol, ProtocolTypes};
use crate::proxy::pool::barrier::Barrier;
use crate::proxy::pool::handle::{ReplicaHandle, ServerHandle, retire};
use crate::proxy::pool::view::PoolView;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::server::log_transition;
use crate::proxy::worker::waiters::Waiters;
use crate::topology::{PoolReplica, PoolServer, ServerIndex, Topology, TopologyStore, Voucher};

/// Interval at which ejected servers are considered for a return while no requests are sent, but subscribers wait for
/// messages.
const RETURN_INTERVAL: Duration = Duration::from_millis(100);

/// Interval at which requests that wait for the end of a hold are offered again: they may have waited for too long.
const WAITING_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the current [`PoolView`] of one worker.
pub(crate) struct Backends<P: Protocol> {
    name: Rc<str>,
    store: Arc<TopologyStore>,
    epoch: Cell<u64>,
    view: RefCell<Rc<PoolView<P>>>,
    no_view: Rc<PoolView<P>>,
    makers: Makers<P>,
    /// Notified of each topology that is adopted.
    pubsub: Rc<PubSub<P>>,
    watcher: RefCell<Option<JoinHandle<()>>>,
    /// Sessions whose next request waits for the end of a hold.
    waiting: Waiters,
    /// Notified of the first of them.
    has_waiting: Rc<Notify>,
    /// Called when a topology was adopted.
    on_change: RefCell<Option<Box<dyn Fn()>>>,
    /// This worker's voice in holds.
    voucher: Voucher,
}

/// Makes what a new topology needs.
pub(crate) struct Makers<P: Protocol> {
    /// Creates the settings of a configuration.
    pub(crate) settings: Box<MakeSettings<P>>,
    /// Creates the handle of a server that is new to this worker.
    pub(crate) handle: Box<MakeHandle<P>>,
    /// Adopts what a configuration says of the pool itself.
    pub(crate) adopt: Box<dyn Fn(&PoolConfig)>,
}

/// Creates the protocol's settings of a configuration.
type MakeSettings<P> = dyn Fn(&PoolConfig) -> <P as ProtocolTypes>::Settings;

/// Creates a handle for a server of a topology.
pub(crate) type MakeHandle<P> = dyn Fn(
    &Arc<PoolServer>,
    &PoolConfig,
    &Rc<<P as ProtocolTypes>::Settings>,
) -> Rc<ServerHandle<P>>;

impl<P: Protocol> Makers<P> {
    /// The view of `topology`: servers of `old` keep their handles, and without a new configuration the settings stay.
    fn view(&self, topology: Arc<Topology>, old: Option<&PoolView<P>>) -> PoolView<P> {
        let config = &topology.config;
        let is_known = |old: &&PoolView<P>| Arc::ptr_eq(config, &old.topology.config);
        let known = old.filter(is_known);
        let settings = known.map_or_else(
            || Rc::new((self.settings)(config)),
            |old| Rc::clone(&old.settings),
        );
        let handle = |server: &Arc<PoolServer>| {
            let kept = old.and_then(|old| old.server(old.index_of(server.id)?));
            let Some(kept) = kept else {
                return (self.handle)(server, config, &settings);
            };
            if known.is_none() {
                kept.set_config(config);
            }
            Rc::clone(kept)
        };
        let servers = topology.servers().iter().map(handle).collect();
        if known.is_none() {
            (self.adopt)(config);
        }
        let replicas = self.replicas(&topology, &settings, old);
        PoolView::new(servers, settings, topology).with_replicas(replicas)
    }

    /// The handles of the replicas that answer reads; those of `old` stay, unless connections are set up differently.
    fn replicas(
        &self,
        topology: &Topology,
        settings: &Rc<P::Settings>,
        old: Option<&PoolView<P>>,
    ) -> Box<[Vec<ReplicaHandle<P>>]> {
        let config = &topology.config;
        let has_same_settings = |old: &&PoolView<P>| Rc::ptr_eq(settings, &old.settings);
        let old = old.filter(has_same_settings);
        let handle = |server: &PoolServer, replica: &Arc<PoolReplica>| {
            let mut known = old.iter().flat_map(|old| old.all_replicas());
            let known = known.find(|known| known.replica.id == replica.id);
            let make = || {
                let shared = PoolServer::replica(server.name.clone(), replica.address);
                (self.handle)(&Arc::new(shared), config, settings)
            };
            ReplicaHandle {
                replica: Arc::clone(replica),
                handle: known.map_or_else(make, |known| Rc::clone(&known.handle)),
                pace: known.map_or_else(Rc::default, |known| Rc::clone(&known.pace)),
            }
        };
        let servers = ServerIndex::all().zip(topology.servers());
        let of_server = |(index, server): (ServerIndex, &Arc<PoolServer>)| {
            let replicas = topology.replicas(index).iter();
            replicas.map(|replica| handle(server, replica)).collect()
        };
        servers
            .filter(|_| config.reads_replicas())
            .map(of_server)
            .collect()
    }
}

impl<P: Protocol> Backends<P> {
    /// Creates a handle for each server of `store`'s topology.
    pub(crate) fn new(
        name: &Rc<str>,
        store: Arc<TopologyStore>,
        pubsub: &Rc<PubSub<P>>,
        makers: Makers<P>,
    ) -> Rc<Self> {
        // Before the topology is read: each hold after it needs this worker's word.
        let voucher = store.vouching().join();
        let now = Instant::now();
        let view = makers.view(store.topology(), None);
        adopt_subscriptions(pubsub, &view, now);
        let backends = Rc::new(Self {
            name: Rc::clone(name),
            epoch: Cell::new(view.epoch()),
            no_view: Rc::new(view.without_servers()),
            view: RefCell::new(Rc::new(view)),
            voucher,
            store,
            makers,
            pubsub: Rc::clone(pubsub),
            watcher: RefCell::default(),
            waiting: Waiters::default(),
            has_waiting: Rc::default(),
            on_change: RefCell::default(),
        });
        backends.adopt_holds(&backends.view(), now);
        let watcher = spawn_local(watch(Rc::downgrade(&backends), backends.store.changes()));
        *backends.watcher.borrow_mut() = Some(watcher);
        backends
    }

    /// The journal for events of the pool.
    pub(crate) fn journal(&self) -> &PoolJournal {
        self.store.journal()
    }

    /// The current configuration, which this worker may not have adopted yet.
    pub(crate) fn published_config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.store.topology().config)
    }

    /// The current view.
    pub(crate) fn view(&self) -> Rc<PoolView<P>> {
        Rc::clone(&self.view.borrow())
    }

    /// A view without servers.
    pub(crate) fn no_view(&self) -> &Rc<PoolView<P>> {
        &self.no_view
    }

    /// Records a batch of requests, and adopts what was published.
    #[inline]
    pub(crate) fn refresh(&self, now: Instant) {
        let returned = self.store.on_request(now.into_std());
        for transition in returned {
            log_transition(&self.name, &self.view.borrow().topology, transition);
        }
        if self.store.epoch() != self.epoch.get() {
            self.adopt(now);
        }
    }

    #[cold]
    fn adopt(&self, now: Instant) {
        let view = {
            let old = self.view.borrow();
            Rc::new(self.makers.view(self.store.topology(), Some(&old)))
        };
        self.epoch.set(view.epoch());
        adopt_subscriptions(&self.pubsub, &view, now);
        let old = self.view.replace(Rc::clone(&view));
        for (_, handle) in old.servers() {
            if view.index_of(handle.server.id()).is_none() {
                let mut others = view.servers().map(|(_, other)| other);
                if let Some(next) = others.find(|other| other.server.name() == handle.server.name())
                    && handle.server.failover.is_some()
                {
                    handle.hand_over(next);
                }
                if handle.server.guard.is_some() {
                    handle.on_news();
                }
                spawn_local(retire(Rc::clone(handle), Rc::clone(&self.pubsub)));
            }
        }
        for ReplicaHandle { handle, .. } in old.all_replicas() {
            let mut stay = view.all_replicas().map(|known| &known.handle);
            if !stay.any(|known| Rc::ptr_eq(known, handle)) {
                spawn_local(retire(Rc::clone(handle), Rc::clone(&self.pubsub)));
            }
        }
        self.adopt_holds(&view, now);
        self.wake_waiting();
        if let Some(on_change) = &*self.on_change.borrow() {
            on_change();
        }
    }

    /// Vouches for the connections to servers that hold keys now.
    fn adopt_holds(&self, view: &PoolView<P>, now: Instant) {
        let topology = &view.topology;
        for (index, handle) in view.servers() {
            let Some(guard) = &handle.server.guard else {
                continue;
            };
            if view.is_moving && !topology.router.is_standby(index) {
                // A request that waits for a connection when a hold begins must be refused.
                handle.connect();
            }
            let adopted = guard.adopt(&handle.server.shared, topology, now);
            if adopted.is_news {
                handle.on_news();
            }
            if let Some(hold) = adopted.hold {
                let voice = (&self.store, self.voucher);
                let conns = handle.all_conns();
                let of = (handle.server.id(), hold);
                let barrier = Barrier::begin(voice, of, &conns, &topology.router, now);
                if topology.router.takes_place(index) {
                    // Publishers come here when all proxies have vouched: their subscribers must hear it then.
                    handle.subscriber_conn.keep_until_settled(barrier);
                }
            }
        }
    }

    /// Wakes `waker` when another topology was adopted, or its wait has become too long.
    pub(crate) fn wait_for_change(&self, waker: &Waker) {
        if self.waiting.add(waker) == 1 {
            self.has_waiting.notify_one();
        }
    }

    /// Calls `hook` whenever a topology was adopted.
    pub(crate) fn on_change(&self, hook: impl Fn() + 'static) {
        *self.on_change.borrow_mut() = Some(Box::new(hook));
    }

    fn wake_waiting(&self) {
        self.waiting.wake();
    }
}

fn adopt_subscriptions<P: Protocol>(pubsub: &Rc<PubSub<P>>, view: &PoolView<P>, now: Instant) {
    let conns = view
        .servers()
        .map(|(_, handle)| Rc::clone(&handle.subscriber_conn));
    pubsub.adopt(&view.topology, conns, now);
}

/// Adopts what other workers publish, even while no client of this one sends requests.
async fn watch<P: Protocol>(backends: Weak<Backends<P>>, mut epochs: watch::Receiver<()>) {
    let parts = backends.upgrade().map(|backends| {
        (
            Rc::clone(&backends.pubsub),
            Rc::clone(&backends.has_waiting),
        )
    });
    let Some((pubsub, has_begun)) = parts else {
        return;
    };
    let (mut awaits_return, mut has_waiting, mut is_overdue) = (false, false, false);
    loop {
        tokio::select! {
            changed = epochs.changed() => if changed.is_err() {
                return;
            },
            () = pubsub.opened() => {}
            () = sleep(RETURN_INTERVAL), if awaits_return => {}
            () = sleep(WAITING_INTERVAL), if has_waiting => is_overdue = true,
            () = has_begun.notified() => {}
        }
        let Some(backends) = backends.upgrade() else {
            return;
        };
        backends.refresh(Instant::now());
        if mem::take(&mut is_overdue) {
            backends.wake_waiting();
        }
        has_waiting = !backends.waiting.is_empty();
        let is_ejected = |live: &bool| !live;
        awaits_return = pubsub.has_opened() && backends.view().topology.live.iter().any(is_ejected);
    }
}

impl<P: Protocol> Drop for Backends<P> {
    fn drop(&mut self) {
        self.store.vouching().leave(self.voucher);
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
        self.pubsub.stop();
    }
}

impl<P: Protocol> fmt::Debug for Backends<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backends")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
