//! A row of the command table.

use crate::stats::CommandId;

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its position, as statistics know it.
    pub id: CommandId,
    /// Its name, in lower case: memcached's names are case-sensitive.
    pub name: &'static str,
    /// Its arguments and the way the proxy handles it.
    pub policy: Policy,
    /// The arguments, in the notation of the documentation.
    pub usage: &'static str,
    /// The version of memcached that introduced it; empty if it is as old as memcached.
    pub since: &'static str,
    /// A summary, or the reason why it is rejected.
    pub summary: &'static str,
}

/// The arguments of a command, and the way the proxy handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Keys; goes to the server of its key, or is split.
    Retrieve,
    /// An expiry time and keys; goes to the server of its key, or is split.
    RetrieveTouch,
    /// A key, flags, an expiry time, the length of the data, and the data.
    Store,
    /// As `Store`, with the CAS unique of the value to replace.
    Cas,
    /// A key and a number.
    Delta,
    /// A key.
    Delete,
    /// A key and an expiry time.
    Touch,
    /// A key, flags of one letter each, and for `ms` the data.
    Meta(Meta),
    /// No key; goes to every server.
    AllServers(AllServers),
    /// Answered by the proxy.
    Local(Local),
    /// Known and not supported.
    Refused,
}

/// The meta commands that have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// `mg`
    Get,
    /// `ms`
    Set,
    /// `md`
    Delete,
    /// `ma`
    Arithmetic,
    /// `me`
    Debug,
}

/// The commands that go to every server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum AllServers {
    Version,
    FlushAll,
    Verbosity,
    CacheMemlimit,
}

/// The commands that the proxy answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum Local {
    Stats,
    Quit,
    Noop,
}

impl Command {
    /// Returns true if clients may use it.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.policy != Policy::Refused
    }

    /// Returns true if `noreply` is allowed as the last word.
    #[must_use]
    pub fn takes_noreply(&self) -> bool {
        match self.policy {
            Policy::Store | Policy::Cas | Policy::Delta | Policy::Delete | Policy::Touch => true,
            Policy::AllServers(which) => which != AllServers::Version,
            Policy::Retrieve
            | Policy::RetrieveTouch
            | Policy::Meta(_)
            | Policy::Local(_)
            | Policy::Refused => false,
        }
    }

    /// Returns true if data follows its line.
    #[must_use]
    pub fn has_data(&self) -> bool {
        matches!(
            self.policy,
            Policy::Store | Policy::Cas | Policy::Meta(Meta::Set)
        )
    }
}
