//! The listeners that are open, and where those of a new configuration come from.
//!
//! Pure but for binding: `pools` opens, hands on and closes them.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::app::error::AppError;
use crate::config::{Config, ListenConfig, PoolConfig, Transport};
use crate::net::{Binding, BoundAddr, ListenAddr, Listener};

/// A listener that a file wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'c> {
    pub(super) pool: &'c PoolConfig,
    pub(super) transport: Transport,
    pub(super) listen: &'c ListenConfig,
}

/// A pool and what its clients speak: the key of a listener.
pub(super) type ListenerKey = (String, Transport);

impl<'c> Wanted<'c> {
    /// Those of a pool.
    pub(super) fn of(pool: &'c PoolConfig) -> impl Iterator<Item = Self> {
        pool.listeners().map(move |(transport, listen)| Self {
            pool,
            transport,
            listen,
        })
    }

    /// Those of a file.
    fn all(config: &'c Config) -> impl Iterator<Item = Self> {
        config.pools.iter().flat_map(Self::of)
    }

    pub(super) fn key(&self) -> ListenerKey {
        (self.pool.name.clone(), self.transport)
    }
}

/// What the file says of a listener. One of which it says the same is not bound again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) address: ListenAddr,
    pub(super) reuseport: bool,
}

/// A listener that is open.
#[derive(Debug, Clone)]
pub(super) struct OpenListener {
    pub(super) place: Place,
    /// None if the system does not tell.
    pub(super) bound: Option<BoundAddr>,
    /// Its pool.
    pub(super) pool: String,
    /// The pool's `listen`.
    pub(super) text: String,
}

/// The listeners of all pools.
#[derive(Debug, Clone)]
pub(super) struct OpenListeners(pub(super) Vec<OpenListener>);

/// The listener of a pool that is to get another one.
#[derive(Debug)]
pub(super) enum Source<L> {
    /// A new one.
    New(L),
    /// The one of this place, which is stopped there.
    Handed(Place),
}

/// Sources by their listeners.
type Sources<L> = HashMap<ListenerKey, Source<L>>;

impl Place {
    pub(super) fn of(wanted: Wanted<'_>) -> Self {
        Self {
            address: wanted.listen.address.clone(),
            reuseport: wanted.pool.reuseport,
        }
    }

    /// Returns true if a listener that is open here can become this one, if that has the same address.
    pub(super) fn may_become(&self, wanted: Wanted<'_>) -> bool {
        self.reuseport == wanted.pool.reuseport
            && match (&self.address, &wanted.listen.address) {
                // What the umask would leave of the mode is not known.
                (ListenAddr::Unix { mode, .. }, ListenAddr::Unix { mode: new, .. }) => {
                    mode == new || new.is_some()
                }
                _ => true,
            }
    }
}

impl OpenListener {
    /// Returns true if this listener would have its unix socket, under any name, but without its mode.
    fn loses_its_mode(&self, wanted: Wanted<'_>) -> bool {
        let ListenAddr::Unix { path, mode: None } = &wanted.listen.address else {
            return false;
        };
        self.bound.is_some() && self.bound == BoundAddr::unix(path)
    }

    /// Returns true if it is bound to `address`, and can become this listener.
    fn fits(&self, wanted: Wanted<'_>, address: &BoundAddr) -> bool {
        self.bound.as_ref() == Some(address) && self.place.may_become(wanted)
    }
}

