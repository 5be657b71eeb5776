//! Accepts the clients of one pool, and passes each to the least loaded worker.
//!
//! Invariants: a client above the limit gets an error and is closed, and the listener keeps running; running out of
//! file descriptors is such a case, not an end.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::error::SendError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Transport;
use crate::journal::EventKind;
use crate::net::{AcceptGate, Accepted, ConnLimit, Listener};
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::pool_setup::PoolSetup;
use crate::runtime::rejection::Rejections;
use crate::runtime::worker::WorkerMessage;
use crate::runtime::workers::{WorkerHandle, Workers};

/// The delay after an error of accept that is not about a single client.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The acceptor of one pool.
#[derive(Debug)]
pub struct Acceptor {
    pool: PoolSetup,
    transport: Transport,
    listener: Arc<Listener>,
    gate: AcceptGate,
    process: ConnLimit,
    workers: Vec<WorkerHandle>,
    rejections: Rejections,
    /// Closed when there are no file descriptors left, to accept and refuse one client at a time.
    spare: Option<File>,
    turn: usize,
}

impl Acceptor {
    /// Serves a listener behind `gate` for a pool. `process` counts the clients of all pools, and their dedicated
    /// connections.
    pub fn new(
        (pool, transport): (PoolSetup, Transport),
        (listener, gate): (Arc<Listener>, AcceptGate),
        process: ConnLimit,
        workers: &Workers,
    ) -> Self {
        Self {
            rejections: Rejections::new(&pool, transport),
            pool,
            transport,
            listener,
            gate,
            process,
            workers: workers.handles(),
            spare: File::open("/dev/null").ok(),
            turn: 0,
        }
    }

    /// Accepts until `stop`, and then returns the listener, which still listens; or until `end`, and then closes it.
    pub async fn run(
        mut self,
        stop: CancellationToken,
        end: CancellationToken,
    ) -> Option<Listener> {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return Arc::into_inner(self.listener),
                () = end.cancelled() => return None,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(client) => self.admit(client).await,
                Err(error) => self.on_error(&error).await,
            }
        }
    }

    /// Accepts the next client while the gate is open.
    async fn accept(&self) -> io::Result<Accepted> {
        loop {
            self.gate.opened().await;
            tokio::select! {
                biased;
                () = self.gate.closed() => {}
                accepted = self.listener.accept() => return accepted,
            }
        }
    }

    async fn admit(&mut self, mut client: Accepted) {
        let mut admitted = match self.pool.admission.decide(&client) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.pool.refuse(&refusal),
        };
        if !self.pool.clients.has_room() || !self.process.has_room() {
            self.reject("client limit reached (client_connections, LimitNOFILE)");
            return self.rejections.tell(client, &self.pool);
        }
        self.turn = self.turn.wrapping_add(1);
        while let Some(worker) = least_loaded(&self.workers, self.turn) {
            let permit = ClientPermit::take(&self.pool.clients, &self.process, &worker.load)
                .with(std::mem::take(&mut admitted));
            let message = WorkerMessage::Serve(client, (self.pool.id, self.transport), permit);
            match worker.messages.send(message).await {
                Err(SendError(WorkerMessage::Serve(unserved, _, mut permit))) => {
                    client = unserved;
                    admitted = permit.take_admitted();
                }
                _ => return,
            }
        }
        // No worker is left: the process is about to exit, and closes the client.
    }

    async fn on_error(&mut self, error: &io::Error) {
        match error.raw_os_error() {
            Some(errno) if errno == NO_FILES_PROCESS || errno == NO_FILES_SYSTEM => {
                self.reject("out of file descriptors (LimitNOFILE)");
                self.spare = None;
                let accepted = timeout(ACCEPT_RETRY_DELAY, self.listener.accept()).await;
                if let Ok(Ok(client)) = accepted {
                    self.rejections.tell_at_once(client);
                } else {
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
                self.spare = File::open("/dev/null").ok();
            }
            _ if error.kind() == io::ErrorKind::ConnectionAborted => {}
            _ => {
                tracing::warn!(pool = &*self.pool.name, %error, "failed to accept a client");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }

    /// Counts a refused client, and logs it.
    fn reject(&self, why: &'static str) {
        self.pool.rejected.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(pool = &*self.pool.name, reason = why, "client refused");
        let journal = self.pool.store.journal();
        journal.record(EventKind::ClientsRefused, why);
    }
}

/// The running worker with the fewest clients; among equals, the next in turn.
fn least_loaded(workers: &[WorkerHandle], turn: usize) -> Option<&WorkerHandle> {
    let (late, early) = workers.split_at(turn % workers.len().max(1));
    early
        .iter()
        .chain(late)
        .filter(|worker| !worker.messages.is_closed())
        .min_by_key(|worker| worker.load.clients())
}

/// The errno of a process without free file descriptors.
const NO_FILES_PROCESS: i32 = rustix::io::Errno::MFILE.raw_os_error();
/// The errno of a system without free file descriptors.
const NO_FILES_SYSTEM: i32 = rustix::io::Errno::NFILE.raw_os_error();

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::runtime::client_permit::WorkerLoad;

    #[test]
    fn a_client_never_goes_to_a_worker_that_has_ended() {
        let limit = ConnLimit::default();
        let (workers, mut mailboxes): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (messages, mailbox) = mpsc::channel(1);
                let load = WorkerLoad::default();
                (WorkerHandle { messages, load }, mailbox)
            })
            .unzip();
        // The workers of three clients in a row, while the other clients stay connected.
        let chosen = || {
            [0, 1, 2].map(|turn| {
                let worker = least_loaded(&workers, turn)?;
                workers
                    .iter()
                    .position(|other| other.messages.same_channel(&worker.messages))
            })
        };
        assert_eq!(chosen(), [Some(0), Some(1), Some(2)]);
        let _permit = ClientPermit::take(&limit, &limit, &workers[0].load);
        assert_eq!(chosen(), [Some(1), Some(1), Some(2)]);
        drop(mailboxes.remove(1));
        assert_eq!(chosen(), [Some(2), Some(2), Some(2)]);
        drop(mailboxes.remove(1));
        assert_eq!(chosen(), [Some(0), Some(0), Some(0)]);
        drop(mailboxes);
        assert_eq!(chosen(), [None, None, None]);
    }
}
