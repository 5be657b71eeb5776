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

use tokio::time::{Instant, sleep_until};

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
    /// The server has refused a blocked client, and taken none since.
    refuses_blocked: Cell<bool>,
    /// When the next of those may try the server who do so for themselves, and how many have.
    turns: Cell<Option<(Instant, u32)>>,
}

impl Failover {
    /// That of a server of this pool; none if the pool does not wait.
    pub(crate) fn of(config: &PoolConfig) -> Option<Self> {
        let fails_over = config.fails_over();
        fails_over.then(|| Self::within(config.failover_timeout()))
    }

    /// That of a server whose requests wait for so long.
    fn within(limit: Duration) -> Self {
        Self {
            within: Cell::new(limit),
            lost_at: Cell::default(),
            refuses: Cell::default(),
            failures: Cell::default(),
            refusals: Cell::default(),
            refuses_blocked: Cell::default(),
            turns: Cell::default(),
        }
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
        pause_after(self.failures.get().saturating_sub(1))
    }

    /// Notes that the server has refused a request.
    pub(crate) fn note_refusal(&self) {
        self.refusals.set(self.refusals.get() + 1);
    }

    /// How often the server has refused requests.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.get()
    }

    /// Notes whether the server refuses blocked clients.
    pub(crate) fn set_refuses_blocked(&self, refuses: bool) {
        self.refuses_blocked.set(refuses);
    }

    /// When what has waited since then has waited for too long.
    pub(crate) fn end_of(&self, since: Instant) -> Instant {
        since + self.within.get()
    }

    /// Lets one client after the other try a server without a primary, each after a pause: there may be thousands that are
    /// blocked. `Err` is the time of the next turn.
    pub(crate) fn take_turn(&self, now: Instant) -> Result<(), Instant> {
        if self.is_well() && !self.refuses_blocked.get() {
            self.turns.set(None);
            return Ok(());
        }
        let (next_at, turns) = self.turns.get().unwrap_or((now, 0));
        if now < next_at {
            return Err(next_at);
        }
        let next = (now + pause_after(turns), turns.saturating_add(1));
        self.turns.set(Some(next));
        Ok(())
    }

    /// Completes at the next turn, or when what has waited since then has waited for too long.
    pub(crate) async fn turn(&self, since: Instant) {
        let end = self.end_of(since);
        while let Err(next_at) = self.take_turn(Instant::now())
            && Instant::now() < end
        {
            sleep_until(next_at.min(end)).await;
        }
    }

    /// The time for an attempt.
    pub(crate) fn open_within(&self, timeout: Option<Duration>) -> Duration {
        timeout.unwrap_or(OPEN_WITHIN).min(self.within.get())
    }
}

/// The pause after so many attempts.
fn pause_after(attempts: u32) -> Duration {
    (PAUSE * (1 << attempts.min(4))).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_after_the_other_tries_a_server_without_a_primary() {
        let failover = Failover::within(Duration::from_secs(5));
        let begun = Instant::now();
        assert_eq!(
            [failover.take_turn(begun), failover.take_turn(begun)],
            [Ok(()); 2]
        );
        failover.lose(begun);
        let turns = (0..10_000).filter(|milli| {
            let now = begun + Duration::from_millis(*milli);
            (0..100).filter(|_| failover.take_turn(now).is_ok()).count() > 0
        });
        assert!((60..80).contains(&turns.count()));
        failover.find();
        assert_eq!(
            [failover.take_turn(begun), failover.take_turn(begun)],
            [Ok(()); 2]
        );
        failover.set_refuses_blocked(true);
        let taken = [failover.take_turn(begun), failover.take_turn(begun)];
        assert_eq!(taken, [Ok(()), Err(begun + PAUSE)]);
    }
}
