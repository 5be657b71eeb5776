//! All workers, as the control thread sees them.

use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::net::ConnLimit;
use crate::protocol::redis::state::client_registry::SessionSignal;
use crate::runtime::client_permit::WorkerLoad;
use crate::runtime::pool_list::PoolList;
use crate::runtime::pool_setup::{PoolId, PoolSetup};
use crate::runtime::worker;
use crate::runtime::worker::{Mailbox, WorkerMessage, WorkerSetup};
use crate::runtime::worker_thread::{WorkerError, WorkerThread};
use crate::stats::{Sample, Snapshot, StatsBoard};

/// The capacity of a worker's mailbox; a full one blocks the control thread.
const MAILBOX_CAPACITY: usize = 1024;

/// The time limit for a worker to publish before its last counts are used.
const PUBLISH_WITHIN: Duration = Duration::from_millis(250);

/// The parameters of the workers.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// The pools, sorted by name.
    pub pools: Vec<PoolSetup>,
    /// The number of worker threads: at least one.
    pub workers: usize,
    /// The interval at which each publishes its counts without a request; more than zero.
    pub stats_interval: Duration,
    /// The limit of the clients of all pools and their dedicated connections.
    pub conn_limit: ConnLimit,
}

/// The workers. Each serves until it is drained: an earlier end is an error.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<WorkerThread>,
    handles: Vec<WorkerHandle>,
    /// The numbers of workers whose threads have ended.
    exits: mpsc::UnboundedReceiver<usize>,
    stats_board: StatsBoard,
    pools: Arc<PoolList>,
    /// The senders of signals to sessions.
    signals: Vec<mpsc::UnboundedSender<SessionSignal>>,
}

/// Collects the counts of the workers.
#[derive(Debug, Clone)]
pub struct StatsCollector {
    workers: Vec<WorkerHandle>,
    stats_board: StatsBoard,
    pools: Arc<PoolList>,
}

/// A worker as other threads see it. Its `messages` are closed once it has ended.
#[derive(Debug, Clone)]
pub(crate) struct WorkerHandle {
    pub(crate) messages: mpsc::Sender<WorkerMessage>,
    pub(crate) load: WorkerLoad,
}

impl Workers {
    /// Starts the workers' threads, and waits until each of them serves.
    pub fn start(config: &RuntimeConfig) -> Result<Self, WorkerError> {
        let pools = Arc::new(PoolList::new(config.pools.clone()));
        let stats_board = StatsBoard::new(config.workers);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..config.workers)
            .map(|_| mpsc::unbounded_channel())
            .unzip();
        for pool in &config.pools {
            pool.shared
                .clients
                .set_session_hook(session_hook(senders.clone()));
        }
        let (exit_sender, exits) = mpsc::unbounded_channel();
        let mut threads = Vec::with_capacity(config.workers);
        let mut handles = Vec::with_capacity(config.workers);
        let slots = receivers.into_iter().zip(stats_board.slots());
        for (number, (signals, slot)) in slots.enumerate() {
            let (messages, mailbox) = mpsc::channel(MAILBOX_CAPACITY);
            let setup = WorkerSetup {
                number,
                pools: Arc::clone(&pools),
                slot: slot.clone(),
                stats_board: stats_board.clone(),
                stats_interval: config.stats_interval,
                conn_limit: config.conn_limit.clone(),
                mailbox: Mailbox {
                    messages: mailbox,
                    signals,
                },
            };
            let run = move |started| worker::run(setup, started);
            threads.push(WorkerThread::spawn(number, exit_sender.clone(), run)?);
            let load = WorkerLoad::default();
            handles.push(WorkerHandle { messages, load });
        }
        let threads: Result<_, _> = threads
            .into_iter()
            .map(WorkerThread::confirm_start)
            .collect();
        Ok(Self {
            threads: threads?,
            handles,
            exits,
            stats_board,
            pools,
            signals: senders,
        })
    }

    /// Has all workers serve another pool.
    pub async fn add_pool(&self, pool: &PoolSetup) {
        let hook = session_hook(self.signals.clone());
        pool.shared.clients.set_session_hook(hook);
        self.send_all(|| WorkerMessage::AddPool(Box::new(pool.clone())))
            .await;
    }

    /// Has all workers serve a pool no longer. Its clients may finish their requests in flight within that time. No
    /// acceptor may send clients of the pool any more.
    pub async fn remove_pool(&self, pool: PoolId, within: Duration) {
        self.send_all(|| WorkerMessage::RemovePool(pool, within))
            .await;
    }

    async fn send_all(&self, message: impl Fn() -> WorkerMessage) {
        for worker in &self.handles {
            if worker.messages.send(message()).await.is_err() {
                tracing::debug!("worker ended before it got a message");
            }
        }
    }

    /// Handles to all workers, for the acceptors.
    pub(crate) fn handles(&self) -> Vec<WorkerHandle> {
        self.handles.clone()
    }

    /// The pools that are served. A change of the list alone changes what statistics show.
    pub fn pools(&self) -> &Arc<PoolList> {
        &self.pools
    }

    /// A collector of the workers' counts.
    #[must_use]
    pub fn stats_collector(&self) -> StatsCollector {
        StatsCollector {
            workers: self.handles.clone(),
            stats_board: self.stats_board.clone(),
            pools: Arc::clone(&self.pools),
        }
    }

    /// Waits until a worker ends without a drain, and returns the cause. Cancel safe.
    pub async fn failure(&mut self) -> WorkerError {
        let Some(number) = self.exits.recv().await else {
            return pending().await;
        };
        let mut threads = self.threads.iter();
        match threads.position(|thread| thread.number() == number) {
            // Sending its number was its last action, so this does not block.
            Some(index) => self.threads.swap_remove(index).into_error(),
            None => WorkerError::Ended { number },
        }
    }

    /// Lets all workers finish their requests in flight within that time, and waits for their threads.
    pub async fn drain(&mut self, within: Duration) {
        self.send_all(|| WorkerMessage::Drain(within)).await;
        let threads = mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            let panics = threads.into_iter().filter_map(|thread| thread.join().err());
            panics.collect::<Vec<_>>()
        });
        match joined.await {
            Ok(panics) if panics.is_empty() => {}
            Ok(panics) => tracing::error!(?panics, "worker threads panicked"),
            Err(error) => tracing::error!(%error, "failed to join worker threads"),
        }
    }
}

