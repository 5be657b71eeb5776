//! What limits remember of the addresses of clients: connections, and failed attempts to authenticate.
//!
//! Invariant: bounded. Beyond [`KEPT_MAX`], addresses without a connection are forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::PeerKey;

/// The addresses that are remembered, besides those with a connection.
const KEPT_MAX: usize = 65_536;

/// The limits of one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddressLimits {
    /// The most new connections a second, and at once.
    pub connections_per_second: Option<u32>,
    /// The most open connections.
    pub connections: Option<u32>,
}

/// The limit that an address has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressLimit {
    /// Of new connections.
    Rate,
    /// Of open connections.
    Connections,
}

/// The addresses of a pool's clients, for all threads. Locked per connection, never per request.
#[derive(Debug, Default)]
pub struct AddressTable {
    table: Mutex<Table>,
    failures: AtomicU64,
    /// Attempts that were not looked at.
    throttled: AtomicU64,
    /// The failed attempts that an address may make at once, and one more each second; 0 is no limit.
    failures_max: AtomicU32,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<PeerKey, Entry>,
    /// The number of entries at which those that say nothing are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    connections: u32,
    /// New connections that count still, at that time.
    fresh: f64,
    at: Instant,
    /// Failures that count still, at that time.
    failures: f64,
    failed_at: Instant,
}

/// An open connection of an address, counted until it is dropped.
#[derive(Debug)]
pub struct AddressPermit {
    table: Arc<AddressTable>,
    key: PeerKey,
}

impl AddressTable {
    /// Counts a new connection, unless a limit is reached. With `is_new` false the rate does not matter.
    pub fn enter(
        self: &Arc<Self>,
        key: PeerKey,
        limits: AddressLimits,
        is_new: bool,
        now: Instant,
    ) -> Result<AddressPermit, AddressLimit> {
        let mut table = self.lock();
        let entry = table.entry(key, now);
        let rate = limits
            .connections_per_second
            .map_or(f64::INFINITY, f64::from);
        entry.forgive_connections(rate, now);
        let is_full = limits
            .connections
            .is_some_and(|most| entry.connections >= most);
        if is_new {
            if entry.fresh + 1.0 > rate {
                return Err(AddressLimit::Rate);
            }
            if is_full {
                return Err(AddressLimit::Connections);
            }
            entry.fresh += 1.0;
        }
        entry.connections += 1;
        Ok(AddressPermit {
            table: Arc::clone(self),
            key,
        })
    }

