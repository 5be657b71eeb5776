//! Why a session takes no requests: for now, or any more.

/// The reason why requests are not read, or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadPause {
    /// Requests in flight, or pending output, have reached the client's limit.
    Limit,
    /// Large replies are expected, and other clients have them in flight.
    LargeReplies,
    /// The client has used its budget of this turn.
    Budget,
    /// The queue of its server connection is full, and wakes the session when there is room; or the request waits for
    /// other clients, which wake it.
    Backpressure,
    /// The next request must not overtake those in flight.
    Fence,
}

/// The reason for the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The client disconnected, or requested to.
    Eof,
    /// The proxy drained the session.
    Drained,
    /// Another process serves the client.
    HandedOver,
    /// Anything else.
    Error,
}
