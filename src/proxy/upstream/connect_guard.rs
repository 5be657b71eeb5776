//! The connection attempts and open connections of one server, counted as long as they last.

use std::cell::Cell;
use std::rc::Rc;

use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::upstream::server::Server;
use crate::stats::ServerMetric;

/// The state of the connection attempts to one server, on which further attempts depend.
#[derive(Debug, Default)]
pub(crate) struct ConnectState {
    /// The error of the last attempt; `None` if it did not fail.
    failing: Cell<Option<UpstreamError>>,
    /// Attempts in progress.
    attempts: Cell<usize>,
}

impl ConnectState {
    /// The error of the last attempt; `None` if it did not fail.
    pub(crate) fn failing(&self) -> Option<UpstreamError> {
        self.failing.get()
    }

    /// Returns true if an attempt is in progress.
    pub(crate) fn is_under_way(&self) -> bool {
        self.attempts.get() > 0
    }
}

/// A connection attempt, counted as long as it lasts.
#[derive(Debug)]
pub(crate) struct ConnectGuard(Rc<ConnectState>);

impl ConnectGuard {
    /// Begins an attempt.
    pub(crate) fn begin(state: &Rc<ConnectState>) -> Self {
        state.attempts.set(state.attempts.get() + 1);
        Self(Rc::clone(state))
    }

    /// Ends it without a connection. Returns true if the previous attempt had not failed.
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

/// An open connection, counted in the gauge as long as it lasts.
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
