//! How long a worker that has run out of work waits before it looks at its sockets again.
//!
//! Where many clients send small requests, each wakes the worker alone, and each is then written to its server alone: the
//! kernel's work for a request is several times the proxy's. A short pause lets the requests of some clients gather, and
//! they share what they cost the worker, the servers and the network. The pause is made only where it gathers
//! something. It stays a small part of the time that a client takes from one request to the next; beyond 50 us it is a
//! part of what the servers themselves take to answer as well, or a very small part of a client's time.
//!
//! ```text
//! sessions --on_read--> Pace, window by window --> Pause (one number) --> the thread, before it blocks
//! ```
//!
//! Counts reads, not requests: what comes in one read is gathered already. Reads from servers count too, for their
//! replies are gathered as well.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long reads are counted before the pause is set anew.
const WINDOW: Duration = Duration::from_millis(10);

/// The longest pause before servers that answer at once.
const PAUSE_LONG: Duration = Duration::from_micros(50);

/// The longest pause of all.
const PAUSE_MOST: Duration = Duration::from_micros(150);

/// Reads that a pause must gather, on an average, in quarters.
const GATHERED_QUARTERS: u32 = 7;

/// A shorter pause gathers too little for the sleep that it costs.
const PAUSE_LEAST: Duration = Duration::from_micros(15);

/// Times that a pause must fit into what passes from one read of a client to its next.
const CYCLE_PARTS: u32 = 12;

/// The same, for a pause beyond [`PAUSE_LONG`] that is no longer than what servers take to answer.
const LONG_CYCLE_PARTS: u32 = 64;

/// Times that any other pause beyond [`PAUSE_LONG`] must fit into what servers take to answer.
const ANSWER_PARTS: u32 = 4;

/// The pause that is due, as the thread sees it while it has nothing to do. One a worker.
#[derive(Debug, Clone, Default)]
pub struct ParkDelay(Arc<AtomicU32>);

impl ParkDelay {
    /// Zero where the worker is to block at once.
    #[must_use]
    pub fn due(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed).into())
    }

    fn set(&self, pause: Duration) {
        let nanos = u32::try_from(pause.as_nanos()).unwrap_or(0);
        self.0.store(nanos, Ordering::Relaxed);
    }
}

/// Watches how often clients and servers are read.
#[derive(Debug, Default)]
pub(crate) struct LoadMeter {
    pause: ParkDelay,
    window: Cell<Option<Window>>,
    /// Clients that were read in the window before.
    clients: Cell<u32>,
}

/// What has been read since a moment.
#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    /// Reads from clients.
    reads: u32,
    /// Clients that were read.
    clients: u32,
    /// Reads from servers.
    replies: u32,
    /// The sum of what the oldest request at each of them had waited.
    waited: Duration,
}

/// When a client was last read, as far as [`Pace`] wants to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadStamp(Option<Instant>);

impl LoadMeter {
    pub(crate) fn new(pause: ParkDelay) -> Self {
        Self {
            pause,
            window: Cell::default(),
            clients: Cell::default(),
        }
    }

    /// A client was read.
    pub(crate) fn on_read(&self, last: &mut ReadStamp, now: Instant) {
        let window = self.window.get();
        let elapsed = window.map_or(WINDOW, |window| now.saturating_duration_since(window.since));
        let mut window = match window {
            Some(window) if elapsed < WINDOW => window,
            over => {
                self.clients.set(over.map_or(0, |window| window.clients));
                self.pause
                    .set(over.map_or(Duration::ZERO, |window| window.pause(elapsed)));
                Window {
                    since: now,
                    reads: 0,
                    clients: 0,
                    replies: 0,
                    waited: Duration::ZERO,
                }
            }
        };
        window.reads = window.reads.saturating_add(1);
        if last.0 != Some(window.since) {
            last.0 = Some(window.since);
            window.clients += 1;
        }
        self.window.set(Some(window));
    }

    /// Whether more than one client has been read lately.
    pub(crate) fn is_shared(&self) -> bool {
        let now = self.window.get().map_or(0, |window| window.clients);
        now.max(self.clients.get()) > 1
    }

