//! State that outlives a request: of one client, of one worker, and of a whole pool.
//!
//! `local/`, `merge/` and `plan/` read and change it; no module here writes a reply.

pub(crate) mod acl_log;
pub(crate) mod announced_subscribers;
pub(crate) mod client;
pub mod client_registry;
pub(crate) mod latency;
pub(crate) mod profile;
pub mod quotas;
pub(crate) mod scripts;
pub(crate) mod settings;
pub mod shared;
pub(crate) mod subscriber_counts;
pub(crate) mod tunables;
pub mod users;
