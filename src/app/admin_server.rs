//! The admin socket that is served.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::api;
use crate::admin::api::AdminSocket;
use crate::app::admin_control::AppControl;
use crate::net::AcceptGate;

/// Serves the admin socket, and another one in its place if it is lost.
pub(super) struct AdminServer {
    control: Arc<AppControl>,
    gate: AcceptGate,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl AdminServer {
    /// Serves sockets behind `gate`, each as one of `tasks`, until `stop`.
    pub(super) fn new(
        control: Arc<AppControl>,
        gate: &AcceptGate,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            control,
            gate: gate.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        }
    }

    pub(super) fn serve(&self, socket: AdminSocket) {
        let control = Arc::clone(&self.control);
        let (gate, stop) = (self.gate.clone(), self.stop.clone());
        self.tasks.spawn(api::serve(socket, control, gate, stop));
    }
}
