//! What changes a running proxy: decisions about its configuration, and the watchers that tell what they find to the pools'
//! topologies. Runs on the control thread, and knows nothing of the data plane.

mod conn;
pub mod diff;
mod dns;
mod failover;
mod marks;
mod probe;
mod roles;
mod validate;

pub use dns::follow_names;
pub use failover::{FailedOver, FailoverError, fail_over};
pub use marks::{marks_read, watch_marks};
pub use probe::probe_servers;
pub use roles::{roles_read, watch_roles};
pub use validate::{CHECKS, expiry_warning, expiry_warnings, faulty_rule, warnings};
