//! Failovers that operators order.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::admin::api::ControlError;
use crate::admin::api::answers::FailedOver;
use crate::app::exclusion::Hold;
use crate::control;
use crate::runtime::PoolSetup;
use crate::topology::PoolServer;

/// Makes a replica the primary of a server. To be run to its end.
pub(super) async fn fail_over(
    setup: PoolSetup,
    server: Arc<PoolServer>,
    to: Option<SocketAddr>,
    permit: Hold,
) -> Result<FailedOver, ControlError> {
    let made = control::fail_over(Arc::clone(&setup.store), server.name.clone(), to).await;
    drop(permit);
    let made = made.map_err(|error| refused(error.to_string()))?;
    Ok(FailedOver {
        pool: setup.name.to_string(),
        server: server.name.clone(),
        old: made.old,
        new: made.new.to_string(),
        by: made.by.to_owned(),
        took_ms: u64::try_from(made.took.as_millis()).unwrap_or(u64::MAX),
        warnings: made.warnings,
    })
}

/// The refusal for a reason.
pub(super) fn refused(reason: String) -> ControlError {
    ControlError::Refused {
        reason,
        details: Vec::new(),
    }
}
