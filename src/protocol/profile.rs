//! Connection profiles.

/// The number of a connection profile: for Redis, a RESP version and a database.
///
/// A connection keeps the profile that its handshake chose, and a client's requests travel on connections of its
/// profile, so that replies need no translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnProfile(u32);

impl ConnProfile {
    /// The profile with which every client starts. A server that rejects it is of no use to the pool.
    pub const FIRST: Self = Self(0);

    /// The profile of this number, which must be less than [`crate::protocol::ClientState::profiles`].
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
