//! The stats port: Twemproxy's JSON for clients that connect and read, HTTP for those that send a request. And, under
//! [`api`], the admin socket, which alone can change something.
//!
//! The port runs on the control thread and knows the workers only through a [`Collector`], and the proxy, of which it offers
//! the operations that read, through [`api::Control`]. Connections are bounded in number and in time; a silent one makes room for a new one.

mod accept;
pub mod api;
mod browsers;
mod guard;
mod json;
mod listener;
mod page;
mod places;
mod process;
mod prometheus;
mod routes;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

pub use guard::Untrusted;
pub use listener::{bind, serve};

use crate::admin::api::{Access, Control};
use crate::admin::browsers::Browsers;
use crate::admin::guard::Guard;
use crate::journal::Journal;
use crate::net::tls::TlsAcceptor;
use crate::stats::Snapshot;
use json::Identity;
use process::Process;

/// The source of the counts of all workers.
pub trait Collector: Debug + Send + Sync + 'static {
    /// Collects and sums the counts of all workers. Must not wait long for any of them: the last published counts of a
    /// worker stand in for a late answer.
    fn collect(&self) -> Pin<Box<dyn Future<Output = Snapshot> + Send + '_>>;
}

/// The state that the port serves.
#[derive(Debug)]
pub struct State {
    collector: Arc<dyn Collector>,
    offer: Option<Offer>,
    journal: Arc<Journal>,
    workers: usize,
    draining: CancellationToken,
    source: String,
    started: Instant,
    browsers: Browsers,
    /// Set if the port speaks TLS.
    tls: Option<Arc<ArcSwap<TlsAcceptor>>>,
}

/// The operations that the port offers.
#[derive(Debug)]
struct Offer {
    control: Arc<dyn Control>,
    access: Access,
    guard: Guard,
}

impl State {
    /// The state of a proxy that starts now. `draining` is cancelled when the proxy stops accepting clients; from then
    /// on `/healthz` reports it.
    pub fn new(
        collector: Arc<dyn Collector>,
        journal: Arc<Journal>,
        workers: usize,
        draining: CancellationToken,
    ) -> Self {
        let uname = rustix::system::uname();
        Self {
            collector,
            offer: None,
            journal,
            workers,
            draining,
            source: uname.nodename().to_string_lossy().into_owned(),
            started: Instant::now(),
            browsers: Browsers::default(),
            tls: None,
        }
    }

    /// Has the port speak TLS, and HTTP in it.
    #[must_use]
    pub fn encrypted(mut self, tls: Option<Arc<ArcSwap<TlsAcceptor>>>) -> Self {
        self.tls = tls;
        self
    }

    /// Offers the operations that read. `address` is that of the port, an IP address or a name; with `shows_keys` they show
    /// keys, arguments and clients too.
    #[must_use]
    pub fn offering(mut self, control: Arc<dyn Control>, address: &str, shows_keys: bool) -> Self {
        self.offer = Some(Offer {
            control,
            access: Access::Read { shows_keys },
            guard: Guard::new(Some(address)),
        });
        self
    }

    async fn json(&self) -> String {
        let snapshot = self.collector.collect().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let identity = Identity {
            source: &self.source,
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.started.elapsed().as_secs(),
            timestamp: now.map_or(0, |since| since.as_secs()),
        };
        json::render(&identity, &snapshot)
    }

    async fn metrics(&self) -> String {
        let snapshot = self.collector.collect().await;
        let process = Process {
            workers: self.workers,
            uptime: self.started.elapsed(),
            connections: snapshot.connections(),
            last_load: self.journal.last_load(),
            stats_tls_ends: self.tls.as_ref().and_then(|tls| {
                let tls = tls.load();
                let expiries = tls.files().expiries().iter();
                expiries.map(|expiry| expiry.not_after).min()
            }),
        };
        prometheus::render(&snapshot, &process)
    }

    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }
}
