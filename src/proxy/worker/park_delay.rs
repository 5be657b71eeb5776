//! The delay of a worker that has run out of work before it polls its sockets again.
//!
//! If many clients send small requests, each wakes the worker alone, and each is then written to its server alone: the
//! kernel's work for a request is several times the proxy's. A short delay batches the requests of several clients,
//! which then share their cost to the worker, the servers and the network. The delay is applied only if it batches
//! something. It stays a small part of the time that a client takes from one request to the next; beyond 50 us it is a
//! part of the servers' reply time as well, or a very small part of a client's time.
//!
//! ```text
//! sessions --on_read--> LoadMeter, window by window --> ParkDelay (one number) --> the thread, before it parks
//! ```
//!
//! Counts reads, not requests: the requests of one read are batched already. Reads from servers count too, since their
//! replies are batched as well.

use std::cell::Cell;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The period after which the delay is recomputed.
const WINDOW: Duration = Duration::from_millis(10);

/// The longest delay with servers that reply at once.
const DELAY_LONG: Duration = Duration::from_micros(50);

/// The longest delay of all.
const DELAY_MAX: Duration = Duration::from_micros(150);

/// Reads that a delay must batch on average, in quarters.
const GATHERED_QUARTERS: u32 = 7;

/// The shortest delay: a shorter one batches too little for the sleep that it costs.
const DELAY_MIN: Duration = Duration::from_micros(15);

/// Minimum ratio of the time between two reads of a client to a delay.
const CYCLE_PARTS: u32 = 12;

/// The same, for a delay beyond [`DELAY_LONG`] that does not exceed the servers' reply time.
const LONG_CYCLE_PARTS: u32 = 64;

/// Minimum ratio of the servers' reply time to any other delay beyond [`DELAY_LONG`].
const ANSWER_PARTS: u32 = 4;

/// The current delay, as the thread reads it when it has nothing to do. One per worker.
#[derive(Debug, Clone, Default)]
pub struct ParkDelay(Arc<AtomicU32>);

impl ParkDelay {
    /// Returns the current delay; zero to park at once.
    #[must_use]
    pub fn due(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed).into())
    }

    fn set(&self, delay: Duration) {
        let nanos = u32::try_from(delay.as_nanos()).unwrap_or(0);
        self.0.store(nanos, Ordering::Relaxed);
    }
}

/// Measures how often clients and servers are read.
#[derive(Debug, Default)]
pub(crate) struct LoadMeter {
    delay: ParkDelay,
    window: Cell<Option<Window>>,
    /// Clients that were served in the previous window.
    served: Cell<u32>,
}

/// The reads of one window.
#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    /// Reads from clients.
    reads: u32,
    /// Clients that were read.
    clients: u32,
    /// Clients that were read, or whose requests were taken from what had been read before.
    served: u32,
    /// Reads from servers.
    replies: u32,
    /// The sum of the waiting times of the oldest request at each of those reads.
    waited: Duration,
}

/// The window in which a client was last served, for [`LoadMeter`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ServeStamp {
    window: Option<Instant>,
    /// It was also read in that window.
    is_read: bool,
}

impl LoadMeter {
    pub(crate) fn new(delay: ParkDelay) -> Self {
        Self {
            delay,
            window: Cell::default(),
            served: Cell::default(),
        }
    }

    /// Counts a read from a client.
    pub(crate) fn on_read(&self, last: &mut ServeStamp, now: Instant) {
        let mut window = self.window_at(now);
        window.reads = window.reads.saturating_add(1);
        window.serve(last);
        if !mem::replace(&mut last.is_read, true) {
            window.clients += 1;
        }
        self.window.set(Some(window));
    }

    /// Counts a client whose requests are taken from what was read before: one read may hold many turns of them.
    pub(crate) fn on_resume(&self, last: &mut ServeStamp, now: Instant) {
        let mut window = self.window_at(now);
        window.serve(last);
        self.window.set(Some(window));
    }

    /// The current window; a new one if the last is over.
    fn window_at(&self, now: Instant) -> Window {
        let window = self.window.get();
        let elapsed = window.map_or(WINDOW, |window| now.saturating_duration_since(window.since));
        match window {
            Some(window) if elapsed < WINDOW => window,
            over => {
                self.served.set(over.map_or(0, |window| window.served));
                self.delay
                    .set(over.map_or(Duration::ZERO, |window| window.delay(elapsed)));
                Window {
                    since: now,
                    reads: 0,
                    clients: 0,
                    served: 0,
                    replies: 0,
                    waited: Duration::ZERO,
                }
            }
        }
    }

    /// Returns true if more than one client was served recently.
    pub(crate) fn is_shared(&self) -> bool {
        let now = self.window.get().map_or(0, |window| window.served);
        now.max(self.served.get()) > 1
    }

    /// Counts a read from a server whose oldest pending request had waited for `waited`.
    pub(crate) fn on_server_read(&self, waited: Duration) {
        if let Some(mut window) = self.window.get() {
            window.replies = window.replies.saturating_add(1);
            window.waited = window.waited.saturating_add(waited);
            self.window.set(Some(window));
        }
    }
}