/// A hook with which any worker signals a session of another, however busy that one is. As a killed client leaves the
/// registry, there are never more such messages than clients, and one to each subscriber for each change of its user.
fn session_hook(
    workers: Vec<mpsc::UnboundedSender<SessionSignal>>,
) -> impl Fn(usize, SessionSignal) + Send + Sync {
    move |worker, signal| {
        if let Some(signals) = workers.get(worker) {
            // A worker that has ended has no sessions.
            let _ = signals.send(signal);
        }
    }
}

impl StatsCollector {
    /// The current counts, summed over all workers.
    pub async fn collect(&self) -> Snapshot {
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (done, answer) = oneshot::channel();
            let message = WorkerMessage::Publish(done);
            // A worker with a full mailbox is too busy; its last counts are used.
            if worker.messages.try_send(message).is_ok() {
                answers.push(answer);
            }
        }
        let all = async {
            for answer in answers {
                // A worker that ends meanwhile has already published its counts.
                let _ = answer.await;
            }
        };
        if timeout(PUBLISH_WITHIN, all).await.is_err() {
            tracing::debug!("worker too busy to publish its counts");
        }
        self.pools.snapshot(&self.stats_board)
    }

    /// Completes when each worker has turned: it has handled a message that is sent now.
    pub async fn turned(&self) {
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (done, answer) = oneshot::channel();
            if worker
                .messages
                .send(WorkerMessage::Publish(done))
                .await
                .is_ok()
            {
                answers.push(answer);
            }
        }
        for answer in answers {
            // A worker that has ended is noticed otherwise.
            let _ = answer.await;
        }
    }

    /// The totals of a pool a short time ago, if known yet.
    pub fn sampled(&self, pool: &str) -> Option<Sample> {
        self.stats_board.sampled(pool)
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_worker_that_ends_before_it_is_drained_is_a_failure() {
        let mut workers = Workers::start(&RuntimeConfig {
            pools: Vec::new(),
            workers: 2,
            stats_interval: Duration::from_secs(1),
            conn_limit: ConnLimit::default(),
        })
        .unwrap();
        // A worker whose handles are dropped ends.
        workers.handles.truncate(1);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let failure = workers.failure().await;
            assert_eq!(failure.to_string(), "worker 1 ended unexpectedly");
            workers.drain(Duration::ZERO).await;
        });
    }

    #[test]
    fn a_busy_worker_misses_no_kill() {
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..2).map(|_| mpsc::unbounded_channel()).unzip();
        let hook = session_hook(senders);
        for session in 0..5 * MAILBOX_CAPACITY {
            hook(1, SessionSignal::Kill(session));
        }
        hook(7, SessionSignal::Kill(1));
        assert!(receivers[0].is_empty());
        let received: Vec<_> = std::iter::from_fn(|| receivers[1].try_recv().ok()).collect();
        let sent = (0..5 * MAILBOX_CAPACITY).map(SessionSignal::Kill);
        assert!(received.into_iter().eq(sent));
    }
}
