//! Quotas: what a pool, or a user of it, may use.
//!
//! ```text
//! file --limits--> Tenant (all workers): token buckets
//!                    ^ batches of tokens
//!                  WorkerTenant (one worker) <--admit, charge-- sessions
//! ```
//!
//! A request costs a few plain cells: a worker takes tokens in batches of a thousandth of a second's worth. So no more
//! than that for each worker is admitted beyond the limit, and a worker that has all the load gets all the tokens.

mod connection;
mod kind;
mod local_tokens;
mod memory;
mod moment;
mod refused;
mod tenant;
mod token_bucket;
mod worker_tenant;
mod worker_tenants;

pub use connection::TenantConnection;
pub use kind::{Quota, QuotaKind};
pub use memory::TenantMemory;
pub use moment::Moment;
pub use refused::RefusedCounts;
pub use tenant::{OverQuota, Scope, Tenant};
pub use worker_tenant::{WorkerTenant, admit};
pub use worker_tenants::WorkerTenants;

#[cfg(test)]
mod tests;