impl Window {
    /// Counts a client, once in the window.
    fn serve(&mut self, last: &mut ServeStamp) {
        if last.window != Some(self.since) {
            *last = ServeStamp {
                window: Some(self.since),
                is_read: false,
            };
            self.served += 1;
        }
    }

    /// The delay that would have been right for this window.
    fn delay(self, elapsed: Duration) -> Duration {
        let cycle = (elapsed / self.reads.max(1)).saturating_mul(self.clients);
        let answer = self.waited / self.replies.max(1);
        let most = answer
            .min(cycle / LONG_CYCLE_PARTS)
            .max(answer / ANSWER_PARTS)
            .clamp(DELAY_LONG, DELAY_MAX);
        let delay = most.min(cycle / CYCLE_PARTS);
        let gap = elapsed / self.reads.saturating_add(self.replies).max(1);
        if delay >= DELAY_MIN && gap.saturating_mul(GATHERED_QUARTERS) / 4 < delay {
            delay
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delay after `clients` were read in turn, one every `gap`, for three windows, with servers that reply after
    /// `answer`.
    fn delay(clients: usize, gap: Duration, answer: Duration) -> Duration {
        let delay = ParkDelay::default();
        let meter = LoadMeter::new(delay.clone());
        let mut lasts = vec![ServeStamp::default(); clients];
        let start = Instant::now();
        let mut now = start;
        while now < start + 3 * WINDOW {
            for last in &mut lasts {
                meter.on_read(last, now);
                meter.on_server_read(answer);
                now += gap;
            }
        }
        delay.due()
    }

    #[test]
    fn park_delay_is_used_where_it_batches_requests() {
        let us = Duration::from_micros;
        for (clients, gap, answer, expected) in [
            // One client, as fast as it can, or pipelining: nothing to batch.
            (1, us(20), us(60), us(0)),
            // A few in a loop: a delay would cost them more than it saves.
            (8, us(12), us(60), us(0)),
            // Many.
            (40, us(15), us(100), us(50)),
            (30, us(15), us(100), us(37)),
            (1000, us(15), us(40), us(50)),
            // So many that each waits long from one request to the next: up to the servers' reply time.
            (1000, us(15), us(100), us(100)),
            (1000, us(15), us(400), us(150)),
            (2000, us(15), us(5000), us(150)),
            // Not so many, with slow servers.
            (200, us(15), us(100), us(50)),
            (200, us(15), us(400), us(100)),
            (200, us(15), us(5000), us(150)),
            (80, us(15), us(5000), us(100)),
            (30, us(15), us(400), us(37)),
            // Many that rarely send: the next one is not worth waiting for.
            (1000, us(120), us(60), us(0)),
            (100, us(1000), us(5000), us(0)),
        ] {
            let delay = delay(clients, gap, answer);
            assert!(
                delay.abs_diff(expected) <= us(1),
                "{clients} clients, every {gap:?}, answers after {answer:?}: {delay:?}"
            );
        }
    }

    #[test]
    fn single_replies_are_worth_a_park_delay() {
        for (replies, expected) in [(0, Duration::ZERO), (1, DELAY_LONG)] {
            let delay = ParkDelay::default();
            let meter = LoadMeter::new(delay.clone());
            let mut lasts = vec![ServeStamp::default(); 400];
            let mut now = Instant::now();
            for last in &mut lasts {
                meter.on_read(last, now);
                (0..replies).for_each(|_| meter.on_server_read(Duration::from_micros(40)));
                now += Duration::from_micros(40);
            }
            assert_eq!(delay.due(), expected, "{replies} replies a request");
        }
    }

    #[test]
    fn first_read_after_idle_ends_the_park_delay() {
        let delay = ParkDelay::default();
        let meter = LoadMeter::new(delay.clone());
        let mut now = Instant::now();
        let mut lasts = vec![ServeStamp::default(); 100];
        for _ in 0..20 {
            for last in &mut lasts {
                meter.on_read(last, now);
                now += Duration::from_micros(10);
            }
        }
        assert_eq!(delay.due(), DELAY_LONG);
        meter.on_read(&mut ServeStamp::default(), now + Duration::from_secs(1));
        assert_eq!(delay.due(), Duration::ZERO);
    }
    #[test]
    fn clients_that_are_served_without_a_read_share_the_worker() {
        let meter = LoadMeter::new(ParkDelay::default());
        let mut lasts = [ServeStamp::default(); 2];
        let mut now = Instant::now();
        for last in &mut lasts {
            meter.on_read(last, now);
        }
        for _ in 0..10 {
            now += WINDOW;
            for last in &mut lasts {
                meter.on_resume(last, now);
            }
            assert!(meter.is_shared());
        }
        for _ in 0..3 {
            now += WINDOW;
            meter.on_resume(&mut lasts[0], now);
        }
        assert!(!meter.is_shared());
    }
}
