//! The common limit of all that a pool buffers: requests being received and queued, transactions, replies.
//!
//! ```text
//! session, server connection --book, once a turn--> PoolMemory (a worker) --in steps--> MemoryBudget (all workers)
//! ```
//!
//! Near the limit, clients that hold much are read slowly, then new large requests are refused, then the clients that
//! hold most are closed. Clients that hold little are never affected. Nothing is booked, and no atomic touched, for
//! those whose buffers stay small.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stats::{PoolCells, PoolMetric};

/// Holdings are booked in multiples of this.
pub(crate) const STEP_BYTES: usize = 64 << 10;

/// The change of a worker's holdings that is published to the others.
const PUBLISH_BYTES: usize = 256 << 10;

/// Holdings of a client that no pressure affects.
const FAIR_BYTES: usize = 1 << 20;

/// The size from which a request is large: it may be refused.
pub(crate) const LARGE_BYTES: usize = 1 << 20;

/// The limit of what one pool, or several without a limit of their own, buffer; shared by all workers.
#[derive(Debug)]
pub struct MemoryBudget {
    used_bytes: AtomicUsize,
    limit_bytes: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of so many bytes; 0 is no limit.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let budget = Self {
            used_bytes: AtomicUsize::new(0),
            limit_bytes: AtomicUsize::new(0),
        };
        budget.set_limit(limit_bytes);
        budget
    }

    /// Changes the limit, in bytes; 0 is no limit.
    pub fn set_limit(&self, limit_bytes: usize) {
        let limit_bytes = if limit_bytes == 0 {
            usize::MAX
        } else {
            limit_bytes
        };
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// Returns true if more than this many eighths of the limit are used.
    fn exceeds_eighths(&self, eighths: usize) -> bool {
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed);
        self.used_bytes.load(Ordering::Relaxed) > limit_bytes / 8 * eighths
    }
}

impl Default for MemoryBudget {
    /// No limit.
    fn default() -> Self {
        Self::new(0)
    }
}

/// The budgets that a pool may have: one of its own, or that of all pools without one.
#[derive(Debug, Clone, Default)]
pub struct MemoryBudgets {
    /// The budget of this pool alone.
    pub own: Arc<MemoryBudget>,
    /// The budget that it shares with other pools.
    pub common: Arc<MemoryBudget>,
}

impl MemoryBudgets {
    /// Sets the pool's limit, in bytes; `None` is a share of the common budget.
    pub fn set_limit(&self, limit_bytes: Option<usize>) {
        if let Some(limit_bytes) = limit_bytes {
            self.own.set_limit(limit_bytes);
        }
    }

    /// The budget of the pool under this limit.
    fn under(&self, limit_bytes: Option<usize>) -> &Arc<MemoryBudget> {
        match limit_bytes {
            Some(_) => &self.own,
            None => &self.common,
        }
    }
}

/// The holdings that are booked for so many bytes.
pub(crate) const fn in_steps(bytes: usize) -> usize {
    bytes - bytes % STEP_BYTES
}

/// What a client has to expect whose holdings have changed like this, under a limit of which more than so many eighths are used
/// or not. `largest` are the largest holdings of a client seen lately.
pub(crate) fn pressure(
    (before, bytes): (usize, usize),
    largest: &Cell<usize>,
    exceeds_eighths: impl Fn(usize) -> bool,
) -> Pressure {
    if bytes <= FAIR_BYTES || !exceeds_eighths(6) {
        return Pressure::None;
    }
    let most = largest.get();
    let most = bytes.max(most - most / 8);
    largest.set(most);
    if bytes > before && bytes > most / 2 && exceeds_eighths(8) {
        Pressure::Closed
    } else {
        Pressure::Throttled
    }
}

/// The share of one worker in the budget of a pool.
#[derive(Debug)]
pub(crate) struct PoolMemory {
    budgets: MemoryBudgets,
    budget: RefCell<Arc<MemoryBudget>>,
    cells: Rc<PoolCells>,
    held_bytes: Cell<usize>,
    published_bytes: Cell<usize>,
    /// The largest holdings of a client seen lately.
    largest_bytes: Cell<usize>,
}

/// The holdings of one client or server connection, as last booked.
#[derive(Debug, Default)]
pub(crate) struct MemoryAccount(Cell<usize>);

/// What a client with such holdings has to expect, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    None,
    /// It is read slowly.
    Throttled,
    /// It is closed: it grows, and holds much of what the limit allows all.
    Closed,
}

impl PoolMemory {
    pub(crate) fn new(
        budgets: MemoryBudgets,
        limit_bytes: Option<usize>,
        cells: &Rc<PoolCells>,
    ) -> Self {
        let budget = RefCell::new(Arc::clone(budgets.under(limit_bytes)));
        Self {
            budgets,
            budget,
            cells: Rc::clone(cells),
            held_bytes: Cell::new(0),
            published_bytes: Cell::new(0),
            largest_bytes: Cell::new(0),
        }
    }

    /// Moves what is held to the budget of the pool under this limit.
    pub(crate) fn set_limit(&self, limit_bytes: Option<usize>) {
        let held = self.published_bytes.get();
        self.publish(0);
        *self.budget.borrow_mut() = Arc::clone(self.budgets.under(limit_bytes));
        self.publish(held);
    }

