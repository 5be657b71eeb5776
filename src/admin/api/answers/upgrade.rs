//! The answer to a request to replace the process.

use crate::admin::api::described::described;

described! {
    /// A new process serves in place of this one.
    pub struct Upgraded {
        /// Id of this process, which ends when it has no more clients.
        old_pid: u32,
        /// Id of the new process.
        new_pid: u32,
        /// Version of the new process.
        version: String,
        /// Clients that the new process has taken over so far.
        moved: u64,
        /// Clients that are still with this process: they are in a transaction, wait for something, or are closed when they
        /// are answered.
        left: u64,
        /// Time limit for those.
        within_seconds: u64,
    }
}
