//! The reasons why two processes do not understand each other.

use std::io;
use std::time::Duration;

/// An error of the connection between an old and a new process.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Nothing answers at the admin socket.
    #[error("no proxy answers at '{path}': {error}")]
    NoProxy {
        /// Its path.
        path: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The old process refuses.
    #[error("the process at '{path}' refuses to be taken over: {reason}")]
    Refused {
        /// The path of its admin socket.
        path: String,
        /// Its words.
        reason: String,
    },
    /// The connection failed.
    #[error("connection to the other process: {0}")]
    Io(#[from] io::Error),
    /// The other process has ended, or closed the connection.
    #[error("the other process has ended")]
    Gone,
    /// A message that no version of this protocol has.
    #[error("malformed message of the other process: {0}")]
    Malformed(String),
    /// A step that took too long.
    #[error("no answer of the other process within {within:?}")]
    Late {
        /// The time limit.
        within: Duration,
    },
    /// The other process gives up.
    #[error("{0}")]
    GivenUp(String),
}
