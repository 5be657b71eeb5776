//! The listening sockets at the start: those that the service manager has opened, those of a process that this one takes
//! over, and new ones.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use crate::admin;
use crate::admin::api;
use crate::admin::api::AdminSocket;
use crate::app::error::AppError;
use crate::app::listeners::{Place, Wanted, adapt, cannot_listen, log_listener};
use crate::cli::Options;
use crate::config::{Config, Transport};
use crate::handover::Role;
use crate::net::{Binding, BoundAddr, ListenAddr, Listener};
use crate::systemd;

/// Sockets that are open already.
#[derive(Debug, Default)]
pub(super) struct OpenSockets {
    sockets: Vec<OpenSocket>,
    /// They are from the service manager: each must have a use.
    are_wanted: bool,
}

#[derive(Debug)]
struct OpenSocket {
    /// Its place among all.
    place: usize,
    socket: OwnedFd,
    bound: Option<BoundAddr>,
    origin: Origin,
}

/// What is known of the use of a socket.
#[derive(Debug)]
enum Origin {
    /// It has this name at the service manager.
    Passed(String),
    /// It was this listener of a pool.
    Pool(Option<Place>),
    Stats,
    Admin,
}

/// All listening sockets of the process.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) stats: TcpListener,
    pub(super) admin: Option<AdminSocket>,
    /// In the order of the pools.
    pub(super) pools: Vec<BTreeMap<Transport, Listener>>,
    /// The places of those that were open already.
    pub(super) taken: Vec<usize>,
}

impl OpenSockets {
    /// Those that the service manager passes.
    pub(super) fn passed() -> Result<Self, AppError> {
        let passed = systemd::passed_sockets()?.into_iter();
        let open = |(place, passed): (usize, systemd::PassedSocket)| OpenSocket {
            place,
            bound: BoundAddr::of(&passed.socket),
            socket: passed.socket,
            origin: Origin::Passed(passed.name),
        };
        Ok(Self {
            sockets: passed.enumerate().map(open).collect(),
            are_wanted: true,
        })
    }

    /// Those of a process that is taken over. What has no use here is closed.
    pub(super) fn taken_over(sockets: impl IntoIterator<Item = (Role, OwnedFd)>) -> Self {
        let open = |(place, (role, socket))| OpenSocket {
            place,
            bound: BoundAddr::of(&socket),
            socket,
            origin: match role {
                Role::Pool {
                    listen, reuseport, ..
                } => {
                    let address: Result<ListenAddr, _> = listen.parse();
                    Origin::Pool(address.ok().map(|address| Place { address, reuseport }))
                }
                Role::Stats => Origin::Stats,
                Role::Admin => Origin::Admin,
            },
        };
        Self {
            sockets: sockets.into_iter().enumerate().map(open).collect(),
            are_wanted: false,
        }
    }

    /// All sockets of the process, bound where none of these fits. The pools' ports are last: a client that can connect to one
    /// finds everything else running. Must be called within a runtime.
    pub(super) fn open(mut self, config: &Config, options: &Options) -> Result<Sockets, AppError> {
        let given = self.sockets.len();
        let stats = self.stats(&options.stats_addr, options.stats_port)?;
        let admin = self.admin(options)?;
        let mut known = HashMap::new();
        for wanted in config.pools.iter().flat_map(Wanted::of) {
            if let Some(open) = self.take(|socket| socket.is_certainly_of(wanted)) {
                known.insert(wanted.key(), open.adopted(wanted)?);
            }
        }
        let pools: Result<_, AppError> = config
            .pools
            .iter()
            .map(|pool| {
                let listeners = Wanted::of(pool).map(|wanted| {
                    let listener = match known.remove(&wanted.key()) {
                        Some(known) => known,
                        None => self.bind(wanted)?,
                    };
                    log_listener(wanted);
                    Ok((wanted.transport, listener))
                });
                listeners.collect()
            })
            .collect();
        match self.sockets.first() {
            Some(stray) if self.are_wanted => Err(stray.is_stray()),
            _ => Ok(Sockets {
                stats,
                admin,
                pools: pools?,
                taken: (0..given)
                    .filter(|place| self.sockets.iter().all(|open| open.place != *place))
                    .collect(),
            }),
        }
    }

    fn take(&mut self, fits: impl FnMut(&OpenSocket) -> bool) -> Option<OpenSocket> {
        let found = self.sockets.iter().position(fits)?;
        Some(self.sockets.swap_remove(found))
    }

