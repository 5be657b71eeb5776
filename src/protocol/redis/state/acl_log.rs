//! What users were not allowed to do: the entries of `ACL LOG`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time within which equal denials are one entry, as in Redis.
const SAME_WITHIN: Duration = Duration::from_secs(60);

/// The maximum number of bytes of a key that are kept.
const OBJECT_BYTES: usize = 1024;

/// The log, the latest first.
#[derive(Debug, Default)]
pub(crate) struct AclLog(Mutex<VecDeque<Denial>>);

/// An entry.
#[derive(Debug, Clone)]
pub(crate) struct Denial {
    /// The number of equal ones.
    pub(crate) count: u64,
    pub(crate) reason: Reason,
    pub(crate) in_multi: bool,
    /// The command, key or channel.
    pub(crate) object: Box<[u8]>,
    pub(crate) user: Arc<[u8]>,
    pub(crate) at: Instant,
    /// The client's line in `CLIENT LIST`.
    pub(crate) client: String,
}

/// What was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Auth,
    Command,
    Key,
    Channel,
}

impl Reason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }
}

impl Denial {
    pub(crate) fn new(
        reason: Reason,
        in_multi: bool,
        object: &[u8],
        user: Arc<[u8]>,
        client: String,
    ) -> Self {
        Self {
            count: 1,
            reason,
            in_multi,
            object: object.get(..OBJECT_BYTES).unwrap_or(object).into(),
            user,
            at: Instant::now(),
            client,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.reason == other.reason
            && self.in_multi == other.in_multi
            && self.at.saturating_duration_since(other.at) <= SAME_WITHIN
            && self.object == other.object
            && self.user == other.user
    }
}

impl AclLog {
    /// Adds a denial. At most `most` are kept.
    pub(crate) fn add(&self, mut denial: Denial, most: usize) {
        let mut entries = self.lock();
        if let Some(at) = entries.iter().position(|known| denial.is_same(known))
            && let Some(known) = entries.remove(at)
        {
            denial.count = known.count.saturating_add(1);
        }
        entries.push_front(denial);
        entries.truncate(most);
    }

    /// The latest entries.
    pub(crate) fn latest(&self, count: usize) -> Vec<Denial> {
        self.lock().iter().take(count).cloned().collect()
    }

    /// Removes all entries.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Denial>> {
        // Entries are added and removed as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
