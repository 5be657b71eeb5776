//! What keeps the proxy from running.

use std::io;

use crate::handover::HandoverError;
use crate::runtime::WorkerError;
use crate::systemd::SocketError;

/// An error that keeps the proxy from running.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The runtime of the control thread could not be created.
    #[error("failed to create the runtime of the control thread: {0}")]
    Runtime(#[source] io::Error),
    /// A worker could not start, or ended before the shutdown.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A pool's address is taken or unusable.
    #[error("pool '{pool}': listening on '{address}' failed: {error}")]
    Listen {
        /// The pool.
        pool: String,
        /// Its `listen`.
        address: String,
        /// The error of the system.
        error: io::Error,
    },
    /// A pool's address overlaps with one that the proxy itself listens on.
    #[error(
        "pool '{pool}': '{address}' overlaps with '{own}', on which pool '{owner}' listens already; move it to another port first, or restart"
    )]
    ListensAlready {
        /// The pool.
        pool: String,
        /// Its `listen`.
        address: String,
        /// The pool that listens.
        owner: String,
        /// Its `listen`.
        own: String,
    },
    /// A pool is to listen on a unix socket without a mode that another one has opened with one.
    #[error(
        "pool '{pool}': '{own}' is open, and with '{address}' its mode would be what the umask leaves, which is known at a \
         start only; write a mode behind the path, or restart"
    )]
    SocketMode {
        /// The pool.
        pool: String,
        /// Its `listen`.
        address: String,
        /// The `listen` with the mode.
        own: String,
    },
    /// The stats port is taken or unusable.
    #[error("stats port: {0}")]
    Stats(#[source] io::Error),
    /// The admin socket is taken or unusable.
    #[error("admin socket '{path}': {error}")]
    Admin {
        /// Its path.
        path: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The service manager passes something that is no listener.
    #[error(transparent)]
    PassedSocket(#[from] SocketError),
    /// A socket of the service manager has no use.
    #[error(
        "the service manager passes socket '{name}', on whose address no pool listens, nor the stats port or the admin \
         socket; name it after its pool (FileDescriptorName=), 'stats' or 'admin'"
    )]
    StraySocket {
        /// Its name at the service manager.
        name: String,
    },
    /// The process cannot take over another one.
    #[error("take-over: {0}")]
    TakeOver(#[from] HandoverError),
    /// The pid file could not be written.
    #[error("writing pid file '{path}' failed: {error}")]
    PidFile {
        /// Its path.
        path: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The signal handlers could not be installed.
    #[error("catching signals failed: {0}")]
    Signals(#[source] io::Error),
}
