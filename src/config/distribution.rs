//! The distribution of hashed keys over the servers of a pool.

/// The `distribution` of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// A ring of weighted points (libmemcached's ketama).
    #[default]
    Ketama,
    /// Hash modulo the sum of the weights.
    Modula,
    /// Any server, weights ignored.
    Random,
}

impl Distribution {
    /// Every distribution, in the order in which the documentation lists them.
    pub const ALL: [Self; 3] = [Self::Ketama, Self::Modula, Self::Random];

    /// The name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ketama => "ketama",
            Self::Modula => "modula",
            Self::Random => "random",
        }
    }

    /// Returns the distribution of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }
}
