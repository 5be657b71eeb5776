//! The limits of a quota.

use std::num::NonZeroU64;

/// What a quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaKind {
    /// Requests per second.
    Requests,
    /// Bytes of requests and replies per second.
    Bytes,
    /// Connections at a time.
    Connections,
    /// Bytes that its clients hold in the proxy: requests that are not whole yet or queued, and replies that are not read.
    Memory,
}

impl QuotaKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Requests, Self::Bytes, Self::Connections, Self::Memory];

    /// The name in the configuration file and in statistics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_second",
            Self::Bytes => "bytes_per_second",
            Self::Connections => "connections",
            Self::Memory => "memory",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// The limits of a pool, or of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    limits: [Option<NonZeroU64>; QuotaKind::ALL.len()],
}

impl Quota {
    /// The limit of a kind.
    #[must_use]
    pub fn get(&self, kind: QuotaKind) -> Option<NonZeroU64> {
        self.limits.get(kind.index()).copied().flatten()
    }

    /// The same quota with a limit of this kind.
    #[must_use]
    pub fn with(mut self, kind: QuotaKind, limit: NonZeroU64) -> Self {
        if let Some(of_kind) = self.limits.get_mut(kind.index()) {
            *of_kind = Some(limit);
        }
        self
    }

    /// Returns true if each request counts.
    #[must_use]
    pub fn has_rates(&self) -> bool {
        let rates = [QuotaKind::Requests, QuotaKind::Bytes];
        rates.into_iter().any(|kind| self.get(kind).is_some())
    }
}