    /// A listener that no socket is known to be, by its address.
    fn bind(&mut self, wanted: Wanted<'_>) -> Result<Listener, AppError> {
        let fits = |bound: &BoundAddr| self.sockets.iter().any(|open| open.fits(wanted, bound));
        let (address, pool) = (&wanted.listen.address, wanted.pool);
        let binding = Listener::bind_unless(address, pool.backlog, pool.reuseport, fits);
        match binding.map_err(|error| cannot_listen(wanted, error))? {
            Binding::New(listener) => Ok(listener),
            Binding::Open(bound) => match self.take(|open| open.fits(wanted, &bound)) {
                Some(open) => open.adopted(wanted),
                None => Err(cannot_listen(wanted, io::ErrorKind::AddrInUse.into())),
            },
        }
    }

    fn stats(&mut self, host: &str, port: u16) -> Result<TcpListener, AppError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let open = self.take(|open| open.is_named("stats"));
        let open = open.or_else(|| {
            self.take(|open| {
                let may_be = matches!(open.origin, Origin::Stats | Origin::Passed(_));
                may_be && open.bound.is_some_and(|bound| bound.is_of(bare, port))
            })
        });
        let Some(open) = open else {
            return admin::bind(host, port).map_err(AppError::Stats);
        };
        if !matches!(open.bound, Some(BoundAddr::Tcp(_))) {
            let text = "the socket 'stats' of the service manager is not one of TCP";
            return Err(AppError::Stats(io::Error::new(
                io::ErrorKind::InvalidInput,
                text,
            )));
        }
        let listener = TcpListener::from(open.socket);
        listener.set_nonblocking(true).map_err(AppError::Stats)?;
        Ok(listener)
    }

    fn admin(&mut self, options: &Options) -> Result<Option<AdminSocket>, AppError> {
        let Some(path) = &options.admin else {
            return Ok(None);
        };
        let bound = BoundAddr::unix(path);
        let open = self.take(|open| open.is_named("admin"));
        let open = open.or_else(|| {
            self.take(|open| {
                let may_be = matches!(open.origin, Origin::Admin | Origin::Passed(_));
                may_be && bound.is_some() && open.bound == bound
            })
        });
        let socket = match open {
            Some(open) => AdminSocket::adopt(open.socket, path),
            None => api::bind(path),
        };
        let path = path.display().to_string();
        match socket {
            Ok(socket) => {
                tracing::info!(path, "admin socket");
                Ok(Some(socket))
            }
            Err(error) => Err(AppError::Admin { path, error }),
        }
    }
}

impl OpenSocket {
    /// The listener of a pool.
    fn adopted(self, wanted: Wanted<'_>) -> Result<Listener, AppError> {
        let listener = Listener::adopt(self.socket);
        let listener = listener.map_err(|error| cannot_listen(wanted, error))?;
        Ok(adapt(listener, wanted))
    }

    fn is_named(&self, wanted: &str) -> bool {
        matches!(&self.origin, Origin::Passed(name) if name == wanted)
    }

    /// Returns true if it is this listener, whatever its address. One for TLS has no name of its own at a service manager
    /// unless its pool has no other.
    fn is_certainly_of(&self, wanted: Wanted<'_>) -> bool {
        let has_name = wanted.transport == Transport::Plain || wanted.pool.listen.is_none();
        match &self.origin {
            Origin::Passed(name) => has_name && *name == wanted.pool.name,
            Origin::Pool(place) => place.as_ref() == Some(&Place::of(wanted)),
            Origin::Stats | Origin::Admin => false,
        }
    }

    /// Returns true if it is bound to `address`, and can become this listener.
    fn fits(&self, wanted: Wanted<'_>, address: &BoundAddr) -> bool {
        self.bound.as_ref() == Some(address)
            && match &self.origin {
                Origin::Passed(_) => true,
                Origin::Pool(Some(place)) => place.may_become(wanted),
                Origin::Pool(None) | Origin::Stats | Origin::Admin => false,
            }
    }

    fn is_stray(&self) -> AppError {
        let name = match (&self.origin, self.bound) {
            (Origin::Passed(name), _) if !name.is_empty() => name.clone(),
            (_, Some(BoundAddr::Tcp(address))) => address.to_string(),
            _ => "unknown".to_owned(),
        };
        AppError::StraySocket { name }
    }
}
