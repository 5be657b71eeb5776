//! Which operations a listener offers, and what it leaves out of their answers.

use super::endpoints::Exposure;

/// What those who reach a listener may do and see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Access {
    /// All: the admin socket.
    Full,
    /// Operations that read: the stats port.
    Read {
        /// Keys, arguments and clients too.
        shows_keys: bool,
    },
}

/// An answer with fields that name keys, arguments of commands, or clients.
pub(super) trait Redacted {
    /// The answer without them.
    fn redacted(self) -> Self;
}

impl Access {
    /// Returns true if an operation of this exposure is offered.
    pub(super) fn offers(self, exposure: Exposure) -> bool {
        self == Self::Full || exposure != Exposure::AdminOnly
    }

    /// The answer as those who asked may see it.
    pub(super) fn shown<T: Redacted>(self, answer: T) -> T {
        match self {
            Self::Full | Self::Read { shows_keys: true } => answer,
            Self::Read { shows_keys: false } => answer.redacted(),
        }
    }
}
