//! The shard whose primary is to change, and why it may not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::PoolConfig;
use crate::control::conn::Failure;
use crate::net::ServerAddr;
use crate::topology::TopologyStore;

/// The pause between two looks at what goes on.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// The new primary, how it was made one, and what was not done.
pub(super) type Done = (SocketAddr, &'static str, Vec<String>);

/// The reason why there was no failover.
#[derive(Debug, thiserror::Error)]
pub enum FailoverError {
    /// It is not possible; nothing was changed.
    #[error("{0}")]
    Impossible(String),
    /// A server or a sentinel does not answer, or refuses.
    #[error("{who}: {reason}")]
    Refused {
        /// Its name and address.
        who: String,
        /// Why.
        reason: String,
    },
    /// It was begun, and has not ended in time.
    #[error("{0}")]
    Unfinished(String),
}

impl FailoverError {
    pub(super) fn refused(who: &str, failure: &Failure) -> Self {
        Self::Refused {
            who: who.to_owned(),
            reason: failure.to_string(),
        }
    }
}

/// A shard whose primary is to change.
pub(super) struct Shard {
    pub(super) store: Arc<TopologyStore>,
    pub(super) config: Arc<PoolConfig>,
    pub(super) name: String,
    /// The address of its primary.
    pub(super) primary: ServerAddr,
}

impl Shard {
    /// The words for its primary, for messages.
    pub(super) fn primary_name(&self) -> String {
        format!("the primary {}", self.primary)
    }

    /// Another primary, if the watchers of roles have adopted one.
    pub(super) fn new_primary(&self) -> Option<SocketAddr> {
        let known = self.store.primary(&self.name).map(|known| known.address);
        known.filter(|known| ServerAddr::from(*known) != self.primary)
    }

    /// Waits until the watchers of roles have adopted another primary.
    pub(super) async fn switched(&self, deadline: Instant) -> Option<SocketAddr> {
        loop {
            if let Some(new) = self.new_primary() {
                return Some(new);
            }
            if Instant::now() >= deadline {
                return None;
            }
            self.store.want_roles();
            sleep(LOOK).await;
        }
    }
}