    /// Books the holdings of a client, or of a server connection.
    #[inline]
    pub(crate) fn book(&self, account: &MemoryAccount, bytes: usize) -> Pressure {
        if bytes < STEP_BYTES && account.0.get() == 0 {
            return Pressure::None;
        }
        self.rebook(account, bytes)
    }

    fn rebook(&self, account: &MemoryAccount, bytes: usize) -> Pressure {
        let bytes = in_steps(bytes);
        let before = account.0.replace(bytes);
        let held = (self.held_bytes.get() + bytes).saturating_sub(before);
        self.held_bytes.set(held);
        if held == 0 || held.abs_diff(self.published_bytes.get()) >= PUBLISH_BYTES {
            self.publish(held);
        }
        pressure((before, bytes), &self.largest_bytes, |eighths| {
            self.exceeds_eighths(eighths)
        })
    }

    /// Returns true if a new large request must be refused.
    pub(crate) fn refuses_large(&self) -> bool {
        self.exceeds_eighths(7)
    }

    fn exceeds_eighths(&self, eighths: usize) -> bool {
        self.budget.borrow().exceeds_eighths(eighths)
    }

    fn publish(&self, held: usize) {
        let before = self.published_bytes.replace(held);
        let budget = self.budget.borrow();
        let used = &budget.used_bytes;
        if held >= before {
            used.fetch_add(held - before, Ordering::Relaxed);
        } else {
            used.fetch_sub(before - held, Ordering::Relaxed);
        }
        self.cells.set(PoolMetric::BufferedBytes, held as u64);
    }
}

impl Drop for PoolMemory {
    fn drop(&mut self) {
        self.publish(0);
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const LIMIT: usize = 64 << 20;

    fn memory(budget: &Arc<MemoryBudget>) -> PoolMemory {
        let budgets = MemoryBudgets {
            own: Arc::clone(budget),
            ..MemoryBudgets::default()
        };
        PoolMemory::new(budgets, Some(LIMIT), &Rc::default())
    }

    #[test]
    fn pressure_affects_the_greedy_only() {
        let budget = Arc::new(MemoryBudget::new(LIMIT));
        let memory = memory(&budget);
        let [quiet, first, second] = [0; 3].map(|_| MemoryAccount::default());
        assert_eq!(memory.book(&first, LIMIT / 2), Pressure::None);
        assert_eq!(memory.book(&second, LIMIT * 3 / 8), Pressure::Throttled);
        assert!(!memory.refuses_large());
        assert_eq!(memory.book(&quiet, FAIR_BYTES), Pressure::None);
        assert!(memory.refuses_large());
        assert_eq!(memory.book(&first, LIMIT * 5 / 8), Pressure::Closed);
        assert_eq!(memory.book(&quiet, FAIR_BYTES / 2), Pressure::None);
        assert_eq!(memory.book(&second, LIMIT * 3 / 8), Pressure::Throttled);
        assert_eq!(memory.book(&first, 0), Pressure::None);
        assert_eq!(memory.book(&second, LIMIT * 3 / 8), Pressure::None);
    }

    #[test]
    fn workers_share_a_budget_and_return_their_share() {
        let budget = Arc::new(MemoryBudget::new(LIMIT));
        let (one, other) = (memory(&budget), memory(&budget));
        let [here, there] = [0; 2].map(|_| MemoryAccount::default());
        assert_eq!(one.book(&here, LIMIT / 2), Pressure::None);
        assert_eq!(other.book(&there, LIMIT / 2), Pressure::Throttled);
        drop(one);
        assert_eq!(other.book(&there, LIMIT / 2), Pressure::None);
        drop(other);
        assert_eq!(budget.used_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn another_limit_takes_what_is_held_along() {
        let budgets = MemoryBudgets::default();
        let memory = PoolMemory::new(budgets.clone(), None, &Rc::default());
        let account = MemoryAccount::default();
        assert_eq!(memory.book(&account, LIMIT), Pressure::None);
        budgets.set_limit(Some(LIMIT));
        memory.set_limit(Some(LIMIT));
        assert!(memory.refuses_large());
        budgets.set_limit(Some(2 * LIMIT));
        assert!(!memory.refuses_large());
        memory.set_limit(None);
        let used = |budget: &MemoryBudget| budget.used_bytes.load(Ordering::Relaxed);
        assert_eq!((used(&budgets.own), used(&budgets.common)), (0, LIMIT));
    }

    #[test]
    fn small_holdings_are_not_booked() {
        let budget = Arc::new(MemoryBudget::new(LIMIT));
        let memory = memory(&budget);
        let accounts = [0; 100].map(|_| MemoryAccount::default());
        for account in &accounts {
            assert_eq!(memory.book(account, STEP_BYTES - 1), Pressure::None);
        }
        assert_eq!(memory.held_bytes.get(), 0);
    }

    #[test]
    fn zero_is_no_limit() {
        let budget = Arc::new(MemoryBudget::new(0));
        let memory = memory(&budget);
        let account = MemoryAccount::default();
        assert_eq!(memory.book(&account, usize::MAX / 2), Pressure::None);
        assert!(!memory.refuses_large());
    }
}
