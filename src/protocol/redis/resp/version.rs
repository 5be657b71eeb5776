//! RESP versions.

/// A RESP version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resp {
    /// The initial version of every client.
    #[default]
    Two,
    /// The version after `HELLO 3`.
    Three,
}

impl Resp {
    /// The version with this number, if it is supported.
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
