//! Ejection of failing servers from the ring, and their return (`auto_eject_hosts`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::config::PoolConfig;
use crate::topology::ServerId;

/// The options of a pool with `auto_eject_hosts: true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EjectPolicy {
    /// `server_failure_limit`: failures in a row that eject a server; 0 behaves like 1.
    pub failure_limit: u32,
    /// `server_retry_timeout`: the time for which an ejected server stays out.
    pub retry_timeout: Duration,
}

impl EjectPolicy {
    /// The policy of a pool; none without `auto_eject_hosts`.
    #[must_use]
    pub fn of(pool: &PoolConfig) -> Option<Self> {
        pool.auto_eject_hosts.then_some(Self {
            failure_limit: pool.server_failure_limit,
            retry_timeout: pool.server_retry_timeout,
        })
    }
}

/// The health of every server of one pool. Without a policy no server is ever ejected.
///
/// A failure is a connection that could not be opened, or that ended, timed out or lost its framing while replies were
/// pending. Callers do not report a connection that its server closes while idle.
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
    pub fn set_policy(&mut self, policy: Option<EjectPolicy>) {
        self.policy = policy;
        if policy.is_none() {
            self.servers.clear();
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
        if known || state.retry_at.is_some() {
            return None;
        }
        state.counted_at = Some(now);
        state.failures = state.failures.saturating_add(1);
        if state.failures < policy.failure_limit {
            return None;
        }
        let failures = std::mem::take(&mut state.failures);
        state.retry_at = Some(now + policy.retry_timeout);
        Some(Transition {
            server,
            change: HealthChange::Ejected {
                failures,
                retry_timeout: policy.retry_timeout,
            },
        })
    }

    /// Records a reply to a client's request, even an error: it resets the failure count.
    pub fn on_reply(&mut self, server: ServerId) {
        if let Some(state) = self.servers.get_mut(&server) {
            state.failures = 0;
        }
    }

    /// Records a request for the pool, whatever its key. Servers whose retry timeout has elapsed return; the next
    /// request routed to such a server is its probe.
    #[must_use = "each transition is logged"]
    pub fn on_request(&mut self, now: Instant) -> Vec<Transition> {
        if self.earliest_retry().is_none_or(|retry_at| now <= retry_at) {
            return Vec::new();
        }
        let returns = |(&server, state): (&ServerId, &mut ServerHealth)| {
            state.retry_at.take_if(|retry_at| *retry_at <= now)?;
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
        state.is_none_or(|state| state.retry_at.is_none())
    }

    /// The failures in a row of `server` since its last reply, return or ejection.
    #[must_use]
    pub fn failures(&self, server: ServerId) -> u32 {
        self.servers.get(&server).map_or(0, |s| s.failures)
    }

    /// The time when the first of the ejected servers may return; none if all are live.
    #[must_use]
    pub fn earliest_retry(&self) -> Option<Instant> {
        self.servers.values().filter_map(|s| s.retry_at).min()
    }
}

/// The health of one server.
#[derive(Debug, Clone, Copy, Default)]
struct ServerHealth {
    /// Failures in a row.
    failures: u32,
    /// The time when the last failure that counted was detected.
    counted_at: Option<Instant>,
    /// The time when the server may return; none while it is live.
    retry_at: Option<Instant>,
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
        /// Failures in a row that led to it.
        failures: u32,
        /// The time for which it stays out.
        retry_timeout: Duration,
    },
    /// It is back in the ring; its next request is a probe.
    Returned,
}

