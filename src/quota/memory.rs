//! What the clients of a tenant hold in the proxy.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::kind::QuotaKind;
use super::tenant::{OverQuota, Tenant};
use super::worker_tenant::WorkerTenant;

/// The bytes that one client of a tenant holds, counted until it is dropped.
#[derive(Debug)]
pub struct TenantMemory {
    tenant: Arc<Tenant>,
    bytes: u64,
}

impl TenantMemory {
    /// Nothing yet.
    #[must_use]
    pub fn of(tenant: &WorkerTenant) -> Self {
        Self {
            tenant: Arc::clone(tenant.tenant()),
            bytes: 0,
        }
    }

    /// Returns true if it is some of this tenant.
    #[must_use]
    pub fn is_of(&self, tenant: &WorkerTenant) -> bool {
        Arc::ptr_eq(&self.tenant, tenant.tenant())
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes the number of bytes.
    pub fn set(&mut self, bytes: u64) {
        let used = self.tenant.memory();
        if bytes > self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for TenantMemory {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl WorkerTenant {
    /// Returns true if its clients hold more than this many eighths of what they may.
    #[must_use]
    pub fn memory_exceeds_eighths(&self, eighths: u64) -> bool {
        let tenant = self.tenant();
        let limit = tenant.limit(QuotaKind::Memory);
        limit.is_some_and(|limit| {
            tenant.memory().load(Ordering::Relaxed) > limit.get() / 8 * eighths
        })
    }

    /// What a client is told that needs more than there is.
    #[must_use]
    pub fn over_memory(&self) -> OverQuota {
        OverQuota::new(self.tenant(), QuotaKind::Memory)
    }
}
