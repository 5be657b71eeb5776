//! How many clients of this process hear a channel beyond those that its servers know of.
//!
//! The clients of a worker share one connection to each server, and the server counts it once. What it answers to
//! `PUBLISH` and `PUBSUB NUMSUB` is therefore short by all but the first client of each worker, and that number is kept
//! here, for all workers. A channel with one client a worker has no entry, so most requests find the table empty.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::ChannelKind;
use crate::protocol::redis::resp::glob;

/// What all workers know of the subscriptions to a pool.
#[derive(Debug, Default)]
pub(crate) struct PubSubStats {
    /// Channels are subscribed to at every server: nobody can tell where they are published.
    pub(crate) everywhere: bool,
    /// Who hears them.
    pub(crate) local_subscribers: LocalSubscribers,
}

/// By topic, in the order of [`Topic::ALL`]: each name and its clients beyond the first one of each worker.
type SubscriberCounts = [HashMap<Box<[u8]>, u64>; 3];

/// Shared by all workers that serve a pool.
#[derive(Default)]
pub(crate) struct LocalSubscribers {
    /// Entries of the table: where there are none, the lock need not be taken.
    entries: AtomicUsize,
    crowds: Mutex<SubscriberCounts>,
}

impl LocalSubscribers {
    /// One client more or fewer hears `name`.
    pub(crate) fn note(&self, topic: ChannelKind, name: &[u8], more: bool) {
        let mut crowds = self.lock();
        let [channels, patterns, shards] = &mut *crowds;
        let crowd = match topic {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        };
        if more {
            *crowd.entry(name.into()).or_default() += 1;
        } else if let Some(count) = crowd.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(name);
                if crowd.is_empty() {
                    *crowd = HashMap::new();
                }
            }
        }
        let entries = crowds.iter().map(HashMap::len).sum();
        self.entries.store(entries, Ordering::Release);
    }

    /// The clients that are subscribed to `name` and that servers do not count.
    pub(crate) fn uncounted_subscribers(&self, topic: ChannelKind, name: &[u8]) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let [channels, patterns, shards] = &*self.lock();
        let crowd = match topic {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        };
        crowd.get(name).copied().unwrap_or(0)
    }

    /// The clients that get what is published on `channel`, by name or by pattern, and that servers do not count.
    pub(crate) fn uncounted_receivers(&self, topic: ChannelKind, channel: &[u8]) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let by_name = self.uncounted_subscribers(topic, channel);
        if topic == ChannelKind::Shard {
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

    /// A panic elsewhere while the lock was held leaves whole entries: they are used as they are.
    fn lock(&self) -> MutexGuard<'_, SubscriberCounts> {
        self.crowds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LocalSubscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census")
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
        let news = |topic| local_subscribers.uncounted_receivers(topic, b"news");
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
