//! Accepts the clients of one pool, and hands each to the least loaded worker.
//!
//! Invariants: a client for whom there is no room is told so and closed, and the listener lives on; running out of
//! file descriptors is such a case, not an end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::net::{Accepted, ConnLimit, Listener, Stream};
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::pool_setup::PoolSetup;
use crate::runtime::worker::WorkerMessage;
use crate::runtime::workers::{WorkerHandle, Workers};

/// Pause after an error of accept that is not about a single client.
const PAUSE: Duration = Duration::from_millis(50);

/// Least time between two lines in the log that tell of refused clients.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Refused clients that are waited for, so that the refusal reaches them.
const LINGERING_MAX: usize = 64;

/// How long each of them is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// Accepts for one pool.
#[derive(Debug)]
pub struct Acceptor {
    pool: usize,
    name: String,
    listener: Listener,
    conn_limit: ConnLimit,
    process: ConnLimit,
    workers: Vec<WorkerHandle>,
    /// Refused clients, counted for the statistics.
    rejected: Arc<AtomicU64>,
    refusal: Bytes,
    farewells: Arc<Semaphore>,
    /// Given up when there are no file descriptors left, to accept and refuse one client at a time.
    spare: Option<File>,
    logged: Option<Instant>,
    turn: usize,
}

impl Acceptor {
    /// Serves `listener` for the pool with this index. `process` counts the clients of all pools, and the connections that
    /// these have for themselves.
    pub fn new(
        pool: usize,
        plan: &PoolSetup,
        listener: Listener,
        process: ConnLimit,
        workers: &Workers,
    ) -> Self {
        let config = &plan.config;
        let limit = config
            .client_connections
            .map_or(usize::MAX, |limit| limit as usize);
        Self {
            pool,
            name: config.name.clone(),
            listener,
            conn_limit: ConnLimit::new(limit),
            process,
            workers: workers.handles(),
            rejected: Arc::clone(&plan.rejected),
            refusal: plan.refusal(),
            farewells: Arc::new(Semaphore::new(LINGERING_MAX)),
            spare: File::open("/dev/null").ok(),
            logged: None,
            turn: 0,
        }
    }

    /// Accepts until `stop`; then the listener is closed.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(client) => self.admit(client).await,
                Err(error) => self.on_error(&error).await,
            }
        }
    }

    async fn admit(&mut self, mut client: Accepted) {
        if !self.conn_limit.has_room() || !self.process.has_room() {
            self.reject("client limit reached (client_connections, LimitNOFILE)");
            return self.linger(client);
        }
        self.turn = self.turn.wrapping_add(1);
        while let Some(worker) = least_loaded(&self.workers, self.turn) {
            let permit = ClientPermit::take(&self.conn_limit, &self.process, &worker.load);
            let message = WorkerMessage::Serve(client, self.pool, permit);
            match worker.messages.send(message).await {
                Err(SendError(WorkerMessage::Serve(unserved, ..))) => client = unserved,
                _ => return,
            }
        }
        // No worker is left: the process is about to end, and closes the client.
    }

    /// Says the refusal to a client, without holding up the others.
    fn linger(&self, client: Accepted) {
        let Ok(permit) = Arc::clone(&self.farewells).try_acquire_owned() else {
            refuse_now(client, &self.refusal);
            return;
        };
        let refusal = self.refusal.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = Stream::adopt(client, false) else {
                return;
            };
            let farewell = async {
                stream.write_all(&refusal).await?;
                stream.shutdown().await?;
                let mut dropped = [0; 1024];
                // Closing with unread bytes would reset the connection, and the refusal would be lost.
                while stream.read(&mut dropped).await? > 0 {}
                io::Result::Ok(())
            };
            // A client that does not read or close in time is closed all the same.
            let _ = timeout(FAREWELL, farewell).await;
            drop(permit);
        });
    }

    async fn on_error(&mut self, error: &io::Error) {
        match error.raw_os_error() {
            Some(errno) if errno == NO_FILES_PROCESS || errno == NO_FILES_SYSTEM => {
                self.reject("out of file descriptors (LimitNOFILE)");
                self.spare = None;
                let accepted = timeout(PAUSE, self.listener.accept()).await;
                if let Ok(Ok(client)) = accepted {
                    refuse_now(client, &self.refusal);
                } else {
                    sleep(PAUSE).await;
                }
                self.spare = File::open("/dev/null").ok();
            }
            _ if error.kind() == io::ErrorKind::ConnectionAborted => {}
            _ => {
                tracing::warn!(pool = self.name, %error, "failed to accept a client");
                sleep(PAUSE).await;
            }
        }
    }

    /// Counts a refused client, and tells the log now and then.
    fn reject(&mut self, why: &'static str) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        if self
            .logged
            .is_none_or(|logged| logged.elapsed() >= LOG_EVERY)
        {
            self.logged = Some(Instant::now());
            tracing::warn!(pool = self.name, reason = why, "client refused");
        }
    }
}

/// The worker with the fewest clients among those that still run; among equals, the next in turn.
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

fn refuse_now(client: Accepted, refusal: &[u8]) {
    // One attempt: a fresh socket has room for a line, and nobody may be waited for here.
    let _sent = match client {
        Accepted::Tcp(mut stream) => stream.write(refusal),
        Accepted::Unix(mut stream) => stream.write(refusal),
    };
}

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
        // The number of the worker that each of three clients in a row would get, the others staying where they are.
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
