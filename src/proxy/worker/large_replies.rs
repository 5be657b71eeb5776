//! The large replies that a worker has requested from servers: a semaphore for the sessions that expect them.
//!
//! Other clients wait behind these replies on the shared connections. So only a few sessions at a time have large ones in
//! flight; the others wait for a permit, first come, first served. Sessions with small replies need none.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// The size from which replies are large.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// Expected bytes of the large replies in flight: at the limit further sessions wait. One session always has a permit.
const FLIGHT_BYTES: usize = 8 << 20;

/// The time after a large reply for which sessions without a reply so far are assumed to expect large ones.
const MEMORY: Duration = Duration::from_secs(1);

/// The semaphore of one worker.
#[derive(Debug, Default)]
pub(crate) struct LargeReplies {
    /// Bytes of all permits.
    bytes: Cell<usize>,
    /// The last large reply, and its size.
    last: Cell<Option<(Instant, usize)>>,
    waiting: RefCell<VecDeque<Waiting>>,
}

/// The permit of one session.
#[derive(Debug, Default)]
pub(crate) struct LargePermit {
    /// Bytes of the permit; 0 without one.
    bytes: Rc<Cell<usize>>,
    is_waiting: bool,
    /// A request was taken with it.
    is_active: bool,
}

#[derive(Debug)]
struct Waiting {
    permit: Rc<Cell<usize>>,
    bytes: usize,
    waker: Waker,
}

impl LargePermit {
    /// Returns true if the session waits for a permit.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting && self.bytes.get() == 0
    }

    /// Returns true if a request was taken with the permit.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }
}

impl LargeReplies {
    /// Notes the size of a large reply.
    pub(crate) fn note(&self, bytes: usize, now: Instant) {
        self.last.set(Some((now, bytes)));
    }

    /// The size that replies to a client without any so far are assumed to have.
    pub(crate) fn assumed_bytes(&self, now: Instant) -> usize {
        self.last
            .get()
            .filter(|(at, _)| now.saturating_duration_since(*at) < MEMORY)
            .map_or(0, |(_, bytes)| bytes)
    }

    /// Acquires a permit for a session that expects replies of `bytes`, or has it wait: it is woken when it has one.
    pub(crate) fn acquire(&self, permit: &mut LargePermit, bytes: usize, cx: &Context<'_>) -> bool {
        if permit.bytes.get() > 0 {
            permit.is_waiting = false;
            permit.is_active = true;
            return true;
        }
        if permit.is_waiting {
            return false;
        }
        let bytes = bytes.clamp(1, FLIGHT_BYTES);
        if self.waiting.borrow().is_empty() && self.fits(bytes) {
            self.bytes.set(self.bytes.get() + bytes);
            permit.bytes.set(bytes);
            permit.is_active = true;
            return true;
        }
        permit.is_waiting = true;
        self.waiting.borrow_mut().push_back(Waiting {
            permit: Rc::clone(&permit.bytes),
            bytes,
            waker: cx.waker().clone(),
        });
        false
    }

    /// Releases the permit of a session, if it has one, and grants it to those that wait.
    pub(crate) fn release(&self, permit: &mut LargePermit) {
        permit.is_active = false;
        if permit.is_waiting {
            let is_other = |waiting: &Waiting| !Rc::ptr_eq(&waiting.permit, &permit.bytes);
            self.waiting.borrow_mut().retain(is_other);
            permit.is_waiting = false;
        }
        self.bytes.set(self.bytes.get() - permit.bytes.take());
        while let Some(granted) = self.next() {
            self.bytes.set(self.bytes.get() + granted.bytes);
            granted.permit.set(granted.bytes);
            granted.waker.wake();
        }
    }

    /// Takes the first of those that wait, if there is room for it.
    fn next(&self) -> Option<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        let fits = waiting.front().is_some_and(|front| self.fits(front.bytes));
        fits.then(|| waiting.pop_front()).flatten()
    }

    fn fits(&self, bytes: usize) -> bool {
        self.bytes.get() + bytes <= FLIGHT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(large: &LargeReplies, permit: &mut LargePermit, bytes: usize) -> bool {
        large.acquire(permit, bytes, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn permits_are_granted_in_order_and_once() {
        let large = LargeReplies::default();
        let mut permits: Vec<_> = (0..4).map(|_| LargePermit::default()).collect();
        let got: Vec<_> = permits
            .iter_mut()
            .map(|permit| acquire(&large, permit, FLIGHT_BYTES / 2))
            .collect();
        assert_eq!(got, [true, true, false, false]);
        large.release(&mut permits[0]);
        let got: Vec<_> = permits
            .iter_mut()
            .map(|permit| acquire(&large, permit, FLIGHT_BYTES / 2))
            .collect();
        assert_eq!(got, [false, true, true, false], "the first waits behind");
        for permit in &mut permits {
            large.release(permit);
        }
        assert_eq!(large.bytes.get(), 0);
        assert!(large.waiting.borrow().is_empty());
    }

    #[test]
    fn one_session_may_expect_any_size() {
        let large = LargeReplies::default();
        let [mut first, mut second] = [0; 2].map(|_| LargePermit::default());
        assert!(acquire(&large, &mut first, usize::MAX));
        assert!(!acquire(&large, &mut second, 1));
        large.release(&mut first);
        assert!(acquire(&large, &mut second, 1));
        assert!(second.is_active() && !first.is_active());
    }

    #[test]
    fn session_that_leaves_its_place_delays_nobody() {
        let large = LargeReplies::default();
        let [mut first, mut second, mut third] = [0; 3].map(|_| LargePermit::default());
        assert!(acquire(&large, &mut first, FLIGHT_BYTES));
        assert!(!acquire(&large, &mut second, 1));
        assert!(!acquire(&large, &mut third, 1));
        large.release(&mut second);
        large.release(&mut first);
        assert!(acquire(&large, &mut third, 1));
        assert_eq!(large.bytes.get(), 1);
    }

    #[test]
    fn large_size_is_assumed_for_a_second() {
        let large = LargeReplies::default();
        let now = Instant::now();
        assert_eq!(large.assumed_bytes(now), 0);
        large.note(1 << 20, now);
        assert_eq!(large.assumed_bytes(now), 1 << 20);
        assert_eq!(large.assumed_bytes(now + MEMORY), 0);
    }
}
