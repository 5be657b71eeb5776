//! The reasons why a command fails.

use std::path::{Path, PathBuf};

use crate::admin::api::answers::Refusal;
use crate::config::ConfigErrors;

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
    /// A file to be sent cannot be read.
    #[error("{0}")]
    File(#[from] ConfigErrors),
    /// A file is larger than a proxy takes.
    #[error("'{}' is too long: a proxy takes at most {max_bytes} bytes of JSON", path.display())]
    LongFile {
        /// The file.
        path: PathBuf,
        /// The maximum length of a request.
        max_bytes: usize,
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
            Self::File(_) | Self::LongFile { .. } => 2,
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
