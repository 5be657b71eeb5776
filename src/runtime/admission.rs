//! Admission control of a pool: which connections are served, decided before the first byte of a request is read.
//!
//! ```text
//! accept --decide--> refused | a client | a balancer, which sends a header
//!                                               worker --decide_by_header--> refused | a client
//! ```

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::time::{sleep, timeout};

use crate::config::{Admission, PoolConfig};
use crate::journal::{EventKind, PoolJournal};
use crate::net::{
    Accepted, AddressLimit, AddressPermit, AddressTable, HeaderError, Peer, ProxyHeader, Stream,
    read_proxy_header,
};
use crate::protocol::AuthFlag;
use crate::proxy::{Origin, ReplyQueue};

/// The time for a header of the PROXY protocol, which a balancer sends at once.
const HEADER_WITHIN: Duration = Duration::from_secs(5);

/// The admission control of a pool. Shared by its acceptor and all workers.
#[derive(Debug)]
pub struct AdmissionControl {
    /// None if everyone is let in.
    rules: ArcSwapOption<Admission>,
    addresses: Arc<AddressTable>,
    counts: AdmissionCounts,
}

/// The connections that were not let in, or not for long.
#[derive(Debug, Default)]
pub(crate) struct AdmissionCounts {
    pub(crate) denied: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) faulty_headers: AtomicU64,
    pub(crate) auth_timeouts: AtomicU64,
}

/// How a connection is admitted.
#[derive(Debug, Default)]
pub(crate) enum Admitted {
    /// It is let in, and not counted.
    #[default]
    Unlimited,
    /// It is let in, and counted with others of its address.
    Counted { _permit: AddressPermit },
    /// It is decided once its balancer has sent a header, which tells the client.
    AfterHeader,
}

/// Why a connection is not let in.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Its peer has gone, as a health check does.
    Gone,
    /// A rule is against it.
    Rule { peer: String, reason: String },
}

impl AdmissionControl {
    /// One that admits everyone.
    pub(crate) fn new(addresses: Arc<AddressTable>) -> Self {
        Self {
            rules: ArcSwapOption::empty(),
            addresses,
            counts: AdmissionCounts::default(),
        }
    }

    /// Adopts what the configuration says. Those who are in stay in.
    pub(crate) fn adopt(&self, config: &PoolConfig) {
        let rules = Some(&config.admission).filter(|admission| admission.is_guarded());
        self.rules.store(rules.cloned().map(Arc::new));
        self.addresses
            .limit_auth_failures(config.admission.auth_failures);
    }

    pub(crate) fn counts(&self) -> &AdmissionCounts {
        &self.counts
    }

    /// The attempts of clients to authenticate that have failed, and those that were not even looked at.
    pub(crate) fn auth_failures(&self) -> (u64, u64) {
        (self.addresses.failures(), self.addresses.throttled())
    }

    /// Decides about a connection that was accepted.
    pub(crate) fn decide(&self, client: &Accepted) -> Result<Admitted, Refusal> {
        let Some(rules) = self.rules.load_full() else {
            return Ok(Admitted::Unlimited);
        };
        let peer = client.peer();
        if is_balancer(&rules, peer) {
            return Ok(Admitted::AfterHeader);
        }
        self.admit(&rules, peer)
    }

    /// Returns true if a connection begins with a header of the PROXY protocol.
    pub(crate) fn is_balancer(&self, client: &Accepted) -> bool {
        let rules = self.rules.load();
        rules
            .as_ref()
            .is_some_and(|rules| is_balancer(rules, client.peer()))
    }

    /// Reads the header of a connection, whoever its client is.
    pub(crate) async fn skip_header(stream: &mut Stream) -> Result<(), HeaderError> {
        read_header(stream).await.map(drop)
    }

    /// Reads the header of a connection, and decides about its client.
    pub(crate) async fn decide_by_header(
        &self,
        stream: &mut Stream,
    ) -> Result<(Admitted, Option<SocketAddr>), Refusal> {
        let header = read_header(stream).await;
        let faulty = |error: HeaderError| match error {
            HeaderError::Unused => Refusal::Gone,
            error => {
                self.counts.faulty_headers.fetch_add(1, Ordering::Relaxed);
                Refusal::Rule {
                    peer: stream.peer(),
                    reason: error.to_string(),
                }
            }
        };
        let client = match header.map_err(faulty)? {
            ProxyHeader::Client(address) => Some(address),
            ProxyHeader::Local => None,
        };
        let Some(rules) = self.rules.load_full() else {
            return Ok((Admitted::Unlimited, client));
        };
        let peer = match client {
            Some(address) => Some(Peer::Ip(address.ip())),
            None => stream.peer_identity(),
        };
        Ok((self.admit(&rules, peer)?, client))
    }

