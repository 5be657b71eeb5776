//! The handshakes with clients that are under way in one worker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::{TlsError, Turn, Turns};

/// The most handshakes under way. Each holds at most [`super::handshake::HANDSHAKE_MAX_BYTES`] of its peer.
const UNDER_WAY_MAX: usize = 1024;

/// The handshakes with clients that are under way in one worker. At the limit, the oldest that waits for its client is given
/// up: clients that take long must not keep others out. If all wait for their turn to compute, the newest is.
#[derive(Debug, Default)]
pub struct Handshakes {
    under_way: RefCell<BTreeMap<u64, Entry>>,
    next: Cell<u64>,
    turns: Turns,
}

#[derive(Debug)]
struct Entry {
    turn: Rc<Turn>,
    abort: oneshot::Sender<()>,
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
    /// Executes a handshake, unless there are too many and it is the one to be given up.
    pub async fn execute<T>(
        self: &Rc<Self>,
        handshake: impl AsyncFnOnce(&Turn) -> Result<T, TlsError>,
    ) -> Result<T, TlsError> {
        self.make_room()?;
        let turn = Rc::new(self.turns.begin());
        let (abort, aborted) = oneshot::channel();
        let number = self.next.get();
        self.next.set(number + 1);
        let entry = Entry {
            turn: Rc::clone(&turn),
            abort,
        };
        self.under_way.borrow_mut().insert(number, entry);
        let _under_way = UnderWay {
            number,
            all: Rc::clone(self),
        };
        tokio::select! {
            biased;
            done = handshake(&turn) => done,
            Ok(()) = aborted => Err(TlsError::TooMany),
        }
    }

    fn make_room(&self) -> Result<(), TlsError> {
        let mut under_way = self.under_way.borrow_mut();
        if under_way.len() < UNDER_WAY_MAX {
            return Ok(());
        }
        let idle =
            |(number, entry): (&u64, &Entry)| (!entry.turn.is_computing()).then_some(*number);
        let oldest = under_way.iter().find_map(idle);
        let oldest = oldest.and_then(|number| under_way.remove(&number));
        let oldest = oldest.ok_or(TlsError::TooMany)?;
        // It may have ended in this turn.
        let _ = oldest.abort.send(());
        Ok(())
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
                        let ended = all
                            .execute(async |_| pending::<Result<(), TlsError>>().await)
                            .await;
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

    #[tokio::test]
    async fn handshakes_that_compute_are_not_given_up() {
        let all: Rc<Handshakes> = Rc::default();
        let local = LocalSet::new();
        local
            .run_until(async {
                let mut tasks = JoinSet::new();
                for index in 0..UNDER_WAY_MAX {
                    let all = Rc::clone(&all);
                    let is_computing = index != 7;
                    tasks.spawn_local(async move {
                        let ended = all.execute(async |turn: &Turn| {
                            let _permit = if is_computing {
                                turn.take().await
                            } else {
                                None
                            };
                            pending::<Result<(), TlsError>>().await
                        });
                        (index, ended.await)
                    });
                    yield_now().await;
                }
                let newcomer = || all.execute(async |_| Ok(()));
                assert_eq!(newcomer().await, Ok(()));
                let given_up = tasks.join_next().await.unwrap().unwrap();
                assert_eq!(given_up, (7, Err(TlsError::TooMany)));
                let kept = Rc::clone(&all);
                tasks.spawn_local(async move {
                    let ended = kept.execute(async |turn: &Turn| {
                        turn.take().await;
                        pending::<Result<(), TlsError>>().await
                    });
                    (UNDER_WAY_MAX, ended.await)
                });
                yield_now().await;
                assert_eq!(newcomer().await, Err(TlsError::TooMany));
                tasks.shutdown().await;
            })
            .await;
    }
}
