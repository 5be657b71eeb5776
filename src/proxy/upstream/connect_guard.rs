//! The connection attempts and open connections of one server, counted as long as they last.

use std::cell::Cell;
use std::rc::Rc;

use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::upstream::server::Server;
use crate::stats::ServerMetric;

/// How connecting to one server goes, for those who decide whether to try again.
#[derive(Debug, Default)]
pub(crate) struct ConnectState {
    /// How the last attempt failed; `None` where it did not.
    failing: Cell<Option<UpstreamError>>,
    /// Attempts that are under way.
    attempts: Cell<usize>,
}

impl ConnectState {
    /// How the last attempt failed; `None` where it did not.
    pub(crate) fn failing(&self) -> Option<UpstreamError> {
        self.failing.get()
    }

    /// Returns true if an attempt is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.attempts.get() > 0
    }
}

/// An attempt to connect, counted as long as it lasts.
#[derive(Debug)]
pub(crate) struct ConnectGuard(Rc<ConnectState>);

impl ConnectGuard {
    /// Begins an attempt.
    pub(crate) fn begin(state: &Rc<ConnectState>) -> Self {
        state.attempts.set(state.attempts.get() + 1);
        Self(Rc::clone(state))
    }

    /// Ends it without a connection. Returns true if the attempt before had not failed.
    pub(crate) fn fail(self, error: UpstreamError) -> bool {
        self.0.failing.replace(Some(error)).is_none()
    }

    /// Ends it with a connection.
    pub(crate) fn succeed(self) {
        self.0.failing.set(None);
    }
}

impl Drop for ConnectGuard {
    fn drop(&mut self) {
        self.0.attempts.set(self.0.attempts.get() - 1);
    }
}

/// A place in the gauge of open connections.
#[derive(Debug)]
pub(crate) struct ConnGauge<P: Protocol>(Rc<Server<P>>);

impl<P: Protocol> ConnGauge<P> {
    pub(crate) fn new(server: &Rc<Server<P>>) -> Self {
        server.cells.bump(ServerMetric::ServerConnections);
        Self(Rc::clone(server))
    }
}

impl<P: Protocol> Drop for ConnGauge<P> {
    fn drop(&mut self) {
        self.0.cells.drop_one(ServerMetric::ServerConnections);
    }
}
