//! The replacement of this process by a new one that drops no client.
//!
//! ```text
//! ctl upgrade --> new binary -t --> start it with --take-over --+
//! --take-over, started by somebody else ------------------------+--> give: sockets, Ready, Serve, Serving --> clients, end
//!                         | anything fails: this process goes on as before
//! ```
//!
//! `give` and `leave` are the old process's side, `take` and `arrive` the new one's. At most one replacement is under way; until
//! the old process has no client left, neither of the two reloads, fails over, or changes a server.

mod arrive;
mod give;
mod leave;
mod new_process;
mod signs;
mod socket_files;
mod take;

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::api::ControlError;
use crate::admin::api::answers::Upgraded;
use crate::app::exclusion::Hold;
use crate::app::times::{DRAIN_WITHIN, LEAVE_WITHIN};
use crate::app::upgrade::give::{READY_WITHIN, Successor};
use crate::app::upgrade::leave::{Over, Progress, hand_over};
use crate::app::upgrade::new_process::NewProcess;
use crate::handover::{Connection, FromOld, HandoverError};

pub(super) use crate::app::upgrade::arrive::{Arrival, Arrived};
pub(super) use crate::app::upgrade::give::Estate;
pub(super) use crate::app::upgrade::new_process::Launch;
pub(super) use crate::app::upgrade::socket_files::{OwnSockets, SocketFiles};
pub(super) use crate::app::upgrade::take::Predecessor;

/// The time limit for telling the new process that nothing follows.
const DONE_WITHIN: Duration = Duration::from_secs(1);

/// The connection of a new process, once it has left HTTP.
type Stream = oneshot::Receiver<UnixStream>;

/// The replacement of this process, at most one at a time.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    running: Option<Running>,
    /// Set once this process is replaced, until it ends.
    replaced: Option<Replaced>,
}

#[derive(Debug)]
struct Running {
    task: AbortOnDropHandle<Result<Replaced, ControlError>>,
    /// Takes the connection of the new process.
    connections: mpsc::Sender<Stream>,
}

/// What a process that is replaced keeps to its end.
#[derive(Debug)]
struct Replaced {
    /// Its end tells the new process that this one has.
    _connection: Connection,
    _freeze: Hold,
}

/// The operator who waits.
pub(super) type Answer = oneshot::Sender<Result<Upgraded, ControlError>>;

/// What an operator has ordered.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) launch: Launch,
    pub(super) binary: Option<PathBuf>,
    /// The admin socket.
    pub(super) admin: PathBuf,
    /// The reasons why a reload of the file would be refused.
    pub(super) refusals: JoinHandle<Vec<String>>,
    pub(super) freeze: Hold,
}

impl Upgrade {
    /// Returns true if a replacement is under way.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts a new process, and hands over to it. The answer comes when clients have moved, at the latest in some seconds.
    pub(super) fn begin(&mut self, orders: Orders, estate: Estate, answer: Answer) {
        let (connections, connected) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut answer = Some(answer);
            let replaced = replace(orders, estate, connected, &mut answer).await;
            if let (Err(error), Some(answer)) = (&replaced, answer) {
                // Who has asked may have gone.
                let _ = answer.send(Err(error.clone()));
            }
            replaced
        });
        self.running = Some(Running {
            task: AbortOnDropHandle::new(task),
            connections,
        });
    }

    /// Takes the connection of a new process: the one that was started, or, with what that takes over, one that somebody else
    /// has started.
    pub(super) fn connect(
        &mut self,
        stream: Stream,
        prepared: Option<(Estate, Hold)>,
    ) -> Result<(), ControlError> {
        let taken = || refused("another process is taking over already");
        let Some((estate, freeze)) = prepared else {
            let running = self.running.as_ref().ok_or_else(taken)?;
            return running.connections.try_send(stream).map_err(|_| taken());
        };
        // Nobody else may connect.
        let (connections, _) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let given = give(&estate, stream, || (), |_| ()).await;
            let connection = given.map_err(|error| refused(&error.to_string()))?;
            Ok(Replaced {
                _connection: connection,
                _freeze: freeze,
            })
        });
        self.running = Some(Running {
            task: AbortOnDropHandle::new(task),
            connections,
        });
        Ok(())
    }

    /// Waits for the end of a replacement. Cancel safe.
    pub(super) async fn ended(&mut self) -> Result<(), ControlError> {
        let Some(running) = &mut self.running else {
            return pending().await;
        };
        let ended = (&mut running.task).await;
        self.running = None;
        let ended = ended.unwrap_or_else(|error| Err(refused(&error.to_string())));
        self.replaced = Some(ended?);
        Ok(())
    }
}

