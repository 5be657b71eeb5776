//! The reasons why a command fails.

use std::path::{Path, PathBuf};

use crate::admin::api::answers::Refusal;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// Nothing answers at the socket.
    #[error(
        "no proxy answers at '{}': {reason}; start it with --admin, or name its socket",
        path.display()
    )]
    NoProxy {
        /// The path of the socket.
        path: PathBuf,
        /// The error of the system.
        reason: String,
    },
    /// It is no socket of a proxy, or of one of another version.
    #[error("'{}' does not answer as an admin socket: {reason}", path.display())]
    Strange {
        /// The path of the socket.
        path: PathBuf,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The proxy refuses.
    #[error("{}", lines(refusal))]
    Refused {
        /// Its words.
        refusal: Refusal,
        /// Its JSON, if that was asked for.
        json: String,
    },
}

impl CtlError {
    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } => 1,
            Self::NoProxy { .. } | Self::Strange { .. } => 3,
        }
    }
}

/// An answer that no proxy of this version gives.
pub(super) fn strange(path: &Path, reason: &dyn std::fmt::Display) -> CtlError {
    CtlError::Strange {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// The reason, and below it the details.
fn lines(refusal: &Refusal) -> String {
    let details = refusal.details.iter().map(|detail| format!("\n{detail}"));
    refusal.error.clone() + &details.collect::<String>()
}