    /// Counts a client that another process has let in.
    pub(crate) fn readmit(&self, origin: &Origin, stream: &Stream) -> Admitted {
        let Some(rules) = self.rules.load_full() else {
            return Admitted::Unlimited;
        };
        let Some(peer) = origin.identity(stream) else {
            return Admitted::Unlimited;
        };
        let now = Instant::now();
        let entered = self
            .addresses
            .enter(peer.key(), rules.per_address, false, now);
        entered.map_or(Admitted::Unlimited, |permit| Admitted::Counted {
            _permit: permit,
        })
    }

    fn admit(&self, rules: &Admission, peer: Option<Peer>) -> Result<Admitted, Refusal> {
        let Some(peer) = peer else {
            return Err(Refusal::Gone);
        };
        if let Some(rule) = rules.deny.iter().find(|rule| rule.matches(peer)) {
            return Err(self.deny(peer.to_string(), format!("matched by deny {rule}")));
        }
        if !rules.allow.is_empty() && !rules.allow.iter().any(|rule| rule.matches(peer)) {
            return Err(self.deny(peer.to_string(), "matched by no entry of allow".to_owned()));
        }
        let now = Instant::now();
        let entered = self
            .addresses
            .enter(peer.key(), rules.per_address, true, now);
        match entered {
            Ok(permit) => Ok(Admitted::Counted { _permit: permit }),
            Err(limit) => {
                self.counts.limited.fetch_add(1, Ordering::Relaxed);
                let directive = match limit {
                    AddressLimit::Rate => "client_address_rate",
                    AddressLimit::Connections => "client_address_connections",
                };
                Err(Refusal::Rule {
                    peer: peer.to_string(),
                    reason: format!("its address has reached {directive}"),
                })
            }
        }
    }

    fn deny(&self, peer: String, reason: String) -> Refusal {
        self.counts.denied.fetch_add(1, Ordering::Relaxed);
        Refusal::Rule { peer, reason }
    }

    /// Serves a client, and has it closed if it has not authenticated within that time, and must by then.
    pub(crate) async fn with_auth_timeout<T>(
        &self,
        limit: Duration,
        (pool, peer): (&str, &str),
        (flag, replies): (AuthFlag, Rc<ReplyQueue>),
        must_authenticate: impl Fn() -> bool,
        serving: impl Future<Output = T>,
    ) -> T {
        let mut serving = pin!(serving);
        let mut timer = (!limit.is_zero()).then(|| Box::pin(sleep(limit)));
        poll_fn(|cx| {
            if let Some(running) = &mut timer {
                if flag.is_set() {
                    timer = None;
                } else if running.as_mut().poll(cx).is_ready() {
                    timer = None;
                    // Users may have changed since it came.
                    if must_authenticate() {
                        self.counts.auth_timeouts.fetch_add(1, Ordering::Relaxed);
                        let reason = "it has not authenticated within auth_timeout";
                        tracing::warn!(pool, client = peer, reason, "client closed");
                        replies.kill();
                    }
                }
            }
            serving.as_mut().poll(cx)
        })
        .await
    }
}

impl Refusal {
    /// Logs it, and records it in the journal of the pool.
    pub(crate) fn note(&self, pool: &str, journal: &PoolJournal) {
        let Self::Rule { peer, reason } = self else {
            return;
        };
        tracing::warn!(pool, client = peer, reason, "client refused");
        journal.record_client(EventKind::ClientsRefused, peer, reason.as_str());
    }
}

fn is_balancer(rules: &Admission, peer: Option<Peer>) -> bool {
    peer.is_some_and(|peer| rules.proxy_protocol.iter().any(|rule| rule.matches(peer)))
}

async fn read_header(stream: &mut Stream) -> Result<ProxyHeader, HeaderError> {
    let header = timeout(HEADER_WITHIN, read_proxy_header(stream)).await;
    let timed_out = || HeaderError::from(io::Error::from(io::ErrorKind::TimedOut));
    header.unwrap_or_else(|_| Err(timed_out()))
}
