//! The classes of commands: few, so that `/metrics` can have a histogram of each.

/// A class of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandClass {
    /// Reads keys.
    Read,
    /// Writes keys.
    Write,
    /// May wait until another client writes, or until replicas have written.
    Blocking,
    /// Begins or ends a transaction, or watches keys.
    Transaction,
    /// Runs a script or a function.
    Script,
    /// Publishes or subscribes.
    PubSub,
    /// Administers servers.
    Admin,
    /// Anything else: connections, and information.
    Other,
}

impl CommandClass {
    /// All classes.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Blocking,
        Self::Transaction,
        Self::Script,
        Self::PubSub,
        Self::Admin,
        Self::Other,
    ];

    /// The value of the label `class`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Blocking => "blocking",
            Self::Transaction => "transaction",
            Self::Script => "script",
            Self::PubSub => "pubsub",
            Self::Admin => "admin",
            Self::Other => "other",
        }
    }
}
