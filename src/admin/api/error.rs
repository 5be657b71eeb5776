//! The reasons for which a request is refused.

use hyper::StatusCode;

use super::answers::Refusal;

/// A request that is refused: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The request is malformed, or has a parameter that does not exist.
    #[error("{0}")]
    Malformed(String),
    /// No operation has this path.
    #[error("no operation has the path '{0}'; GET / lists them")]
    UnknownPath(String),
    /// The path has another method.
    #[error("'{path}' takes {allowed}")]
    WrongMethod {
        /// The path.
        path: &'static str,
        /// The methods that it has.
        allowed: String,
    },
    /// No pool has this name.
    #[error("no pool '{0}'")]
    UnknownPool(String),
    /// No client is this one.
    #[error("no client with {0}")]
    UnknownClient(String),
    /// The clients of this pool are not listed.
    #[error("pool '{0}' is a memcached pool, which keeps no list of its clients")]
    NoClientList(String),
    /// It has been stopped already.
    #[error("the proxy is stopping already")]
    Stopping,
    /// An answer could not be written: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ControlError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::UnknownPath(_) | Self::UnknownPool(_) | Self::UnknownClient(_) => {
                StatusCode::NOT_FOUND
            }
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoClientList(_) | Self::Stopping => StatusCode::CONFLICT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn refusal(&self) -> Refusal {
        Refusal {
            error: self.to_string(),
            details: Vec::new(),
        }
    }
}
