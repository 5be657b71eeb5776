//! What may not happen at once: an upgrade, a failover, and a change of a server by an operator.

use std::sync::Arc;

use tokio::sync::{
    OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, Semaphore,
};

use crate::admin::api::ControlError;

/// Keeps these apart. Nobody waits: who is too late is refused.
#[derive(Debug, Clone)]
pub(super) struct Exclusion {
    failovers: Arc<Semaphore>,
    /// Written to while a new process learns the state of the servers.
    servers: Arc<RwLock<()>>,
}

/// Keeps what a new process has been told from changing: no failover begins, and no operator changes a server.
#[derive(Debug)]
pub(super) struct Freeze {
    _failovers: OwnedSemaphorePermit,
    _servers: OwnedRwLockWriteGuard<()>,
}

impl Exclusion {
    pub(super) fn new() -> Self {
        Self {
            failovers: Arc::new(Semaphore::new(1)),
            servers: Arc::default(),
        }
    }

    /// For the time of a failover.
    pub(super) fn fail_over(&self) -> Result<OwnedSemaphorePermit, ControlError> {
        let permit = Arc::clone(&self.failovers).try_acquire_owned();
        permit.map_err(|_| refused("another failover is under way"))
    }

    /// For the time of a change of a server.
    pub(super) fn change_server(&self) -> Result<OwnedRwLockReadGuard<()>, ControlError> {
        let guard = Arc::clone(&self.servers).try_read_owned();
        guard.map_err(|_| refused("an upgrade is under way; change servers when it has ended"))
    }

    /// For the time of an upgrade.
    pub(super) fn freeze(&self) -> Result<Freeze, ControlError> {
        let failovers = Arc::clone(&self.failovers).try_acquire_owned();
        let failovers =
            failovers.map_err(|_| refused("a failover is under way; upgrade when it has ended"))?;
        let servers = Arc::clone(&self.servers).try_write_owned();
        let servers =
            servers.map_err(|_| refused("a server is being changed; upgrade when that is done"))?;
        Ok(Freeze {
            _failovers: failovers,
            _servers: servers,
        })
    }
}

fn refused(reason: &str) -> ControlError {
    ControlError::Refused {
        reason: reason.to_owned(),
        details: Vec::new(),
    }
}