    /// A server was read, and the oldest request that it owed had waited for so long.
    pub(crate) fn on_server_read(&self, waited: Duration) {
        if let Some(mut window) = self.window.get() {
            window.replies = window.replies.saturating_add(1);
            window.waited = window.waited.saturating_add(waited);
            self.window.set(Some(window));
        }
    }
}

impl Window {
    /// The pause that would have been right while this window lasted.
    fn pause(self, elapsed: Duration) -> Duration {
        let cycle = (elapsed / self.reads.max(1)).saturating_mul(self.clients);
        let answer = self.waited / self.replies.max(1);
        let most = answer
            .min(cycle / LONG_CYCLE_PARTS)
            .max(answer / ANSWER_PARTS)
            .clamp(PAUSE_LONG, PAUSE_MOST);
        let pause = most.min(cycle / CYCLE_PARTS);
        let gap = elapsed / self.reads.saturating_add(self.replies).max(1);
        if pause >= PAUSE_LEAST && gap.saturating_mul(GATHERED_QUARTERS) / 4 < pause {
            pause
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause after `clients` were read in turn, one every `gap`, for three windows, before servers that take `answer`.
    fn pause(clients: usize, gap: Duration, answer: Duration) -> Duration {
        let pause = ParkDelay::default();
        let pace = LoadMeter::new(pause.clone());
        let mut lasts = vec![ReadStamp::default(); clients];
        let start = Instant::now();
        let mut now = start;
        while now < start + 3 * WINDOW {
            for last in &mut lasts {
                pace.on_read(last, now);
                pace.on_server_read(answer);
                now += gap;
            }
        }
        pause.due()
    }

    #[test]
    fn park_delay_is_used_where_it_batches_requests() {
        let us = Duration::from_micros;
        for (clients, gap, answer, expected) in [
            // One client, as fast as it can, or with a pipeline: nobody to wait for.
            (1, us(20), us(60), us(0)),
            // A few in a loop: a pause would cost them more than it saves.
            (8, us(12), us(60), us(0)),
            // Many.
            (40, us(15), us(100), us(50)),
            (30, us(15), us(100), us(37)),
            (1000, us(15), us(40), us(50)),
            // So many that each waits long from one request to the next: up to what servers take.
            (1000, us(15), us(100), us(100)),
            (1000, us(15), us(400), us(150)),
            (2000, us(15), us(5000), us(150)),
            // Not so many, before servers that take their time.
            (200, us(15), us(100), us(50)),
            (200, us(15), us(400), us(100)),
            (200, us(15), us(5000), us(150)),
            (80, us(15), us(5000), us(100)),
            (30, us(15), us(400), us(37)),
            // Many, that send seldom: the next one is not worth waiting for.
            (1000, us(120), us(60), us(0)),
            (100, us(1000), us(5000), us(0)),
        ] {
            let pause = pause(clients, gap, answer);
            assert!(
                pause.abs_diff(expected) <= us(1),
                "{clients} clients, every {gap:?}, answers after {answer:?}: {pause:?}"
            );
        }
    }

    #[test]
    fn single_replies_are_worth_a_park_delay() {
        for (replies, expected) in [(0, Duration::ZERO), (1, PAUSE_LONG)] {
            let pause = ParkDelay::default();
            let pace = LoadMeter::new(pause.clone());
            let mut lasts = vec![ReadStamp::default(); 400];
            let mut now = Instant::now();
            for last in &mut lasts {
                pace.on_read(last, now);
                (0..replies).for_each(|_| pace.on_server_read(Duration::from_micros(40)));
                now += Duration::from_micros(40);
            }
            assert_eq!(pause.due(), expected, "{replies} replies a request");
        }
    }

    #[test]
    fn first_read_after_idle_ends_the_park_delay() {
        let pause = ParkDelay::default();
        let pace = LoadMeter::new(pause.clone());
        let mut now = Instant::now();
        let mut lasts = vec![ReadStamp::default(); 100];
        for _ in 0..20 {
            for last in &mut lasts {
                pace.on_read(last, now);
                now += Duration::from_micros(10);
            }
        }
        assert_eq!(pause.due(), PAUSE_LONG);
        pace.on_read(&mut ReadStamp::default(), now + Duration::from_secs(1));
        assert_eq!(pause.due(), Duration::ZERO);
    }
}
