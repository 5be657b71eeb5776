//! The servers of a pool, as one worker uses them: adopts each topology that is published.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

use crate::protocol::Protocol;
use crate::proxy::pool::handle::ServerHandle;
use crate::proxy::pool::view::PoolView;
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::upstream::server::log_transition;
use crate::topology::{PoolHealth, PoolServer, ServerIndex, Topology};

/// Interval at which ejected servers are considered for a return while no requests are sent, but subscribers wait for
/// messages.
const RETURN_INTERVAL: Duration = Duration::from_millis(100);

/// Keeps the current [`PoolView`] of one worker.
pub(crate) struct Backends<P: Protocol> {
    name: Rc<str>,
    health: Arc<PoolHealth>,
    epoch: Cell<u64>,
    view: RefCell<Rc<PoolView<P>>>,
    no_view: Rc<PoolView<P>>,
    make: Box<MakeHandle<P>>,
    /// Notified of each topology that is adopted.
    pubsub: Rc<PubSub<P>>,
    watcher: RefCell<Option<JoinHandle<()>>>,
}

/// Creates the handle of a server that is new to this worker.
pub(crate) type MakeHandle<P> = dyn Fn(ServerIndex, &Arc<PoolServer>) -> Rc<ServerHandle<P>>;

impl<P: Protocol> Backends<P> {
    /// Creates a handle with `make` for each server of `health`'s topology.
    pub(crate) fn new(
        name: &Rc<str>,
        health: Arc<PoolHealth>,
        pubsub: &Rc<PubSub<P>>,
        make: Box<MakeHandle<P>>,
    ) -> Rc<Self> {
        let topology = health.topology();
        let view = view_of(topology, None, &make);
        pubsub.adopt(
            &view.topology,
            view.servers()
                .map(|(_, handle)| Rc::clone(&handle.subscriber_conn)),
            Instant::now(),
        );
        let backends = Rc::new(Self {
            name: Rc::clone(name),
            epoch: Cell::new(view.epoch()),
            view: RefCell::new(Rc::new(view)),
            no_view: Rc::new(PoolView::empty()),
            health,
            make,
            pubsub: Rc::clone(pubsub),
            watcher: RefCell::default(),
        });
        let watcher = spawn_local(watch(Rc::downgrade(&backends), backends.health.changes()));
        *backends.watcher.borrow_mut() = Some(watcher);
        backends
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
        let returned = self.health.on_request(now.into_std());
        for transition in returned {
            log_transition(&self.name, &self.view.borrow().topology, transition);
        }
        if self.health.epoch() != self.epoch.get() {
            self.adopt(now);
        }
    }

    #[cold]
    fn adopt(&self, now: Instant) {
        let view = {
            let old = self.view.borrow();
            Rc::new(view_of(self.health.topology(), Some(&old), &self.make))
        };
        self.epoch.set(view.epoch());
        let conns = view
            .servers()
            .map(|(_, handle)| Rc::clone(&handle.subscriber_conn));
        self.pubsub.adopt(&view.topology, conns, now);
        let _old = self.view.replace(view);
    }
}

/// Returns the view of `topology`: servers of `old` keep their handles.
fn view_of<P: Protocol>(
    topology: Arc<Topology>,
    old: Option<&PoolView<P>>,
    make: &MakeHandle<P>,
) -> PoolView<P> {
    let handle = |(index, server): (ServerIndex, &Arc<PoolServer>)| {
        let kept = old.and_then(|old| old.server(old.index_of(server.id)?));
        kept.map_or_else(|| make(index, server), Rc::clone)
    };
    let servers = ServerIndex::all().zip(topology.servers()).map(handle);
    PoolView::new(servers.collect(), topology)
}

/// Adopts what other workers publish, even while no client of this one sends requests.
async fn watch<P: Protocol>(backends: Weak<Backends<P>>, mut epochs: watch::Receiver<()>) {
    let Some(pubsub) = backends
        .upgrade()
        .map(|backends| Rc::clone(&backends.pubsub))
    else {
        return;
    };
    let mut awaits_return = false;
    loop {
        tokio::select! {
            changed = epochs.changed() => if changed.is_err() {
                return;
            },
            () = pubsub.opened() => {}
            () = sleep(RETURN_INTERVAL), if awaits_return => {}
        }
        let Some(backends) = backends.upgrade() else {
            return;
        };
        backends.refresh(Instant::now());
        let is_ejected = |live: &bool| !live;
        awaits_return = pubsub.has_opened() && backends.view().topology.live.iter().any(is_ejected);
    }
}

impl<P: Protocol> Drop for Backends<P> {
    fn drop(&mut self) {
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
