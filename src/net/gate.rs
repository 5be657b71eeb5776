//! A gate in front of all listeners of the process.

use std::sync::Arc;

use tokio::sync::watch;

/// A gate in front of listeners: while it is closed nothing is accepted, and what connects waits in the system's queue. A
/// clone is the same gate.
#[derive(Debug, Clone)]
pub struct AcceptGate(Arc<watch::Sender<bool>>);

impl AcceptGate {
    /// A gate that is open or closed.
    #[must_use]
    pub fn new(is_open: bool) -> Self {
        Self(Arc::new(watch::Sender::new(is_open)))
    }

    /// Opens it.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Closes it.
    pub fn close(&self) {
        self.0.send_replace(false);
    }

    /// Completes when it is open. Cancel safe.
    pub async fn opened(&self) {
        // The sender is `self`, so that waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }

    /// Completes when it is closed. Cancel safe.
    pub async fn closed(&self) {
        let _ = self.0.subscribe().wait_for(|is_open| !*is_open).await;
    }
}

impl Default for AcceptGate {
    /// An open one.
    fn default() -> Self {
        Self::new(true)
    }
}
