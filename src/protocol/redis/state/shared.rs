//! The state of a pool that all workers share. No forwarded request accesses it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{UserConfig, UserQuota};
use crate::net::AddressTable;
use crate::observe::{RequestText, SlowLog, SlowRequest};
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::command::{Command, flags};
use crate::protocol::redis::state::acl_log::AclLog;
use crate::protocol::redis::state::client_registry::ClientRegistry;
use crate::protocol::redis::state::latency::{Event, Monitor};
use crate::protocol::redis::state::quotas::UserRefusals;
use crate::protocol::redis::state::scripts::Scripts;
use crate::protocol::redis::state::subscriber_counts::PubSubStats;
use crate::protocol::redis::state::tunables::{Tunable, Tunables};
use crate::protocol::redis::state::users::{SharedUsers, UserChange};
use crate::quota::OverQuota;
use crate::stats::{PoolDetails, PoolMetric, PoolSnapshot, Sample};

/// One per pool, created before its workers start.
#[derive(Debug, Default)]
pub struct PoolShared {
    /// The clients of all workers.
    pub clients: ClientRegistry,
    /// The parameters that `CONFIG SET` can change.
    pub(crate) tunables: Tunables,
    /// The requests that took longest.
    pub slow_log: Arc<SlowLog>,
    pub(crate) latency: Monitor,
    /// The counts of subscribers.
    pub(crate) pubsub_stats: PubSubStats,
    /// What is remembered of the addresses of clients.
    pub addresses: Arc<AddressTable>,
    /// The scripts that went through the proxy.
    pub scripts: Scripts,
    pub(crate) users: SharedUsers,
    pub(crate) acl_log: AclLog,
    /// Connections that were refused because of quotas of users.
    refused_connections: AtomicU64,
    reset: Mutex<Arc<Reset>>,
}

/// The counters at the last `CONFIG RESETSTAT`, which `INFO` subtracts. The stats port goes on counting.
#[derive(Debug, Default)]
pub(crate) struct Reset {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) details: PoolDetails,
}

impl PoolShared {
    /// Takes the users of the configuration, without those that are as they were in the last one, and their quotas.
    pub fn configure_users(&self, wanted: &[UserConfig], quotas: &[UserQuota]) {
        let changes = self.users.configure(wanted, quotas);
        self.follow(&changes, None);
    }

    /// Counts a connection that is refused because of a quota.
    pub(crate) fn note_refused_connection(&self, over: &OverQuota) {
        over.count();
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of connections that were refused because of quotas of users.
    pub fn refused_connections(&self) -> u64 {
        self.refused_connections.load(Ordering::Relaxed)
    }

    /// What users were refused because of their quotas.
    pub fn user_refusals(&self) -> Vec<UserRefusals> {
        self.users.refusals()
    }

    /// Applies rules to a user, which is created if there is none of that name: all of them, or none. The first rule that
    /// cannot be applied is returned with the error.
    pub fn set_user<'r, R: AsRef<[u8]>>(
        &self,
        name: &[u8],
        rules: &'r [R],
    ) -> Result<(), (&'r R, RuleError)> {
        let change = self.users.set(name, rules)?;
        self.follow(change.as_slice(), None);
        Ok(())
    }

    /// Deletes the users of these names, as far as there are any, and closes their clients; `spared` ends itself. Returns
    /// the identities of the users.
    pub fn delete_users<N: AsRef<[u8]>>(&self, names: &[N], spared: Option<u64>) -> Vec<u64> {
        let changes = self.users.delete(names.iter().map(AsRef::as_ref));
        self.follow(&changes, spared);
        let deleted = changes.iter().map(|change| change.before.identity());
        deleted.collect()
    }

    /// Closes the clients of users that were deleted, and subscribers of channels that their users may not use any more.
    fn follow(&self, changes: &[UserChange], spared: Option<u64>) {
        let (mut deleted, mut narrowed) = (HashSet::new(), HashSet::new());
        for change in changes {
            let identity = change.before.identity();
            match &change.after {
                None => drop(deleted.insert(identity)),
                Some(after) if change.before.channels != after.channels => {
                    narrowed.insert(identity);
                }
                Some(_) => {}
            }
        }
        if !deleted.is_empty() {
            self.clients
                .kill(|entry| Some(entry.id) != spared && deleted.contains(&entry.details().user));
        }
        if !narrowed.is_empty() {
            self.clients
                .check_subscribers(|details| narrowed.contains(&details.user));
        }
    }

    /// Sets whether channels are subscribed to on every server, from the next topology on.
    pub fn set_pubsub_everywhere(&self, everywhere: bool) {
        self.pubsub_stats
            .everywhere
            .store(everywhere, Ordering::Relaxed);
    }

    /// Logs no slow requests.
    pub fn stop_slow_log(&self) {
        self.tunables.set(Tunable::SlowlogLogSlowerThan, -1);
    }

    /// The duration from which a request is recorded.
    pub fn slow_from(&self) -> Duration {
        self.tunables.slow_from()
    }

    /// Records a slow request of the client with this ID and address. Blocking commands are omitted.
    pub fn note_slow(
        &self,
        command: &'static Command,
        (client, peer): (u64, &str),
        mut slow: SlowRequest,
    ) {
        let took = slow.took;
        if command.flags & (flags::BLOCKING | flags::SKIP_SLOWLOG) != 0 {
            return;
        }
        let micros = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let threshold = self.tunables.get(Tunable::SlowlogLogSlowerThan);
        if threshold >= 0 && micros >= threshold {
            let most = self.tunables.get(Tunable::SlowlogMaxLen);
            let entry = self.clients.find(client);
            let name = entry.map(|entry| entry.details().name.clone());
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            if slow.text == RequestText::default() {
                slow.text = named(command);
            }
            let client = (peer.to_owned(), name.unwrap_or_default());
            self.slow_log.note(slow, client, most);
        }
        let threshold = self.tunables.get(Tunable::LatencyMonitorThreshold);
        if threshold > 0 && micros / 1000 >= threshold {
            let event = if command.flags & flags::FAST == 0 {
                Event::Command
            } else {
                Event::FastCommand
            };
            let millis = u64::try_from(micros / 1000).unwrap_or_default();
            self.latency.note(event, millis);
        }
    }

    pub(crate) fn reset(&self) -> Arc<Reset> {
        Arc::clone(&self.lock())
    }

    /// Restarts the counters of `INFO`.
    pub(crate) fn reset_at(&self, pool: PoolSnapshot, sample: &Sample) {
        *self.lock() = Arc::new(Reset {
            accepted: pool.values.get(PoolMetric::ClientAccepted),
            rejected: pool.values.get(PoolMetric::ClientRejected),
            requests: sample.requests,
            bytes_in: sample.bytes_in,
            bytes_out: sample.bytes_out,
            details: pool.details,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Reset>> {
        // Replaced as a whole.
        self.reset.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of which the name alone is known.
fn named(command: &Command) -> RequestText {
    let words: Vec<_> = command.name.split('|').collect();
    let mut text = RequestText::of(words.len() + 1);
    for word in words {
        text.push(word.as_bytes(), word.len());
    }
    text
}