async fn replace(
    orders: Orders,
    estate: Estate,
    mut connected: mpsc::Receiver<Stream>,
    answer: &mut Option<Answer>,
) -> Result<Replaced, ControlError> {
    let Orders {
        launch,
        binary,
        admin,
        refusals,
        freeze,
    } = orders;
    let launch = launch.with_binary(binary);
    launch.check(&admin).await.map_err(failed)?;
    let refusals = refusals.await.unwrap_or_default();
    if !refusals.is_empty() {
        return Err(ControlError::Refused {
            reason: "a reload of the configuration file would be refused, so the upgrade is; nothing was changed"
                .to_owned(),
            details: refusals,
        });
    }
    let mut process = launch.start(&admin).map_err(failed)?;
    tracing::info!(
        old = std::process::id(),
        new = process.pid,
        binary = launch.name(),
        "upgrade: new process started"
    );
    let stream = tokio::select! {
        Some(stream) = connected.recv() => stream,
        status = process.exited() => return Err(failed(gone(&mut process, &status).await)),
        () = tokio::time::sleep(READY_WITHIN) => {
            return Err(failed(vec![format!(
                "process {} has not asked for the listeners within {READY_WITHIN:?}", process.pid
            )]));
        }
    };
    let report = |upgraded| {
        if let Some(answer) = answer.take() {
            let _ = answer.send(Ok(upgraded));
        }
    };
    match give(&estate, stream, || process.release(), report).await {
        Ok(connection) => Ok(Replaced {
            _connection: connection,
            _freeze: freeze,
        }),
        Err(error) => {
            let mut lines = vec![error.to_string()];
            if let Some(status) = process.exited_already().await {
                lines.extend(gone(&mut process, &status).await);
            }
            Err(failed(lines))
        }
    }
}

/// The end of a new process, and its last words.
async fn gone(process: &mut NewProcess, status: &str) -> Vec<String> {
    let mut lines = vec![format!(
        "process {} ended before it served: {status}",
        process.pid
    )];
    lines.extend(process.last_words().await);
    lines
}

/// Hands over the sockets, then the clients. Tells the one who waits how far that has come, once. Returns the connection to the
/// new process when this one is to end.
async fn give(
    estate: &Estate,
    stream: Stream,
    on_serving: impl FnOnce(),
    report: impl FnOnce(Upgraded),
) -> Result<Connection, HandoverError> {
    let stream = timeout(READY_WITHIN, stream).await;
    let stream = stream.ok().and_then(Result::ok);
    let mut connection = Connection::new(stream.ok_or(HandoverError::Gone)?);
    let successor = estate.give(&mut connection).await?;
    on_serving();
    let Successor { pid, version, .. } = &successor;
    let (old, new, transfer) = (std::process::id(), *pid, &estate.transfer);
    let clients = transfer.clients();
    tracing::info!(
        old,
        new,
        version,
        clients,
        "upgrade: the new process serves"
    );
    let upgraded = |progress: Progress, within: Duration| Upgraded {
        old_pid: old,
        new_pid: new,
        version: version.clone(),
        moved: progress.moved,
        left: progress.left,
        within_seconds: within.as_secs(),
    };
    if successor.record.is_none() {
        tracing::warn!(
            old,
            new,
            "upgrade: the new process knows no client of this version; clients are drained"
        );
        done(&connection, clients).await;
        let left = clients as u64;
        report(upgraded(Progress { moved: 0, left }, DRAIN_WITHIN));
        return Ok(connection);
    }
    let mut report = Some(|progress| report(upgraded(progress, LEAVE_WITHIN)));
    match hand_over(&mut connection, transfer, &successor, &mut report).await {
        Ok(Over::Moved(progress)) => {
            let Progress { moved, left } = progress;
            tracing::info!(old, new, moved, left, "upgrade: clients handed over");
            // Before somebody hears that nothing is left, and has the new process do what it would refuse.
            done(&connection, transfer.clients()).await;
            if let Some(report) = report {
                report(progress);
            }
            Ok(connection)
        }
        Ok(Over::Stopped) => {
            tracing::info!(
                old,
                new,
                "upgrade: an operator ends the new process, and so this one"
            );
            Ok(connection)
        }
        Err(error) => {
            estate.resume(&connection.sender, &error).await;
            Err(error)
        }
    }
}

async fn done(connection: &Connection, left: usize) {
    let done = FromOld::Done { left };
    // It may have died already, or hang.
    let _ = timeout(DONE_WITHIN, connection.sender.send(&done)).await;
}

/// The new process does not serve; these are the reasons.
fn failed(details: Vec<String>) -> ControlError {
    ControlError::Refused {
        reason: "the new process does not serve; this one goes on".to_owned(),
        details,
    }
}

pub(super) fn refused(reason: &str) -> ControlError {
    ControlError::Refused {
        reason: reason.to_owned(),
        details: Vec::new(),
    }
}
