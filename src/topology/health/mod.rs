//! Ejection of failing servers from the ring, and their return (`auto_eject_hosts`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::config::PoolConfig;
use crate::topology::ServerId;

/// The time after a return in which another ejection means that the server flaps.
const FLAPPING: Duration = Duration::from_secs(60);

/// The number of times that a flapping server's probes are doubled, at most.
const DOUBLINGS_MAX: u32 = 5;

/// The options of a pool with `auto_eject_hosts: true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EjectPolicy {
    /// `server_failure_limit`: failures in a row that eject a server; 0 behaves like 1.
    pub failure_limit: u32,
    /// What brings an ejected server back.
    pub returns: Returns,
}

/// What brings an ejected server back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    /// Time (`server_retry_timeout`): the next request routed to it is its trial.
    After(Duration),
    /// So many answered probes in a row (`server_probe_successes`).
    Probed(u32),
}

impl EjectPolicy {
    /// The policy of a pool; none without `auto_eject_hosts`.
    #[must_use]
    pub fn of(pool: &PoolConfig) -> Option<Self> {
        pool.auto_eject_hosts.then_some(Self {
            failure_limit: pool.server_failure_limit,
            returns: match pool.probe_interval() {
                Some(_) => Returns::Probed(pool.server_probe_successes),
                None => Returns::After(pool.server_retry_timeout),
            },
        })
    }
}

/// The health of every server of one pool. Without a policy no server is ever ejected.
///
/// A failure is a connection that could not be opened, or that ended, timed out or lost its framing while replies were
/// pending; or a probe that was not answered. Callers do not report a connection that its server closes while idle.
#[derive(Debug, Clone)]
pub struct Health {
    policy: Option<EjectPolicy>,
    /// Those that have failed; all others are live.
    servers: BTreeMap<ServerId, ServerHealth>,
}

impl Health {
    /// All servers are live and without failures.
    #[must_use]
    pub fn new(policy: Option<EjectPolicy>) -> Self {
        Self {
            policy,
            servers: BTreeMap::new(),
        }
    }

    /// Changes the policy. Without one, ejected servers are live again.
    pub fn set_policy(&mut self, policy: Option<EjectPolicy>, now: Instant) {
        if self.policy == policy {
            return;
        }
        self.policy = policy;
        let Some(policy) = policy else {
            return self.servers.clear();
        };
        for state in self.servers.values_mut() {
            if let Some(ejection) = &mut state.ejection {
                *ejection = Ejection::begin(policy.returns, state.doublings, now);
            }
        }
    }

    /// Forgets the servers that have left the pool.
    pub fn retain(&mut self, is_in_pool: impl Fn(ServerId) -> bool) {
        self.servers.retain(|&server, _| is_in_pool(server));
    }

    /// Records a failure, detected at `now`, of work begun at `since`: the time when the oldest request that it leaves
    /// unanswered was queued, or, without one, when the attempt to connect began.
    ///
    /// Work begun before the last failure that counted shares its cause, and does not count again; so a server that
    /// dies under several connections fails once, as it does under Twemproxy's one. Nor do failures of an ejected
    /// server count.
    pub fn on_failure(
        &mut self,
        server: ServerId,
        since: Instant,
        now: Instant,
    ) -> Option<Transition> {
        let policy = self.policy?;
        let state = self.servers.entry(server).or_default();
        let known = state.counted_at.is_some_and(|counted| since < counted);
        if known || state.ejection.is_some() {
            return None;
        }
        state.counted_at = Some(now);
        state.failures = state.failures.saturating_add(1);
        if state.failures < policy.failure_limit {
            return None;
        }
        Some(state.eject(server, policy, now))
    }

    /// Ejects a live server at once. `None` if it is ejected already, or if the pool ejects none.
    pub fn eject(&mut self, server: ServerId, now: Instant) -> Option<Transition> {
        let policy = self.policy?;
        let state = self.servers.entry(server).or_default();
        (state.ejection.is_none()).then(|| state.eject(server, policy, now))
    }

    /// Lets an ejected server return at once. `None` if it is live.
    pub fn admit(&mut self, server: ServerId) -> Option<Transition> {
        let state = self.servers.get_mut(&server)?;
        state.ejection.take()?;
        Some(Transition {
            server,
            change: HealthChange::Returned,
        })
    }

    /// Records a reply to a client's request, even an error: it resets the failure count.
    pub fn on_reply(&mut self, server: ServerId) {
        if let Some(state) = self.servers.get_mut(&server) {
            state.failures = 0;
        }
    }

    /// Records an answered probe, which says nothing of a live server: it may answer probes and fail requests.
    pub fn on_answered_probe(&mut self, server: ServerId, now: Instant) -> Option<Transition> {
        let state = self.servers.get_mut(&server)?;
        state.failed_probes = 0;
        let Some(Ejection::Probed { left, .. }) = &mut state.ejection else {
            return None;
        };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        state.returned_at = Some(now);
        self.admit(server)
    }

    /// Records a probe that was not answered. As many in a row as failures eject the server.
    pub fn on_failed_probe(&mut self, server: ServerId, now: Instant) -> Option<Transition> {
        let policy = self.policy?;
        let state = self.servers.entry(server).or_default();
        if let Some(ejection) = &mut state.ejection {
            if let Ejection::Probed { left, needed } = ejection {
                *left = *needed;
            }
            return None;
        }
        state.failed_probes = state.failed_probes.saturating_add(1);
        if state.failed_probes < policy.failure_limit {
            return None;
        }
        state.failures = state.failed_probes;
        Some(state.eject(server, policy, now))
    }

