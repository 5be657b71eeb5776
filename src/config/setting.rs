//! The value of a directive, for people.

use std::fmt;
use std::time::Duration;

use crate::net::tls::FileDigest;

use super::secret::Secret;
use super::user::UserConfig;

/// The value of a directive in a pool, written as in the file. Passwords can be compared, but are not shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// There is none.
    Absent,
    /// A value.
    Text(String),
    /// A password, or users with theirs.
    Secret(Secret),
    /// A file. Another content is another value.
    File {
        /// The path.
        path: String,
        /// What it has; `None` if that is not read.
        digest: Option<FileDigest>,
    },
}

impl Setting {
    pub(super) fn secret(secret: Option<Secret>) -> Self {
        secret.map_or(Self::Absent, Self::Secret)
    }

    /// Users; absent if there are none.
    pub(super) fn users(users: &[UserConfig]) -> Self {
        if users.is_empty() {
            return Self::Absent;
        }
        let lines = users
            .iter()
            .map(|user| format!("{} {}", user.name, user.rules.join(" ")));
        Self::Secret(Secret::new(
            lines.collect::<Vec<_>>().join("\n").into_bytes(),
        ))
    }

    /// A list; absent if it is empty.
    pub(super) fn list<T: fmt::Display>(items: &[T]) -> Self {
        if items.is_empty() {
            return Self::Absent;
        }
        let items: Vec<_> = items.iter().map(T::to_string).collect();
        Self::Text(format!("[{}]", items.join(", ")))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "none",
            Self::Text(text) => text,
            Self::File { path, .. } => path,
            Self::Secret(_) => "(secret)",
        })
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&str> for Setting {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Setting {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Setting {
    fn from(yes: bool) -> Self {
        Self::Text(yes.to_string())
    }
}

impl From<u32> for Setting {
    fn from(number: u32) -> Self {
        Self::Text(number.to_string())
    }
}

impl From<usize> for Setting {
    fn from(number: usize) -> Self {
        Self::Text(number.to_string())
    }
}

/// Milliseconds, as all times of the file.
impl From<Duration> for Setting {
    fn from(time: Duration) -> Self {
        Self::Text(time.as_millis().to_string())
    }
}

impl<T: Into<Self>> From<Option<T>> for Setting {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}
