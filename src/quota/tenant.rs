//! A pool, or a user, with what it uses: shared by all workers.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::text::exact_size;

use super::kind::{Quota, QuotaKind};
use super::moment::Moment;
use super::refused::RefusedCounts;
use super::token_bucket::TokenBucket;

/// Who has a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All clients of a pool.
    Pool,
    /// All clients of a user.
    User,
}

/// Who may use only so much. Its limits may change at any time.
#[derive(Debug)]
pub struct Tenant {
    id: u64,
    scope: Scope,
    name: Arc<[u8]>,
    /// By kind; 0 is no limit.
    limits: [AtomicU64; QuotaKind::ALL.len()],
    requests: TokenBucket,
    bytes: TokenBucket,
    connections: AtomicU64,
    memory: AtomicU64,
    /// What counts its refusals, if somebody reads it.
    refused: ArcSwapOption<RefusedCounts>,
}

impl Tenant {
    /// One without limits.
    #[must_use]
    pub fn new(scope: Scope, name: &[u8]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            scope,
            name: name.into(),
            limits: Default::default(),
            requests: TokenBucket::default(),
            bytes: TokenBucket::default(),
            connections: AtomicU64::default(),
            memory: AtomicU64::default(),
            refused: ArcSwapOption::empty(),
        }
    }

    /// Has its refusals counted there.
    pub fn count_refusals(&self, counts: Option<&Arc<RefusedCounts>>) {
        self.refused.store(counts.cloned());
    }

    /// Its identity.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Returns true if it has any limit.
    pub(super) fn is_limited(&self) -> bool {
        let limits = self.limits.iter();
        limits
            .map(|limit| limit.load(Ordering::Relaxed))
            .any(|limit| limit > 0)
    }

    /// Changes its limits. What it uses stays used.
    pub fn set_quota(&self, quota: &Quota) {
        for (kind, limit) in QuotaKind::ALL.into_iter().zip(&self.limits) {
            let new = quota.get(kind);
            let old = limit.swap(new.map_or(0, NonZeroU64::get), Ordering::Relaxed);
            if let (Some(old), Some(new), Some(bucket)) =
                (NonZeroU64::new(old), new, self.bucket(kind))
                && old != new
            {
                bucket.change_rate(old, new, Moment::now());
            }
        }
    }

    /// Its limit of a kind.
    #[inline]
    pub(super) fn limit(&self, kind: QuotaKind) -> Option<NonZeroU64> {
        let limit = self.limits.get(kind.index())?;
        NonZeroU64::new(limit.load(Ordering::Relaxed))
    }

    const fn bucket(&self, kind: QuotaKind) -> Option<&TokenBucket> {
        match kind {
            QuotaKind::Requests => Some(&self.requests),
            QuotaKind::Bytes => Some(&self.bytes),
            QuotaKind::Connections | QuotaKind::Memory => None,
        }
    }

    /// The number of its connections.
    pub(super) const fn connections(&self) -> &AtomicU64 {
        &self.connections
    }

    /// The bytes that its clients hold.
    pub(super) const fn memory(&self) -> &AtomicU64 {
        &self.memory
    }

    /// The bucket of its requests.
    pub(super) const fn requests(&self) -> &TokenBucket {
        &self.requests
    }

    /// The bucket of its bytes.
    pub(super) const fn bytes(&self) -> &TokenBucket {
        &self.bytes
    }
}

/// A limit that is reached. Displays a sentence for the client, which names the limit and its directive.
#[derive(Debug, Clone)]
pub struct OverQuota {
    tenant: Arc<Tenant>,
    /// What is limited.
    pub kind: QuotaKind,
}

impl OverQuota {
    pub(super) fn new(tenant: &Arc<Tenant>, kind: QuotaKind) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            kind,
        }
    }

    /// Counts that something is refused because of it.
    pub fn count(&self) {
        if let Some(refused) = &*self.tenant.refused.load() {
            refused.add(self.kind);
        }
    }
}

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, kind } = self;
        let limit = tenant.limit(*kind).map_or(0, NonZeroU64::get);
        let name = String::from_utf8_lossy(&tenant.name);
        let (scope, directive) = match tenant.scope {
            Scope::Pool => ("pool", kind.name()),
            Scope::User => ("user", "user_quotas"),
        };
        write!(f, "{scope} '{name}' is over its quota of ")?;
        match kind {
            QuotaKind::Requests => write!(f, "{limit} requests per second")?,
            QuotaKind::Bytes => write!(f, "{} per second", exact_size(limit))?,
            QuotaKind::Connections => write!(f, "{limit} connections")?,
            QuotaKind::Memory => write!(f, "{} of memory", exact_size(limit))?,
        }
        write!(f, " ({directive})")
    }
}
