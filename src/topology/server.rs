//! Servers as placement sees them.

/// A server of one pool: its index in the pool's servers, sorted by `hash::name_order`. A pool has at most 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u16);

impl ServerId {
    /// The server at that index.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The index, for arrays with one element per server.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The ids of all possible servers in order: to be zipped with something per server.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).map(Self)
    }
}

/// A server as the ring sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name that ring labels are made of: the alias if there is one, else what Twemproxy derives from the address.
    pub name: String,
    /// The weight, at least 1.
    pub weight: u32,
}
