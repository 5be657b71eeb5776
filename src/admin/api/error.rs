//! The reasons for which a request is refused.

use hyper::StatusCode;

use super::answers::Refusal;
use crate::admin::guard::Untrusted;

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
    /// The stats port does not offer it.
    #[error("'{0}' is offered by the admin socket alone ('--admin', 'ringroad ctl')")]
    AdminOnly(&'static str),
    /// Another site may have made it, in somebody's browser.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// No pool has this name.
    #[error("no pool '{0}'")]
    UnknownPool(String),
    /// No server has this name.
    #[error("no server '{server}' in {}", pool_or_any(pool.as_deref()))]
    UnknownServer {
        /// The name.
        server: String,
        /// The pool that was given.
        pool: Option<String>,
    },
    /// Servers of several pools have this name.
    #[error("several pools have a server '{server}'; name one of them")]
    AmbiguousServer {
        /// The name.
        server: String,
        /// The pools.
        pools: Vec<String>,
    },
    /// No client is this one.
    #[error("no client with {0}")]
    UnknownClient(String),
    /// No user of the pool has this name.
    #[error("no user '{user}' in pool '{pool}'")]
    UnknownUser {
        /// The pool.
        pool: String,
        /// The name.
        user: String,
    },
    /// The pool has no users.
    #[error("pool '{0}' is a memcached pool, which has no users")]
    NoUsers(String),
    /// The clients of this pool are not listed.
    #[error("pool '{0}' is a memcached pool, which keeps no list of its clients")]
    NoClientList(String),
    /// Another reload has not ended yet.
    #[error("another reload is in progress")]
    Reloading,
    /// The configuration file has faults.
    #[error("the configuration file is invalid; nothing was changed")]
    FaultyFile(Vec<String>),
    /// A valid change that is not made.
    #[error("{reason}")]
    Refused {
        /// The reason.
        reason: String,
        /// More lines about it, such as ways to do it nevertheless.
        details: Vec<String>,
    },
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
            Self::Malformed(_) | Self::AmbiguousServer { .. } => StatusCode::BAD_REQUEST,
            Self::AdminOnly(_) | Self::Untrusted(_) => StatusCode::FORBIDDEN,
            Self::UnknownPath(_)
            | Self::UnknownPool(_)
            | Self::UnknownServer { .. }
            | Self::UnknownUser { .. }
            | Self::UnknownClient(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoClientList(_)
            | Self::NoUsers(_)
            | Self::Reloading
            | Self::Refused { .. }
            | Self::Stopping => StatusCode::CONFLICT,
            Self::FaultyFile(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn refusal(&self) -> Refusal {
        Refusal {
            error: self.to_string(),
            details: self.details().to_vec(),
        }
    }

    /// More lines about it.
    #[must_use]
    pub fn details(&self) -> &[String] {
        match self {
            Self::AmbiguousServer { pools: details, .. }
            | Self::FaultyFile(details)
            | Self::Refused { details, .. } => details,
            _ => &[],
        }
    }
}

fn pool_or_any(pool: Option<&str>) -> String {
    pool.map_or_else(|| "any pool".to_owned(), |pool| format!("pool '{pool}'"))
}
