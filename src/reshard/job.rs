//! What to do, as the command line says.

use std::time::Duration;

use crate::config::PoolConfig;

/// What all commands need.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The pool, as the file has it from which the move starts, or as any proxy has it.
    pub pool: &'a PoolConfig,
    /// What is wanted.
    pub action: Action<'a>,
    /// Only addresses of servers change: new servers replicate old ones, and take their places. For a plan, and a start.
    pub by_replication: bool,
    /// The limits and permissions.
    pub limits: Limits<'a>,
    /// Have the plan look at all keys for big ones, not at a sample.
    pub looks_at_all_keys: bool,
    /// Report as JSON, a line for each event.
    pub json: bool,
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Report what a move to this pool would do, and what prevents it.
    Plan(&'a PoolConfig),
    /// Move the keys to where this pool has them.
    Start(&'a PoolConfig),
    /// Go on with the move that the marks tell of.
    Run,
    /// Report how far it is; again and again if wanted.
    Status {
        /// Until a signal.
        watch: bool,
    },
    /// Have its coordinator begin no hold, and copy nothing.
    Pause,
    /// Have it go on.
    Resume,
    /// Take it back, if nothing has moved yet.
    Abort,
    /// Do what is left when all buckets have moved.
    Finish {
        /// Then remove the marks.
        forget: bool,
    },
}

/// The limits and permissions of a move.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// The maximum number of keys per second of each source.
    pub per_second: Option<u32>,
    /// The longest time for which requests for some keys wait.
    pub hold: Duration,
    /// Addresses whose connections to sources are known not to write keys: with or without a port.
    pub allowed: &'a [String],
    /// Begin without asking, also where copies are lost with the memory of their server.
    pub is_confirmed: bool,
}