    /// Sets the failed attempts to authenticate that an address may make at once; `None` is no limit.
    pub fn limit_auth_failures(&self, most: Option<u32>) {
        self.failures_max
            .store(most.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns true if the address may try to authenticate; counts it if not.
    pub fn may_authenticate(&self, key: PeerKey, now: Instant) -> bool {
        let Some(most) = self.failures_most() else {
            return true;
        };
        let mut table = self.lock();
        let Some(entry) = table.entries.get_mut(&key) else {
            return true;
        };
        entry.forgive_failures(most, now);
        let may = entry.failures + 1.0 <= most;
        if !may {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// Notes a failed attempt.
    pub fn note_failure(&self, key: PeerKey, now: Instant) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let Some(most) = self.failures_most() else {
            return;
        };
        let mut table = self.lock();
        let entry = table.entry(key, now);
        entry.forgive_failures(most, now);
        entry.failures = (entry.failures + 1.0).min(most);
    }

    /// The failed attempts of all addresses.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The attempts of all addresses that were not looked at, because too many had failed.
    pub fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    fn failures_most(&self) -> Option<f64> {
        let most = self.failures_max.load(Ordering::Relaxed);
        (most > 0).then(|| f64::from(most))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        // A number that was not written does no harm.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().entries.len()
    }
}

impl Table {
    fn entry(&mut self, key: PeerKey, now: Instant) -> &mut Entry {
        if self.entries.len() >= self.sweep_at.max(KEPT_MAX) && !self.entries.contains_key(&key) {
            self.entries.retain(|_, entry| entry.connections > 0);
            // Not at each connection, however many are open.
            self.sweep_at = 2 * self.entries.len();
        }
        self.entries.entry(key).or_insert(Entry {
            connections: 0,
            fresh: 0.0,
            at: now,
            failures: 0.0,
            failed_at: now,
        })
    }
}

impl Entry {
    fn forgive_connections(&mut self, rate: f64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.fresh = if rate.is_finite() {
            // The rate may have been a higher one.
            (self.fresh.min(rate) - elapsed * rate).max(0.0)
        } else {
            0.0
        };
        self.at = self.at.max(now);
    }

    fn forgive_failures(&mut self, most: f64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.failed_at).as_secs_f64();
        self.failures = (self.failures.min(most) - elapsed).max(0.0);
        self.failed_at = self.failed_at.max(now);
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        if let Some(entry) = self.table.lock().entries.get_mut(&self.key) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;

    fn key(number: u32) -> PeerKey {
        PeerKey::Ip(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn address_has_a_rate_of_new_connections() {
        let (table, start) = (Arc::new(AddressTable::default()), Instant::now());
        let limits = AddressLimits {
            connections_per_second: Some(2),
            connections: None,
        };
        let enter = |number, ms| {
            let now = start + Duration::from_millis(ms);
            table.enter(key(number), limits, true, now).is_ok()
        };
        let times = [0, 0, 0, 400, 500, 600, 999, 1000, 5000, 5000, 5000];
        let entered = times.map(|ms| enter(1, ms));
        let yes_at = [
            true, true, false, false, true, false, false, true, true, true, false,
        ];
        assert_eq!(entered, yes_at);
        assert!(enter(2, 0));
    }

    #[test]
    fn address_has_a_number_of_connections() {
        let (table, now) = (Arc::new(AddressTable::default()), Instant::now());
        let limits = AddressLimits {
            connections_per_second: None,
            connections: Some(2),
        };
        let enter = |is_new| table.enter(key(1), limits, is_new, now);
        let first = enter(true).unwrap();
        let _second = enter(true).unwrap();
        assert_eq!(enter(true).unwrap_err(), AddressLimit::Connections);
        // One that was handed over is counted, and not refused.
        let third = enter(false).unwrap();
        drop(first);
        assert_eq!(enter(true).unwrap_err(), AddressLimit::Connections);
        drop(third);
        assert!(enter(true).is_ok());
    }

    #[test]
    fn failures_of_an_address_are_slowed_down() {
        let (table, start) = (AddressTable::default(), Instant::now());
        table.limit_auth_failures(Some(10));
        for _ in 0..10 {
            assert!(table.may_authenticate(key(1), start));
            table.note_failure(key(1), start);
        }
        for _ in 0..1000 {
            table.note_failure(key(1), start);
        }
        let may = |ms| table.may_authenticate(key(1), start + Duration::from_millis(ms));
        assert_eq!([0, 900, 1001].map(may), [false, false, true]);
        assert!(table.may_authenticate(key(2), start));
    }

    #[test]
    fn lowered_limits_forget_what_is_above_them() {
        let (table, start) = (Arc::new(AddressTable::default()), Instant::now());
        let limited = |rate| AddressLimits {
            connections_per_second: Some(rate),
            connections: None,
        };
        table.limit_auth_failures(Some(100));
        for _ in 0..100 {
            table.note_failure(key(1), start);
            assert!(table.enter(key(1), limited(1000), true, start).is_ok());
        }
        table.limit_auth_failures(Some(10));
        let later = start + Duration::from_millis(1001);
        assert!(table.may_authenticate(key(1), later));
        assert!(table.enter(key(1), limited(5), true, later).is_ok());
    }

    #[test]
    fn flood_of_addresses_does_not_grow_the_table() {
        let (table, now) = (Arc::new(AddressTable::default()), Instant::now());
        table.limit_auth_failures(Some(10));
        let limits = AddressLimits::default();
        let _open: Vec<_> = (0..100)
            .map(|n| table.enter(key(n), limits, true, now))
            .collect();
        for n in 0..300_000 {
            table.note_failure(key(1000 + n), now);
            assert!(table.len() <= KEPT_MAX + 100);
        }
        assert!(table.lock().entries.contains_key(&key(99)));
    }
}
