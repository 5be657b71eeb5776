//! What is done while a server has no primary, in a pool that waits for one (`server_failover_timeout`).
//!
//! ```text
//! connect, handshake, ROLE --"master"--> requests --lost, or refused: READONLY, LOADING, MASTERDOWN--+
//!    ^                 \\--else----------------------------------------------------------------------+
//!    +--pause-- what was not sent, or was refused, is kept; sessions wait with their next requests <--+
//!                      |-- another primary is known: what is kept goes there, and so do they
//!                      \\-- it took too long: it fails, and they learn of that
//! ```
//!
//! Invariant: a request of which a byte was sent is sent again only if the server has said that it did nothing with it.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::PoolConfig;

/// The pause before the next attempt to connect to a server without a primary; longer after each further one.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// The time for an attempt in a pool without a `timeout`.
const OPEN_WITHIN: Duration = Duration::from_secs(1);

/// Whether a server has a primary, as the connections of one worker find it.
#[derive(Debug)]
pub(crate) struct Failover {
    /// How long requests wait.
    within: Cell<Duration>,
    /// When it was lost.
    lost_at: Cell<Option<Instant>>,
    /// The server is connected, and refuses requests.
    refuses: Cell<bool>,
    /// Failures in a row.
    failures: Cell<u32>,
    /// How often the server has refused requests. A dedicated connection from before that is not given to another client.
    refusals: Cell<u64>,
}

impl Failover {
    /// That of a server of this pool; none if the pool does not wait.
    pub(crate) fn of(config: &PoolConfig) -> Option<Self> {
        config.fails_over().then(|| Self {
            within: Cell::new(config.failover_timeout()),
            lost_at: Cell::default(),
            refuses: Cell::default(),
            failures: Cell::default(),
            refusals: Cell::default(),
        })
    }

    /// Adopts a new limit.
    pub(crate) fn set_within(&self, within: Duration) {
        self.within.set(within);
    }

    /// Notes that a connection was lost, could not be opened, or was of no use. Returns true if that has been so for too long.
    pub(crate) fn lose(&self, now: Instant) -> bool {
        self.failures.set(self.failures.get().saturating_add(1));
        let since = self.lost_at.get().unwrap_or(now);
        self.lost_at.set(Some(since));
        self.is_over(since, now)
    }

    /// Returns true if what has waited since then has waited for too long.
    pub(crate) fn is_over(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= self.within.get()
    }

    /// As [`Self::lose`], for a server that says so itself: that it is a primary is no proof that it serves.
    pub(crate) fn refuse(&self, now: Instant) -> bool {
        self.refuses.set(true);
        self.lose(now)
    }

    /// Notes that a connection to a primary is open.
    pub(crate) fn find(&self) {
        if !self.refuses.get() {
            self.serve();
        }
    }

    /// Notes that the server has served a request.
    pub(crate) fn serve(&self) {
        self.lost_at.set(None);
        self.refuses.set(false);
        self.failures.set(0);
    }

    /// Returns true if nothing is known against it.
    pub(crate) fn is_well(&self) -> bool {
        self.failures.get() == 0
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&self) -> Duration {
        let doublings = self.failures.get().saturating_sub(1).min(4);
        (PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
    }

    /// Notes that the server has refused a request.
    pub(crate) fn note_refusal(&self) {
        self.refusals.set(self.refusals.get() + 1);
    }

    /// How often the server has refused requests.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.get()
    }

    /// The time for an attempt.
    pub(crate) fn open_within(&self, timeout: Option<Duration>) -> Duration {
        timeout.unwrap_or(OPEN_WITHIN).min(self.within.get())
    }
}
