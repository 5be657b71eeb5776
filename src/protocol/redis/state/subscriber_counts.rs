//! The numbers of subscribers of this process that its servers do not count.
//!
//! The clients of a worker share one connection to each server, and the server counts it once. Its replies to `PUBLISH`
//! and `PUBSUB NUMSUB` therefore miss all but the first client of each worker, and their number is kept here, for all
//! workers. A channel with one client per worker has no entry, so most requests find the table empty.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::redis::resp::glob;
use crate::protocol::redis::state::announced_subscribers::AnnouncedSubscribers;
use crate::protocol::{ChannelKind, WorkerTurns};

/// The subscriptions of a pool, shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct PubSubStats {
    /// Channels are subscribed to on every server: the server on which they are published is unknown.
    pub(crate) everywhere: AtomicBool,
    /// The uncounted subscribers.
    pub(crate) local_subscribers: LocalSubscribers,
    /// The unconfirmed subscriptions.
    pub(crate) announced: AnnouncedSubscribers,
    /// Publishers wait for the subscriptions that other workers have received.
    pub(crate) turns: Arc<WorkerTurns>,
}

/// By kind, in the order of [`ChannelKind::ALL`]: each name and its clients beyond the first one of each worker.
type SubscriberCounts = [HashMap<Box<[u8]>, u64>; 3];

/// The uncounted subscribers of a pool, shared by its workers.
#[derive(Default)]
pub(crate) struct LocalSubscribers {
    /// Number of entries of the table: if it is 0, the lock need not be taken.
    entries: AtomicUsize,
    counts: Mutex<SubscriberCounts>,
}

impl LocalSubscribers {
    /// Adds or removes one client that receives `name`.
    pub(crate) fn note(&self, kind: ChannelKind, name: &[u8], more: bool) {
        let mut counts = self.lock();
        let [channels, patterns, shards] = &mut *counts;
        let counts_of_kind = match kind {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        };
        if more {
            *counts_of_kind.entry(name.into()).or_default() += 1;
        } else if let Some(count) = counts_of_kind.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                counts_of_kind.remove(name);
                if counts_of_kind.is_empty() {
                    *counts_of_kind = HashMap::new();
                }
            }
        }
        let entries = counts.iter().map(HashMap::len).sum();
        self.entries.store(entries, Ordering::Release);
    }

    /// The clients that are subscribed to `name`, without those that servers count.
    pub(crate) fn uncounted_subscribers(&self, kind: ChannelKind, name: &[u8]) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let [channels, patterns, shards] = &*self.lock();
        let counts_of_kind = match kind {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        };
        counts_of_kind.get(name).copied().unwrap_or(0)
    }

    /// The clients that receive messages of `channel`, by name or by pattern, without those that servers count.
    pub(crate) fn uncounted_receivers(&self, kind: ChannelKind, channel: &[u8]) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let by_name = self.uncounted_subscribers(kind, channel);
        if kind == ChannelKind::Shard {
            return by_name;
        }
        let [_, patterns, _] = &*self.lock();
        let by_pattern = patterns
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel))
            .map(|(_, count)| count);
        by_name + by_pattern.sum::<u64>()
    }

    fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Acquire) == 0
    }

    /// A panic elsewhere while the lock was held leaves complete entries: they are used as they are.
    fn lock(&self) -> MutexGuard<'_, SubscriberCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LocalSubscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSubscribers")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_count_channel_and_matching_patterns() {
        let local_subscribers = LocalSubscribers::default();
        let news = |kind| local_subscribers.uncounted_receivers(kind, b"news");
        assert_eq!(news(ChannelKind::Channel), 0);
        local_subscribers.note(ChannelKind::Channel, b"news", true);
        local_subscribers.note(ChannelKind::Channel, b"news", true);
        local_subscribers.note(ChannelKind::Pattern, b"n*", true);
        local_subscribers.note(ChannelKind::Pattern, b"m*", true);
        local_subscribers.note(ChannelKind::Shard, b"news", true);
        assert_eq!(
            (news(ChannelKind::Channel), news(ChannelKind::Shard)),
            (3, 1)
        );
        assert_eq!(
            local_subscribers.uncounted_subscribers(ChannelKind::Channel, b"news"),
            2
        );
        for name in [b"n*", b"m*"] {
            local_subscribers.note(ChannelKind::Pattern, name, false);
        }
        local_subscribers.note(ChannelKind::Channel, b"news", false);
        local_subscribers.note(ChannelKind::Channel, b"news", false);
        local_subscribers.note(ChannelKind::Shard, b"news", false);
        assert!(local_subscribers.is_empty());
    }
}
