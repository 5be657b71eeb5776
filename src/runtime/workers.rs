//! All workers, as the control thread sees them.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::net::ConnLimit;
use crate::proxy::ParkDelay;
use crate::runtime::client_permit::WorkerLoad;
use crate::runtime::pool_setup::{PoolSetup, note_ejections};
use crate::runtime::worker;
use crate::runtime::worker::{Mailbox, WorkerMessage, WorkerStats};
use crate::stats::{Snapshot, StatsBoard, StatsLayout, WorkerCells};

/// Orders that wait for a worker; more make the control thread wait.
const ORDERS: usize = 1024;

/// How long a worker may take to publish before its last counts serve.
const PUBLISH_WITHIN: Duration = Duration::from_millis(250);

/// What a crew is to serve.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// The pools, sorted by name.
    pub pools: Vec<PoolSetup>,
    /// Threads that serve clients: at least one.
    pub workers: usize,
    /// How often each of them publishes its counts unasked.
    pub tick: Duration,
    /// Places for the clients of all pools, and for the connections that these have for themselves.
    pub conn_limit: ConnLimit,
}

/// The workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<WorkerThread>,
    stats_board: StatsBoard,
    pools: Vec<PoolSetup>,
}

#[derive(Debug)]
struct WorkerThread {
    orders: mpsc::Sender<WorkerMessage>,
    load: WorkerLoad,
    thread: Option<JoinHandle<()>>,
}

/// Asks the workers for their counts.
#[derive(Debug, Clone)]
pub struct StatsCollector {
    orders: Vec<mpsc::Sender<WorkerMessage>>,
    stats_board: StatsBoard,
    pools: Vec<PoolSetup>,
}

/// A worker's orders and load, for the acceptor.
#[derive(Debug, Clone)]
pub(crate) struct WorkerHandle {
    pub(crate) orders: mpsc::Sender<WorkerMessage>,
    pub(crate) load: WorkerLoad,
}

impl Workers {
    /// Starts the workers' threads.
    pub fn start(plan: &RuntimeConfig) -> io::Result<Self> {
        let shape = Arc::new(StatsLayout::new(plan.pools.iter().map(|pool| {
            let servers: Vec<_> = pool
                .config
                .servers
                .iter()
                .map(|server| server.name.clone())
                .collect();
            (pool.config.name.clone(), servers)
        })));
        let stats_board = StatsBoard::new(&shape, plan.workers);
        let mut threads = Vec::with_capacity(plan.workers);
        let (desks, inboxes): (Vec<_>, Vec<_>) =
            (0..plan.workers).map(|_| mpsc::channel(ORDERS)).unzip();
        let (enders, ends): (Vec<_>, Vec<_>) =
            (0..plan.workers).map(|_| mpsc::unbounded_channel()).unzip();
        for pool in &plan.pools {
            pool.shared.clients.set_kill_hook(kill_hook(enders.clone()));
        }
        let inboxes = inboxes.into_iter().zip(ends);
        let conn_limit = desks.into_iter().zip(inboxes).zip(stats_board.slots());
        for (number, ((orders, (mailbox, ends)), published)) in conn_limit.enumerate() {
            let mailbox = Mailbox {
                orders: mailbox,
                ends,
            };
            let (pools, shape) = (plan.pools.clone(), Arc::clone(&shape));
            let (published, stats_board, tick) =
                (published.clone(), stats_board.clone(), plan.tick);
            let conn_limit = plan.conn_limit.clone();
            let runtime = worker::runtime;
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let pause = ParkDelay::default();
                    match runtime(pause.clone()) {
                        Ok(runtime) => {
                            let counts = WorkerStats {
                                cells: WorkerCells::new(shape),
                                published,
                                stats_board,
                                tick,
                                number,
                                conn_limit,
                            };
                            runtime.block_on(worker::serve(pools, counts, pause, mailbox));
                            // A name that is being looked up must not hold up the end.
                            runtime.shutdown_background();
                        }
                        Err(error) => tracing::error!(%error, "a worker cannot start"),
                    }
                })?;
            threads.push(WorkerThread {
                orders,
                load: WorkerLoad::default(),
                thread: Some(thread),
            });
        }
        Ok(Self {
            threads,
            stats_board,
            pools: plan.pools.clone(),
        })
    }

    /// The workers' desks, for the acceptors.
    pub(crate) fn handles(&self) -> Vec<WorkerHandle> {
        let desk = |hand: &WorkerThread| WorkerHandle {
            orders: hand.orders.clone(),
            load: hand.load.clone(),
        };
        self.threads.iter().map(desk).collect()
    }

    /// A view of the workers that can ask for their counts.
    #[must_use]
    pub fn stats_collector(&self) -> StatsCollector {
        StatsCollector {
            orders: self
                .threads
                .iter()
                .map(|hand| hand.orders.clone())
                .collect(),
            stats_board: self.stats_board.clone(),
            pools: self.pools.clone(),
        }
    }

    /// Lets all workers finish what is in flight, within that time, and waits for their threads.
    pub async fn drain(&mut self, within: Duration) {
        for hand in &self.threads {
            // A worker that is gone already has nothing to drain.
            drop(hand.orders.send(WorkerMessage::Drain(within)).await);
        }
        let threads: Vec<_> = self
            .threads
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
fn kill_hook(enders: Vec<mpsc::UnboundedSender<usize>>) -> impl Fn(usize, usize) + Send + Sync {
    move |worker, session| {
        if let Some(ender) = enders.get(worker) {
            // A worker that is gone has no session any more.
            let _ = ender.send(session);
        }
    }
}

impl StatsCollector {
    /// The present counts, summed over all workers.
    pub async fn collect(&self) -> Snapshot {
        let mut answers = Vec::with_capacity(self.orders.len());
        for orders in &self.orders {
            let (done, answer) = oneshot::channel();
            // A worker with a full desk is too busy to be asked; its last counts serve.
            if orders.try_send(WorkerMessage::Publish(done)).is_ok() {
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
        let mut sum = self.stats_board.merged();
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
        let end = kill_hook(enders);
        for session in 0..5 * ORDERS {
            end(1, session);
        }
        end(7, 1);
        assert!(ends[0].is_empty());
        let told: Vec<_> = std::iter::from_fn(|| ends[1].try_recv().ok()).collect();
        assert!(told.into_iter().eq(0..5 * ORDERS));
    }
}
