//! All workers, as the control thread sees them.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::net::Places;
use crate::proxy::Pause;
use crate::runtime::client_permit::WorkerLoad;
use crate::runtime::pool::{PoolPlan, note_ejections};
use crate::runtime::worker;
use crate::runtime::worker::{Counts, Inbox, Order};
use crate::stats::{Board, Shape, Snapshot, WorkerCells};

/// Orders that wait for a worker; more make the control thread wait.
const ORDERS: usize = 1024;

/// How long a worker may take to publish before its last counts serve.
const PUBLISH_WITHIN: Duration = Duration::from_millis(250);

/// What a crew is to serve.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pools, sorted by name.
    pub pools: Vec<PoolPlan>,
    /// Threads that serve clients: at least one.
    pub workers: usize,
    /// How often each of them publishes its counts unasked.
    pub tick: Duration,
    /// Places for the clients of all pools, and for the connections that these have for themselves.
    pub places: Places,
}

/// The workers.
#[derive(Debug)]
pub struct Crew {
    workers: Vec<Hand>,
    board: Board,
    pools: Vec<PoolPlan>,
}

#[derive(Debug)]
struct Hand {
    orders: mpsc::Sender<Order>,
    load: WorkerLoad,
    thread: Option<JoinHandle<()>>,
}

/// Asks the workers for their counts.
#[derive(Debug, Clone)]
pub struct Asker {
    orders: Vec<mpsc::Sender<Order>>,
    board: Board,
    pools: Vec<PoolPlan>,
}

/// A worker's orders and load, for the acceptor.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) load: WorkerLoad,
}

impl Crew {
    /// Starts the workers' threads.
    pub fn start(plan: &Plan) -> io::Result<Self> {
        let shape = Arc::new(Shape::new(plan.pools.iter().map(|pool| {
            let servers: Vec<_> = pool
                .config
                .servers
                .iter()
                .map(|server| server.name.clone())
                .collect();
            (pool.config.name.clone(), servers)
        })));
        let board = Board::new(&shape, plan.workers);
        let mut workers = Vec::with_capacity(plan.workers);
        let (desks, inboxes): (Vec<_>, Vec<_>) =
            (0..plan.workers).map(|_| mpsc::channel(ORDERS)).unzip();
        let (enders, ends): (Vec<_>, Vec<_>) =
            (0..plan.workers).map(|_| mpsc::unbounded_channel()).unzip();
        for pool in &plan.pools {
            pool.hall.register.on_end(ender(enders.clone()));
        }
        let inboxes = inboxes.into_iter().zip(ends);
        let places = desks.into_iter().zip(inboxes).zip(board.slots());
        for (number, ((orders, (inbox, ends)), published)) in places.enumerate() {
            let inbox = Inbox {
                orders: inbox,
                ends,
            };
            let (pools, shape) = (plan.pools.clone(), Arc::clone(&shape));
            let (published, board, tick) = (published.clone(), board.clone(), plan.tick);
            let places = plan.places.clone();
            let runtime = worker::runtime;
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let pause = Pause::default();
                    match runtime(pause.clone()) {
                        Ok(runtime) => {
                            let counts = Counts {
                                cells: WorkerCells::new(shape),
                                published,
                                board,
                                tick,
                                number,
                                places,
                            };
                            runtime.block_on(worker::serve(pools, counts, pause, inbox));
                            // A name that is being looked up must not hold up the end.
                            runtime.shutdown_background();
                        }
                        Err(error) => tracing::error!(%error, "a worker cannot start"),
                    }
                })?;
            workers.push(Hand {
                orders,
                load: WorkerLoad::default(),
                thread: Some(thread),
            });
        }
        Ok(Self {
            workers,
            board,
            pools: plan.pools.clone(),
        })
    }

    /// The workers' desks, for the acceptors.
    pub(crate) fn desks(&self) -> Vec<Desk> {
        let desk = |hand: &Hand| Desk {
            orders: hand.orders.clone(),
            load: hand.load.clone(),
        };
        self.workers.iter().map(desk).collect()
    }

    /// A view of the workers that can ask for their counts.
    pub fn asker(&self) -> Asker {
        Asker {
            orders: self
                .workers
                .iter()
                .map(|hand| hand.orders.clone())
                .collect(),
            board: self.board.clone(),
            pools: self.pools.clone(),
        }
    }

    /// Lets all workers finish what is in flight, within that time, and waits for their threads.
    pub async fn drain(&mut self, within: Duration) {
        for hand in &self.workers {
            // A worker that is gone already has nothing to drain.
            drop(hand.orders.send(Order::Drain(within)).await);
        }
        let threads: Vec<_> = self
            .workers
            .iter_mut()
            .filter_map(|hand| hand.thread.take())
            .collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .filter_map(|thread| thread.join().err())
                .count()
        });
        match joined.await {
            Ok(0) => {}
            Ok(failed) => tracing::error!(failed, "workers ended badly"),
            Err(error) => tracing::error!(%error, "the workers' end was not seen"),
        }
    }
}

/// Lets any worker tell another to end a session, however busy that one is. As a client that is killed leaves the register,
/// there are never more such orders than clients.
fn ender(enders: Vec<mpsc::UnboundedSender<usize>>) -> impl Fn(usize, usize) + Send + Sync {
    move |worker, session| {
        if let Some(ender) = enders.get(worker) {
            // A worker that is gone has no session any more.
            let _ = ender.send(session);
        }
    }
}

impl Asker {
    /// The present counts, summed over all workers.
    pub async fn collect(&self) -> Snapshot {
        let mut answers = Vec::with_capacity(self.orders.len());
        for orders in &self.orders {
            let (done, answer) = oneshot::channel();
            // A worker with a full desk is too busy to be asked; its last counts serve.
            if orders.try_send(Order::Publish(done)).is_ok() {
                answers.push(answer);
            }
        }
        let all = async {
            for answer in answers {
                drop(answer.await);
            }
        };
        if timeout(PUBLISH_WITHIN, all).await.is_err() {
            tracing::debug!("a worker was too busy to publish its counts");
        }
        let mut sum = self.board.merged();
        note_ejections(&mut sum, &self.pools);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_come_to_its_orders_misses_no_end() {
        let (enders, mut ends): (Vec<_>, Vec<_>) =
            (0..2).map(|_| mpsc::unbounded_channel()).unzip();
        let end = ender(enders);
        for session in 0..5 * ORDERS {
            end(1, session);
        }
        end(7, 1);
        assert!(ends[0].is_empty());
        let told: Vec<_> = std::iter::from_fn(|| ends[1].try_recv().ok()).collect();
        assert!(told.into_iter().eq(0..5 * ORDERS));
    }
}
