//! The transfer of clients to and from another process, as the control thread sees it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::net::ConnLimit;
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::leaving::{Adoption, Departed, Start};
use crate::runtime::pool_list::PoolList;
use crate::runtime::pool_setup::PoolId;
use crate::runtime::worker::WorkerMessage;
use crate::runtime::workers::{WorkerHandle, Workers};

/// Lets the clients of all workers leave, and has workers serve those that arrive.
#[derive(Debug, Clone)]
pub struct Transfer {
    workers: Vec<WorkerHandle>,
    pools: Arc<PoolList>,
    process: ConnLimit,
}

impl Transfer {
    /// The transfer of these workers' clients. `process` counts the clients of all pools.
    #[must_use]
    pub fn new(workers: &Workers, process: ConnLimit) -> Self {
        Self {
            workers: workers.handles(),
            pools: Arc::clone(workers.pools()),
            process,
        }
    }

    /// The pools.
    #[must_use]
    pub fn pools(&self) -> &PoolList {
        &self.pools
    }

    /// The number of clients.
    #[must_use]
    pub fn clients(&self) -> usize {
        let workers = self.workers.iter();
        workers.map(|worker| worker.load.clients()).sum()
    }

    /// Prepares the clients of these pools to leave, and lets those of others end.
    pub async fn begin(&self, pools: Vec<PoolId>) -> mpsc::UnboundedReceiver<Departed> {
        let (departures, departed) = mpsc::unbounded_channel();
        let pools: Arc<[PoolId]> = pools.into();
        for worker in &self.workers {
            let message = WorkerMessage::HandOver(Arc::clone(&pools), departures.clone());
            // A worker that has ended is noticed otherwise.
            let _ = worker.messages.send(message).await;
        }
        departed
    }

    /// Lets so many more clients of each worker leave, or of this one, each when nothing of it is in flight.
    pub async fn go_on(&self, count: usize, worker: Option<usize>) {
        for (number, handle) in self.workers.iter().enumerate() {
            if worker.is_none_or(|worker| worker == number) {
                let _ = handle.messages.send(WorkerMessage::Leave(count)).await;
            }
        }
    }

    /// Keeps the clients that have not left.
    pub async fn end(&self) {
        for worker in &self.workers {
            let (done, is_done) = oneshot::channel();
            let sent = worker.messages.send(WorkerMessage::Stay(done)).await;
            if sent.is_ok() {
                let _ = is_done.await;
            }
        }
    }

    /// Has the least loaded worker serve a client. The answer starts it, or says why it is not served.
    pub async fn adopt(
        &self,
        departed: Departed,
        is_ending: bool,
    ) -> oneshot::Receiver<Result<Start, String>> {
        let (answer, answered) = oneshot::channel();
        let setups = self.pools.load();
        let setup = setups.iter().find(|setup| setup.id == departed.pool);
        let running = self.workers.iter();
        let running = running.filter(|worker| !worker.messages.is_closed());
        let worker = running.min_by_key(|worker| worker.load.clients());
        if let (Some(setup), Some(worker)) = (setup, worker) {
            let permit = ClientPermit::take(&setup.clients, &self.process, &worker.load);
            let adoption = Adoption {
                departed,
                permit,
                is_ending,
                answer,
            };
            // Without a worker, the answer is none.
            let message = WorkerMessage::Adopt(Box::new(adoption));
            let _ = worker.messages.send(message).await;
        }
        answered
    }
}
