//! Decisions about the configuration of a proxy. Runs on the control thread, and knows nothing of the data plane.

mod validate;

pub use validate::{is_command, warnings};
