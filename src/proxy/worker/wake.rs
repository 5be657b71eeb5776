//! Wakes a task at most once between two of its polls.

use std::cell::Cell;
use std::fmt;
use std::task::{Context, Waker};

/// A waker that ignores further wakes until its task has registered again.
#[derive(Default)]
pub(crate) struct WakeOnce {
    waker: Cell<Option<Waker>>,
    rung: Cell<bool>,
}

impl WakeOnce {
    /// Registers the task to wake. Called at the start of each of its polls.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.rung.set(false);
        let waker = match self.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.waker.set(Some(waker));
    }

    /// Wakes the task, unless it is woken already.
    pub(crate) fn wake(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake_by_ref();
            self.waker.set(Some(waker));
        }
    }

    /// The registered waker, to be woken by other threads.
    pub(crate) fn waker(&self) -> Waker {
        let waker = self.waker.take();
        let copy = waker
            .as_ref()
            .map_or_else(|| Waker::noop().clone(), Waker::clone);
        self.waker.set(waker);
        copy
    }

    /// Removes the waker.
    pub(crate) fn clear(&self) {
        self.waker.set(None);
    }
}

impl fmt::Debug for WakeOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeOnce")
            .field("woken", &self.rung.get())
            .finish_non_exhaustive()
    }
}
