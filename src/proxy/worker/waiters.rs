//! Tasks that wait for the same event.

use std::cell::RefCell;
use std::collections::HashSet;
use std::mem;
use std::task::Waker;

/// Wakers in the order in which their tasks began to wait, one for each task. Thousands of sessions may wait for one server.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    all: RefCell<All>,
}

#[derive(Debug, Default)]
struct All {
    wakers: Vec<Waker>,
    /// The tasks that they wake, and how.
    known: HashSet<(*const (), usize)>,
}

impl Waiters {
    /// Adds the task of this waker, unless it waits already. Returns the number of those that wait.
    pub(crate) fn add(&self, waker: &Waker) -> usize {
        let mut all = self.all.borrow_mut();
        let vtable: *const _ = waker.vtable();
        if all.known.insert((waker.data(), vtable.addr())) {
            all.wakers.push(waker.clone());
        }
        all.wakers.len()
    }

    /// Returns true if none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.borrow().wakers.is_empty()
    }

    /// Wakes all.
    pub(crate) fn wake(&self) {
        let All { wakers, .. } = mem::take(&mut *self.all.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_task_is_woken_once() {
        let counts = [(); 3].map(|()| Arc::<Count>::default());
        let wakers = counts
            .each_ref()
            .map(|count| Waker::from(Arc::clone(count)));
        let waiters = Waiters::default();
        for (nth, waker) in wakers.iter().enumerate() {
            assert_eq!(waiters.add(waker), nth + 1);
            assert_eq!(waiters.add(&waker.clone()), nth + 1);
        }
        waiters.wake();
        assert!(waiters.is_empty());
        waiters.wake();
        assert_eq!(waiters.add(&wakers[0]), 1, "it waits again");
        waiters.wake();
        let woken = counts.map(|count| count.0.load(Ordering::SeqCst));
        assert_eq!(woken, [2, 1, 1]);
    }
}
