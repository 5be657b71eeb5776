//! Orders a request behind what had arrived at the sockets of the other workers before it.
//!
//! Two clients may be served by two workers. If one sends a request and another, which knows of it, the next, the
//! second worker may read its request first: the kernel may take longer to run the first worker's thread. Where the
//! order matters, the second asks for a turn of all others: each reads the sockets that are ready, and then says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The turns of the workers of a pool, which they share.
#[derive(Debug, Default)]
pub struct WorkerTurns {
    /// The number of the last turn that was requested.
    requested: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    workers: Vec<Slot>,
    /// The tasks that wait for a turn.
    waiting: Vec<Waker>,
}

/// A worker.
#[derive(Debug)]
struct Slot {
    worker: usize,
    /// Every turn up to this one is completed.
    completed: u64,
    /// The task that completes its turns.
    waker: Option<Waker>,
}

/// A worker's duty to complete the turns that others request. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct TurnKeeper {
    turns: Arc<WorkerTurns>,
    worker: usize,
}

impl WorkerTurns {
    /// Adds a worker.
    pub(crate) fn join(self: &Arc<Self>, worker: usize) -> TurnKeeper {
        let completed = self.requested.load(Ordering::Acquire);
        self.lock().workers.push(Slot {
            worker,
            completed,
            waker: None,
        });
        TurnKeeper {
            turns: Arc::clone(self),
            worker,
        }
    }

    /// Requests a turn of all workers but this one. Returns its number.
    pub(crate) fn request(&self, worker: usize) -> u64 {
        let turn = self.requested.fetch_add(1, Ordering::AcqRel) + 1;
        let mut state = self.lock();
        let others = state.workers.iter_mut();
        let wakers: Vec<Waker> = others
            .filter(|slot| slot.worker != worker)
            .filter_map(|slot| slot.waker.take())
            .collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        turn
    }

    /// Returns true if all workers but this one have completed that turn; otherwise that waker is woken when one has.
    pub(crate) fn is_completed(
        &self,
        turn: u64,
        worker: usize,
        waker: impl FnOnce() -> Waker,
    ) -> bool {
        let mut state = self.lock();
        let mut others = state.workers.iter().filter(|slot| slot.worker != worker);
        if others.all(|slot| slot.completed >= turn) {
            return true;
        }
        let waker = waker();
        if !state.waiting.iter().any(|other| other.will_wake(&waker)) {
            state.waiting.push(waker);
        }
        false
    }

    /// The state is complete between two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnKeeper {
    /// Ready when a turn is requested, with its number.
    pub(crate) fn poll_requested(&self, cx: &Context<'_>) -> Poll<u64> {
        let mut state = self.turns.lock();
        let requested = self.turns.requested.load(Ordering::Acquire);
        match state
            .workers
            .iter_mut()
            .find(|slot| slot.worker == self.worker)
        {
            Some(slot) if slot.completed >= requested => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(requested),
        }
    }

    /// Completes all turns up to that one.
    pub(crate) fn complete(&self, turn: u64) {
        let mut state = self.turns.lock();
        let mut workers = state.workers.iter_mut();
        if let Some(slot) = workers.find(|slot| slot.worker == self.worker) {
            slot.completed = turn;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for TurnKeeper {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.workers.retain(|slot| slot.worker != self.worker);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_is_completed_by_all_others() {
        let turns = Arc::new(WorkerTurns::default());
        let waker = Waker::noop();
        let cx = Context::from_waker(waker);
        let [_first, second, third] = [0, 1, 2].map(|worker| turns.join(worker));
        assert!(second.poll_requested(&cx).is_pending());
        let turn = turns.request(0);
        assert!(!turns.is_completed(turn, 0, || waker.clone()));
        for keeper in [second, third] {
            assert_eq!(keeper.poll_requested(&cx), Poll::Ready(turn));
            assert!(!turns.is_completed(turn, 0, || waker.clone()));
            // The third ends without it.
            if keeper.worker == 1 {
                keeper.complete(turn);
                assert!(keeper.poll_requested(&cx).is_pending());
            }
        }
        assert!(turns.is_completed(turn, 0, || waker.clone()));
    }
}
