//! The state of the connection after a local reply.

/// The state of the connection after a local reply.
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
