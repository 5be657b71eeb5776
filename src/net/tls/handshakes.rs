//! The handshakes with clients that are under way in one worker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::{Semaphore, oneshot};

use super::TlsError;

/// The most handshakes under way. Each holds at most [`super::handshake::HANDSHAKE_MAX_BYTES`] of its peer.
const UNDER_WAY_MAX: usize = 1024;

/// The most handshakes that compute at the same time, on threads apart.
const COMPUTING_MAX: usize = 1;

/// The handshakes with clients that are under way in one worker. At the limit, the oldest is given up: clients that take
/// long must not keep others out.
#[derive(Debug)]
pub struct Handshakes {
    under_way: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
    next: Cell<u64>,
    computing: Semaphore,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            under_way: RefCell::default(),
            next: Cell::new(0),
            computing: Semaphore::new(COMPUTING_MAX),
        }
    }
}

/// One of them, until it is dropped.
struct UnderWay {
    number: u64,
    all: Rc<Handshakes>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.under_way.borrow_mut().remove(&self.number);
    }
}

impl Handshakes {
    /// Limits the number of those that compute.
    #[must_use]
    pub fn computing(&self) -> &Semaphore {
        &self.computing
    }

    /// Executes a handshake, unless it becomes the oldest of too many.
    pub async fn execute<T>(
        self: &Rc<Self>,
        handshake: impl Future<Output = Result<T, TlsError>>,
    ) -> Result<T, TlsError> {
        let (abort, aborted) = oneshot::channel();
        let number = self.next.get();
        self.next.set(number + 1);
        let oldest = {
            let mut under_way = self.under_way.borrow_mut();
            under_way.insert(number, abort);
            (under_way.len() > UNDER_WAY_MAX).then(|| under_way.pop_first())
        };
        if let Some(Some((_, oldest))) = oldest {
            // It may have ended in this turn.
            let _ = oldest.send(());
        }
        let _under_way = UnderWay {
            number,
            all: Rc::clone(self),
        };
        tokio::select! {
            biased;
            done = handshake => done,
            Ok(()) = aborted => Err(TlsError::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::{JoinSet, LocalSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn oldest_of_too_many_handshakes_is_given_up() {
        let all: Rc<Handshakes> = Rc::default();
        let local = LocalSet::new();
        local
            .run_until(async {
                let mut tasks = JoinSet::new();
                for index in 0..=UNDER_WAY_MAX {
                    let all = Rc::clone(&all);
                    tasks.spawn_local(async move {
                        let ended = all.execute(pending::<Result<(), TlsError>>()).await;
                        (index, ended)
                    });
                    yield_now().await;
                }
                let first = tasks.join_next().await.unwrap().unwrap();
                assert_eq!(first, (0, Err(TlsError::TooMany)));
                assert_eq!(all.under_way.borrow().len(), UNDER_WAY_MAX);
                tasks.shutdown().await;
                assert!(all.under_way.borrow().is_empty());
            })
            .await;
    }
}
