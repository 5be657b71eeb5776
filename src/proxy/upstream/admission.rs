//! Whether a connection takes a request.

use tokio::time::Instant;

use crate::protocol::UpstreamError;

/// Why nothing is queued: for a time in which requests fail at once, with this error, or before the connection is open.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Down {
    Until(Instant, UpstreamError),
    Forever(UpstreamError),
    /// Of a server with a guard: the connection is not open.
    Unopened,
}

/// The result of the admission of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Open,
    /// There is no room before the server has read some of the queue, or a connection of a server with a guard is opened:
    /// who waits until then is routed by what the worker knows by then.
    Full,
    /// The server is down, and it is too early to try again.
    Down(UpstreamError),
}
