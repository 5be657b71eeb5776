//! The state of a reply queue, as its session reads it.

/// What the session was told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseSignal {
    /// End when all is answered.
    Drain,
    /// End now.
    Kill,
    /// End now: the client is owed too much. Its replies are dropped already.
    OutputLimit,
    /// End now: the client does not keep up with what it is subscribed to. What it was owed is dropped already.
    SlowSubscriber,
}

/// The number of a request within its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seq(pub(crate) u64);

/// What a session must know of its queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    /// Requests without a whole reply.
    pub(crate) in_flight: usize,
    /// Bytes that wait for the client.
    pub(crate) pending_bytes: usize,
    /// Bytes that the requests in flight will bring, if they are like the last ones; `None` before the first reply.
    pub(crate) expected_bytes: Option<usize>,
    /// Those of `pending_bytes` whose turn has come.
    pub(crate) out_bytes: usize,
    /// The client cannot be answered any more.
    pub(crate) cut: bool,
    /// Whether the session was told to end.
    pub(crate) close_signal: Option<CloseSignal>,
}
