//! What to copy.

use crate::config::PoolConfig;

/// What to copy.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Job<'a> {
    /// The pool whose keys are copied.
    pub from: &'a PoolConfig,
    /// The pool whose servers get them.
    pub to: &'a PoolConfig,
    /// The maximum number of keys per second of each source.
    pub per_second: Option<u32>,
    /// End when all changes have been copied once.
    pub is_once: bool,
    /// The destinations may have keys.
    pub into_data: bool,
    /// Begin without asking.
    pub is_confirmed: bool,
    /// Report as JSON, a line for each event.
    pub json: bool,
}
