//! Ways of speaking to servers.

/// A way of speaking to servers, by number.
///
/// A connection keeps to the lane that its greeting chose, and a client's requests travel on connections of its lane, so
/// that replies need no translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnProfile(u32);

impl ConnProfile {
    /// What every client starts with. A server that fails on it is of no use to the pool.
    pub const FIRST: Self = Self(0);

    /// The lane of this number, which must be less than [`crate::protocol::Protocol::lanes`] says.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
