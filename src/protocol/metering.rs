//! What a request is to quotas.

/// Whether a request counts towards the quotas of its client, and may be refused because of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// It does neither: it is no request, or its client has not authenticated.
    Free,
    /// It counts as far as something is left: it ends something, or makes the client another user.
    NeverRefused,
    /// It counts, and is refused if nothing is left.
    Counted,
}
