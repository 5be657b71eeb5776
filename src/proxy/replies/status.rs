//! The state of a reply queue, as its session reads it.

/// An order from outside to close the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseSignal {
    /// Close once all requests are answered.
    Drain,
    /// Leave for another process once all requests are answered.
    HandOver,
    /// Close now if the client has a subscription that its user may not have.
    CheckUser,
    /// Close now.
    Kill,
    /// Close now: pending output exceeds the limit. It is dropped already.
    OutputLimit,
    /// Close now: the subscriber does not keep up with its messages. Pending output is dropped already.
    SlowSubscriber,
}

/// The sequence number of a request within its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seq(pub(crate) u64);

/// A snapshot of a queue for its session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    /// Requests without a complete reply.
    pub(crate) in_flight: usize,
    /// Bytes of pending output.
    pub(crate) pending_bytes: usize,
    /// The average size of the last replies; `None` before the first.
    pub(crate) reply_bytes: Option<usize>,
    /// Expected bytes of the replies in flight, by the average of the last ones; `None` before the first reply.
    pub(crate) expected_bytes: Option<usize>,
    /// Those of `pending_bytes` that are ready to be written.
    pub(crate) out_bytes: usize,
    /// A reply was cut off: no other can follow it.
    pub(crate) cut: bool,
    /// The order to close the session, if any.
    pub(crate) close_signal: Option<CloseSignal>,
}