impl fmt::Display for HealthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ejected {
                failures,
                retry_timeout,
            } => write!(
                f,
                "ejected for {retry_timeout:?} after {failures} failure{} in a row",
                if *failures == 1 { "" } else { "s" },
            ),
            Self::Returned => f.write_str("back in the ring after its ejection"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: EjectPolicy = EjectPolicy {
        failure_limit: 2,
        retry_timeout: Duration::from_millis(1500),
    };

    /// Three servers, of which the second one fails.
    fn servers() -> [ServerId; 3] {
        std::array::from_fn(|_| ServerId::allocate())
    }

    fn health(failure_limit: u32) -> Health {
        let policy = EjectPolicy {
            failure_limit,
            ..POLICY
        };
        Health::new(Some(policy))
    }

    fn live(health: &Health, servers: [ServerId; 3]) -> [bool; 3] {
        servers.map(|server| health.is_live(server))
    }

    /// Records a failure of work begun at the time when it failed.
    fn fail(health: &mut Health, server: ServerId, now: Instant) -> Option<Transition> {
        health.on_failure(server, now, now)
    }

    fn ejected(server: ServerId, failures: u32) -> Transition {
        Transition {
            server,
            change: HealthChange::Ejected {
                failures,
                retry_timeout: POLICY.retry_timeout,
            },
        }
    }

    fn returned(server: ServerId) -> Transition {
        Transition {
            server,
            change: HealthChange::Returned,
        }
    }

    #[test]
    fn dead_server_costs_two_errors_per_retry_timeout() {
        let [_, dead, _] = servers();
        let mut health = health(2);
        let start = Instant::now();
        let mut errors = Vec::new();
        for millis in (0..3600).step_by(151) {
            let now = start + Duration::from_millis(millis);
            drop(health.on_request(now));
            if health.is_live(dead) {
                let _ = fail(&mut health, dead, now);
                errors.push(millis);
            }
        }
        assert_eq!(errors, [0, 151, 1661, 1812, 3322, 3473]);
    }

    #[test]
    fn failure_limit_ejects_and_zero_acts_as_one() {
        let servers = servers();
        let dead = servers[1];
        let now = Instant::now();
        for (limit, needed) in [(0, 1), (1, 1), (2, 2), (3, 3)] {
            let mut health = health(limit);
            for _ in 1..needed {
                assert_eq!(fail(&mut health, dead, now), None, "limit {limit}");
                assert_eq!(live(&health, servers), [true; 3]);
            }
            let transition = fail(&mut health, dead, now);
            assert_eq!(transition, Some(ejected(dead, needed)), "limit {limit}");
            assert_eq!(live(&health, servers), [true, false, true]);
            assert_eq!(health.failures(dead), 0);
        }
    }

    #[test]
    fn reply_resets_the_failure_count() {
        let servers = servers();
        let dead = servers[1];
        let mut health = health(2);
        let now = Instant::now();
        for _ in 0..5 {
            assert_eq!(fail(&mut health, dead, now), None);
            health.on_reply(dead);
        }
        assert_eq!(live(&health, servers), [true; 3]);
    }

    #[test]
    fn failures_are_counted_per_server() {
        let servers = servers();
        let mut health = health(2);
        let now = Instant::now();
        assert_eq!(fail(&mut health, servers[0], now), None);
        assert_eq!(fail(&mut health, servers[2], now), None);
        assert_eq!(live(&health, servers), [true; 3]);
    }

    #[test]
    fn all_due_servers_return_together() {
        let servers = servers();
        let mut health = health(1);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for (server, millis) in servers.into_iter().zip([0, 0, 10]) {
            assert!(fail(&mut health, server, at(millis)).is_some());
        }
        assert_eq!(live(&health, servers), [false; 3]);
        assert_eq!(health.earliest_retry(), Some(at(1500)));
        assert_eq!(health.on_request(at(1500)), []);
        assert_eq!(
            health.on_request(at(1501)),
            [servers[0], servers[1]].map(returned)
        );
        assert_eq!(health.on_request(at(1511)), [returned(servers[2])]);
        assert_eq!(health.earliest_retry(), None);
    }

    #[test]
    fn simultaneous_disconnects_count_as_one_failure() {
        let [_, dead, _] = servers();
        let mut health = health(2);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for connection in 0..4 {
            let since = at(connection);
            let detected = at(100 + connection);
            assert_eq!(health.on_failure(dead, since, detected), None);
        }
        assert_eq!(health.failures(dead), 1);
        // The clock is read once per batch: a reconnect may begin at the time of the failure.
        assert_eq!(
            health.on_failure(dead, at(100), at(105)),
            Some(ejected(dead, 2))
        );
    }

    #[test]
    fn ejected_server_ignores_failures_and_late_replies() {
        let servers = servers();
        let dead = servers[1];
        let mut health = health(1);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!(fail(&mut health, dead, at(0)).is_some());
        assert_eq!(fail(&mut health, dead, at(1000)), None);
        health.on_reply(dead);
        assert_eq!(live(&health, servers), [true, false, true]);
        assert_eq!(health.on_request(at(1501)), [returned(dead)]);
        assert_eq!(fail(&mut health, dead, at(1502)), Some(ejected(dead, 1)));
    }

    #[test]
    fn without_a_policy_nothing_is_ejected() {
        let servers = servers();
        let dead = servers[1];
        let mut health = Health::new(None);
        let now = Instant::now();
        for _ in 0..1000 {
            assert_eq!(fail(&mut health, dead, now), None);
        }
        assert_eq!(live(&health, servers), [true; 3]);
    }

    #[test]
    fn health_change_formats_for_the_log() {
        let [_, dead, _] = servers();
        assert_eq!(
            ejected(dead, 2).change.to_string(),
            "ejected for 1.5s after 2 failures in a row"
        );
        assert_eq!(
            ejected(dead, 1).change.to_string(),
            "ejected for 1.5s after 1 failure in a row"
        );
        assert_eq!(
            HealthChange::Returned.to_string(),
            "back in the ring after its ejection"
        );
    }
}
