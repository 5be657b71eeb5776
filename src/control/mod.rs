//! Decisions about the configuration of a proxy. Runs on the control thread, and knows nothing of the data plane.

pub mod diff;
mod validate;

pub use validate::{is_command, warnings};
