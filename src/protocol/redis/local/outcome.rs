//! How a request that the proxy answers itself ends.

/// What becomes of the connection behind a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// It stays open.
    Stay,
    /// It stays open, and there is no reply.
    Silent,
    /// It closes once the reply is written.
    Close,
}
