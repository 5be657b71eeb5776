//! What a change of the file may do to the placement of keys.

/// The `on_placement_change` of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnPlacementChange {
    /// Keep the old configuration if keys would be looked for elsewhere: right for a store.
    Refuse,
    /// Look for them elsewhere: right for a cache.
    Swap,
}

impl OnPlacementChange {
    /// Every rule, in the order in which the documentation lists them.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::Swap];

    /// The name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Swap => "swap",
        }
    }

    /// Returns the rule of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}
