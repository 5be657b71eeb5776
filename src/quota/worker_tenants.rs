//! The tenants of one worker that have limits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::tenant::Tenant;
use super::worker_tenant::WorkerTenant;

/// The tenants that clients of one worker are.
#[derive(Debug, Default)]
pub struct WorkerTenants {
    by_id: RefCell<HashMap<u64, Rc<WorkerTenant>>>,
}

impl WorkerTenants {
    /// This worker's part of a tenant; `None` as long as it has no limits.
    pub fn of(&self, tenant: &Arc<Tenant>) -> Option<Rc<WorkerTenant>> {
        if !tenant.is_limited() {
            return None;
        }
        let mut by_id = self.by_id.borrow_mut();
        if !by_id.contains_key(&tenant.id()) {
            // Those of users that have gone, or have no client here.
            by_id.retain(|_, known| Rc::strong_count(known) > 1);
        }
        let new = || Rc::new(WorkerTenant::new(Arc::clone(tenant)));
        Some(Rc::clone(by_id.entry(tenant.id()).or_insert_with(new)))
    }
}
