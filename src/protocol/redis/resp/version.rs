//! The versions of RESP that are spoken.

/// A version of the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resp {
    /// What every client starts with.
    #[default]
    Two,
    /// What `HELLO 3` asks for.
    Three,
}

impl Resp {
    /// The version of that number, if it is offered.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        [Self::Two, Self::Three]
            .into_iter()
            .find(|resp| resp.number() == number)
    }

    /// Its number in `HELLO`.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}