impl OpenListeners {
    /// Binds the listeners that no pool has yet. One that is open, by another name of its address, is not bound again.
    /// `Err` if one cannot be bound; then none is.
    pub(super) fn bind(&self, config: &Config) -> Result<Sources<Listener>, AppError> {
        let bind = |wanted: Wanted<'_>, fits: &dyn Fn(&BoundAddr) -> bool| {
            let (address, pool) = (&wanted.listen.address, wanted.pool);
            let binding = Listener::bind_unless(address, pool.backlog, pool.reuseport, fits)?;
            if let Binding::New(_) = binding {
                log_listener(wanted);
            }
            Ok(binding)
        };
        self.assign(config, bind, Err)
    }

    /// The reasons why [`Self::bind`] would fail, one for each listener. Nothing listens for that, and no file changes.
    pub(super) fn faults(&self, config: &Config) -> Vec<AppError> {
        let check = |wanted: Wanted<'_>, fits: &dyn Fn(&BoundAddr) -> bool| {
            Listener::check_unless(&wanted.listen.address, wanted.pool.reuseport, fits)
        };
        let mut faults = Vec::new();
        let assigned = self.assign(config, check, |fault| {
            faults.push(fault);
            Ok(())
        });
        faults.extend(assigned.err());
        faults
    }

    fn assign<L>(
        &self,
        config: &Config,
        bind: impl Fn(Wanted<'_>, &dyn Fn(&BoundAddr) -> bool) -> io::Result<Binding<L>>,
        mut on_fault: impl FnMut(AppError) -> Result<(), AppError>,
    ) -> Result<Sources<L>, AppError> {
        let wanted: HashSet<_> = Wanted::all(config).map(Place::of).collect();
        let (staying, mut free): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|open| wanted.contains(&open.place));
        let staying: HashSet<_> = staying.iter().map(|open| &open.place).collect();
        let mut sources = HashMap::new();
        for wanted in Wanted::all(config) {
            if staying.contains(&Place::of(wanted)) {
                continue;
            }
            let fits = |address: &BoundAddr| free.iter().any(|free| free.fits(wanted, address));
            let source = match bind(wanted, &fits) {
                Ok(Binding::New(listener)) => Source::New(listener),
                Ok(Binding::Open(address)) => {
                    let found = free.iter().position(|free| free.fits(wanted, &address));
                    let Some(found) = found else { continue };
                    Source::Handed(free.swap_remove(found).place.clone())
                }
                Err(error) => {
                    on_fault(self.explain(wanted, error))?;
                    continue;
                }
            };
            sources.insert(wanted.key(), source);
        }
        Ok(sources)
    }

    /// Names the pool that is in the way, if an address is in use by the proxy itself.
    fn explain(&self, wanted: Wanted<'_>, error: io::Error) -> AppError {
        let (pool, listen) = (wanted.pool, wanted.listen);
        let is_in_use = error.kind() == io::ErrorKind::AddrInUse;
        let mut open = self.0.iter();
        if let Some(own) = open.find(|open| is_in_use && open.loses_its_mode(wanted)) {
            return AppError::SocketMode {
                pool: pool.name.clone(),
                address: listen.text.clone(),
                own: own.text.clone(),
            };
        }
        let mut open = self.0.iter();
        let own = open.find(|open| may_overlap(&open.place.address, &listen.address));
        match own.filter(|_| is_in_use) {
            Some(own) => AppError::ListensAlready {
                pool: pool.name.clone(),
                address: listen.text.clone(),
                owner: own.pool.clone(),
                own: own.text.clone(),
            },
            None => cannot_listen(wanted, error),
        }
    }
}

/// Returns true if a listener on one of these may keep another from listening on the other.
fn may_overlap(one: &ListenAddr, other: &ListenAddr) -> bool {
    one.may_equal(other) || one.port() == other.port() && (one.is_wildcard() || other.is_wildcard())
}

/// Has a listener do what this configuration says, which may not be the one that it was bound for.
pub(super) fn adapt(mut listener: Listener, wanted: Wanted<'_>) -> Listener {
    let pool = &wanted.pool.name;
    if let Err(error) = listener.set_backlog(wanted.pool.backlog) {
        tracing::warn!(pool, %error, "backlog not changed");
    }
    if let Err(error) = listener.readdress(&wanted.listen.address) {
        tracing::warn!(pool, %error, "mode of the socket not changed");
    }
    listener
}

pub(super) fn cannot_listen(wanted: Wanted<'_>, error: io::Error) -> AppError {
    AppError::Listen {
        pool: wanted.pool.name.clone(),
        address: wanted.listen.text.clone(),
        error,
    }
}

pub(super) fn log_listener(wanted: Wanted<'_>) {
    let (pool, address) = (&wanted.pool.name, &wanted.listen.text);
    let servers = wanted.pool.servers.len();
    match wanted.transport {
        Transport::Plain => tracing::info!(pool, address, servers, "listening"),
        Transport::Tls => tracing::info!(pool, address, servers, "listening for TLS"),
    }
}