    /// Records a request for the pool, whatever its key. Servers whose retry timeout has elapsed return; the next
    /// request routed to such a server is its trial.
    #[must_use = "each transition is logged"]
    pub fn on_request(&mut self, now: Instant) -> Vec<Transition> {
        if self.earliest_retry().is_none_or(|retry_at| now <= retry_at) {
            return Vec::new();
        }
        let returns = |(&server, state): (&ServerId, &mut ServerHealth)| {
            let is_due = |at: Instant| at <= now;
            state
                .ejection
                .take_if(|ejection| ejection.until().is_some_and(is_due))?;
            Some(Transition {
                server,
                change: HealthChange::Returned,
            })
        };
        self.servers.iter_mut().filter_map(returns).collect()
    }

    /// Returns true if a server is not ejected.
    #[must_use]
    pub fn is_live(&self, server: ServerId) -> bool {
        let state = self.servers.get(&server);
        state.is_none_or(|state| state.ejection.is_none())
    }

    /// What an ejected server still waits for at `now`; none if it is live.
    #[must_use]
    pub fn awaits(&self, server: ServerId, now: Instant) -> Option<Returns> {
        Some(match self.servers.get(&server)?.ejection? {
            Ejection::Until(at) => Returns::After(at.saturating_duration_since(now)),
            Ejection::Probed { left, .. } => Returns::Probed(left),
        })
    }

    /// The failures in a row of `server` since its last reply, return or ejection.
    #[must_use]
    pub fn failures(&self, server: ServerId) -> u32 {
        self.servers.get(&server).map_or(0, |s| s.failures)
    }

    /// The time when the first of the servers may return that wait for one; none if there are none.
    #[must_use]
    pub fn earliest_retry(&self) -> Option<Instant> {
        let ejections = self.servers.values().filter_map(|s| s.ejection.as_ref());
        ejections.filter_map(Ejection::until).min()
    }
}

/// The health of one server.
#[derive(Debug, Clone, Copy, Default)]
struct ServerHealth {
    /// Failures in a row.
    failures: u32,
    /// Probes in a row that were not answered.
    failed_probes: u32,
    /// The time when the last failure that counted was detected.
    counted_at: Option<Instant>,
    /// None while it is live.
    ejection: Option<Ejection>,
    /// When probes last brought it back.
    returned_at: Option<Instant>,
    /// How often the number of probes was doubled.
    doublings: u32,
}

/// What an ejected server waits for.
#[derive(Debug, Clone, Copy)]
enum Ejection {
    Until(Instant),
    Probed { left: u32, needed: u32 },
}

impl Ejection {
    fn begin(returns: Returns, doublings: u32, now: Instant) -> Self {
        match returns {
            Returns::After(time) => Self::Until(now + time),
            Returns::Probed(successes) => {
                let needed = successes.saturating_mul(1 << doublings);
                Self::Probed {
                    left: needed,
                    needed,
                }
            }
        }
    }

    fn until(&self) -> Option<Instant> {
        match self {
            Self::Until(at) => Some(*at),
            Self::Probed { .. } => None,
        }
    }
}

impl ServerHealth {
    fn eject(&mut self, server: ServerId, policy: EjectPolicy, now: Instant) -> Transition {
        let flaps = self
            .returned_at
            .is_some_and(|returned| now.saturating_duration_since(returned) < FLAPPING);
        self.doublings = if flaps {
            (self.doublings + 1).min(DOUBLINGS_MAX)
        } else {
            0
        };
        let ejection = Ejection::begin(policy.returns, self.doublings, now);
        self.ejection = Some(ejection);
        self.failed_probes = 0;
        Transition {
            server,
            change: HealthChange::Ejected {
                failures: std::mem::take(&mut self.failures),
                returns: match ejection {
                    Ejection::Until(at) => Returns::After(at - now),
                    Ejection::Probed { needed, .. } => Returns::Probed(needed),
                },
            },
        }
    }
}

/// A change of the set of live servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "each transition is logged"]
pub struct Transition {
    /// The server.
    pub server: ServerId,
    /// The change.
    pub change: HealthChange,
}

/// A change of one server. `Display` is the predicate of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthChange {
    /// It left the ring.
    Ejected {
        /// Failures in a row that led to it; none if it was ejected by hand.
        failures: u32,
        /// What brings it back.
        returns: Returns,
    },
    /// It is back in the ring.
    Returned,
}

impl fmt::Display for HealthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failures, returns) = match self {
            Self::Ejected { failures, returns } => (*failures, returns),
            Self::Returned => return f.write_str("back in the ring after its ejection"),
        };
        match returns {
            Returns::After(time) => write!(f, "ejected for {time:?}")?,
            Returns::Probed(1) => f.write_str("ejected until it answers a probe,")?,
            Returns::Probed(needed) => write!(f, "ejected until it answers {needed} probes,")?,
        }
        match failures {
            0 => f.write_str(" by hand"),
            1 => f.write_str(" after 1 failure in a row"),
            _ => write!(f, " after {failures} failures in a row"),
        }
    }
}

#[cfg(test)]
mod tests;
