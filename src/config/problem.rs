//! The errors of a configuration file, all at once.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::text::Printable;

/// A position in the file; lines and columns (in characters) count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One error of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The pool it is in.
    pub pool: Option<String>,
    /// The directive that it is about.
    pub key: Option<String>,
    /// The position; `None` if the file could not be read.
    pub at: Option<Position>,
    /// What is wrong, and what would be valid.
    pub text: String,
}

impl ConfigError {
    /// An error of the file as a whole, or of its YAML.
    pub(super) fn new(at: Option<Position>, text: impl Into<String>) -> Self {
        Self {
            pool: None,
            key: None,
            at,
            text: text.into(),
        }
    }

    /// The same error, in that pool.
    pub(super) fn in_pool(mut self, pool: &str) -> Self {
        self.pool = Some(pool.to_owned());
        self
    }

    /// The same error, about that directive.
    pub(super) fn about(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }
}

/// Every error of one file, in the order of its lines; never empty.
///
/// Displays one line for each: `FILE:LINE: pool 'alpha': key 'hassh': unknown directive; did you mean 'hash'?`.
/// Control characters of the file are shown escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: PathBuf,
    list: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, mut list: Vec<ConfigError>) -> Self {
        list.sort_by_key(|error| error.at);
        Self {
            file: file.to_owned(),
            list,
        }
    }

    /// Iterates over the errors.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.list.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(at) = error.at {
                write!(f, ":{}", at.line)?;
            }
            if let Some(pool) = &error.pool {
                write!(f, ": pool '{}'", Printable(pool))?;
            }
            if let Some(key) = &error.key {
                write!(f, ": key '{}'", Printable(key))?;
            }
            write!(f, ": {}", Printable(&error.text))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Returns the candidate that a misspelt word most likely means.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let tolerated = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_suggests_a_close_word() {
        let words = ["hash", "hash_tag", "timeout", "redis", "redis_db"];
        let cases = [
            ("hassh", Some("hash")),
            ("HASH", Some("hash")),
            ("hashtag", Some("hash_tag")),
            ("time_out", Some("timeout")),
            ("redisdb", Some("redis_db")),
            ("sentinels", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
