//! How many buckets are held at once, and whose silence is borne no longer. Pure, given the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::topology::BUCKETS;

/// The most buckets of one hold.
const MOST: usize = 64;
/// Holds in a row that may be aborted because of one proxy before its connections are ended ...
const BORNE: u32 = 5;
/// ... and for how long it must have been silent then: one that is only slow, since its machine is, answers before that.
const BORNE_FOR: Duration = Duration::from_secs(5);
/// Holds in a row that are aborted before it is told.
pub(super) const ALARMING: u32 = 10;
/// The longest wait after a hold that was aborted.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The size of the next hold of a source, and what has gone wrong of late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    size: usize,
    limit: Duration,
    /// Holds that were aborted in a row.
    aborts: u32,
    /// By proxy, the holds in a row that were aborted since it was silent.
    silent: BTreeMap<String, Silence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    since: Instant,
    holds: u32,
}

impl Group {
    /// `limit` is the longest time of a hold.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            size: 1,
            limit,
            aborts: 0,
            silent: BTreeMap::new(),
        }
    }

    /// The number of buckets of the next hold.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// A hold was committed after that time.
    pub(super) fn committed(&mut self, took: Duration) {
        self.aborts = 0;
        self.silent.clear();
        if took < self.limit / 2 {
            self.size = (self.size * 2).min(MOST);
        }
    }

    /// A hold was aborted; these proxies had not vouched.
    pub(super) fn aborted<'p>(&mut self, silent: impl Iterator<Item = &'p String>, now: Instant) {
        self.aborts += 1;
        self.size = (self.size / 2).max(1);
        let counted = silent.map(|proxy| {
            let begun = Silence {
                since: now,
                holds: 0,
            };
            let Silence { since, holds } = self.silent.get(proxy).copied().unwrap_or(begun);
            let holds = holds + 1;
            (proxy.clone(), Silence { since, holds })
        });
        self.silent = counted.collect();
    }

    /// Returns true if the connections of a proxy are to be ended, as it does not vouch for them.
    pub(super) fn is_banned(&self, proxy: &str, now: Instant) -> bool {
        self.silent.get(proxy).is_some_and(|silence| {
            silence.holds >= BORNE && now.saturating_duration_since(silence.since) >= BORNE_FOR
        })
    }

    /// The number of holds in a row that were aborted.
    pub(super) fn aborts(&self) -> u32 {
        self.aborts
    }

    /// How long to wait before the next hold: clients that have waited are to get something done first, and more and more
    /// of it if no hold succeeds.
    pub(super) fn pause(&self) -> Duration {
        match self.aborts {
            0 => Duration::ZERO,
            1..=BORNE => self.limit * 2,
            aborts => {
                let doubled = 1_u32 << (aborts - BORNE).min(10);
                (self.limit * 2 * doubled).min(LONGEST_PAUSE.max(self.limit * 2))
            }
        }
    }
}

/// The number of holds of a source if all are short.
pub(super) fn least_holds() -> usize {
    let mut group = Group::new(Duration::MAX);
    let (mut left, mut holds) = (usize::from(BUCKETS), 0);
    while left > 0 {
        left = left.saturating_sub(group.size());
        group.committed(Duration::ZERO);
        holds += 1;
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn holds_grow_while_they_are_short() {
        let mut group = Group::new(ms(100));
        let mut sizes = Vec::new();
        for took in [10, 10, 60, 10, 10, 10, 10, 10, 10] {
            sizes.push(group.size());
            group.committed(ms(took));
        }
        assert_eq!(sizes, [1, 2, 4, 4, 8, 16, 32, 64, 64]);
        group.aborted([].into_iter(), Instant::now());
        assert_eq!(group.size(), 32);
    }

    #[test]
    fn source_has_few_holds_if_all_are_short() {
        // 1 + 2 + ... + 32 = 63, and 15 of 64 and one of what is left.
        assert_eq!(least_holds(), 6 + 15 + 1);
    }

    #[test]
    fn proxy_is_banned_after_silences_for_some_seconds() {
        let mut group = Group::new(ms(100));
        let [one, two] = ["one", "two"].map(str::to_owned);
        let begun = Instant::now();
        for nth in 0..4 {
            group.aborted([&one, &two].into_iter(), begun + ms(nth * 2000));
        }
        let late = begun + ms(6500);
        assert!(!group.is_banned("one", late));
        group.aborted([&one].into_iter(), late);
        assert!(group.is_banned("one", late) && !group.is_banned("two", late));
        group.committed(ms(1));
        for _ in 0..9 {
            group.aborted([&one].into_iter(), late);
        }
        assert!(!group.is_banned("one", late + ms(4900)));
        assert!(group.is_banned("one", late + ms(5000)));
    }

    #[test]
    fn pauses_grow_while_no_hold_succeeds() {
        let mut group = Group::new(ms(100));
        let mut pauses = vec![group.pause()];
        for _ in 0..100 {
            group.aborted([].into_iter(), Instant::now());
            pauses.push(group.pause());
        }
        assert_eq!(pauses[..2], [ms(0), ms(200)]);
        assert_eq!(pauses[5..8], [ms(200), ms(400), ms(800)]);
        assert_eq!((pauses[100], group.aborts()), (LONGEST_PAUSE, 100));
    }
}
