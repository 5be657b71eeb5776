//! Parsers of single values. Every error is a sentence that names what would be valid.

use std::path::{self, Path, PathBuf};

use crate::hash::{HashKind, HashTag};

use super::distribution::Distribution;
use super::failover::ReadFrom;
use super::limit;
use super::limit::BufferLimit;
use super::placement::OnPlacementChange;
use super::problem::nearest;

/// Parses decimal digits: no sign, no blank, no underscore, no base.
pub(super) fn number(text: &str, min: u32, max: u32) -> Result<u32, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "'{text}' is not a number; write decimal digits only"
        ));
    }
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!(
            "{text} is out of range; it must be from {min} to {max}"
        )),
    }
}

/// The absolute path of a file whose path may be relative to `directory`.
pub(super) fn path(text: &str, directory: &Path) -> PathBuf {
    let joined = directory.join(text);
    path::absolute(&joined).unwrap_or(joined)
}

/// Parses exactly `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    let meant = match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => "true",
        "false" | "no" | "off" | "n" | "0" => "false",
        _ => return Err(format!("'{text}' is not 'true' or 'false'")),
    };
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!(
            "'{text}' is not 'true' or 'false'; did you mean '{meant}'?"
        )),
    }
}

/// Returns the hash of that name.
pub(super) fn hash(text: &str) -> Result<HashKind, String> {
    HashKind::from_name(text)
        .ok_or_else(|| choice(text, "hash", &HashKind::ALL.map(HashKind::name)))
}

/// Returns the distribution of that name.
pub(super) fn distribution(text: &str) -> Result<Distribution, String> {
    Distribution::from_name(text).ok_or_else(|| {
        choice(
            text,
            "distribution",
            &Distribution::ALL.map(Distribution::name),
        )
    })
}

/// Returns the rule of that name.
pub(super) fn on_placement_change(text: &str) -> Result<OnPlacementChange, String> {
    OnPlacementChange::from_name(text).ok_or_else(|| {
        choice(
            text,
            "rule",
            &OnPlacementChange::ALL.map(OnPlacementChange::name),
        )
    })
}

/// Returns the choice of that name.
pub(super) fn read_from(text: &str) -> Result<ReadFrom, String> {
    ReadFrom::from_name(text)
        .ok_or_else(|| choice(text, "choice", &ReadFrom::ALL.map(ReadFrom::name)))
}

/// Parses exactly two bytes, which need not be two characters.
pub(super) fn hash_tag(text: &str) -> Result<HashTag, String> {
    match *text.as_bytes() {
        [open, close] => Ok(HashTag { open, close }),
        _ => Err(format!(
            "'{text}' is not two bytes; write them in quotes, as in \"{{}}\""
        )),
    }
}

/// Parses a size.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    limit::bytes(text).ok_or_else(|| format!("'{text}' is not a size, as in '512mb'"))
}

/// Parses two sizes and a number of seconds.
pub(super) fn buffer_limit(text: &str) -> Result<BufferLimit, String> {
    BufferLimit::parse(text).ok_or_else(|| {
        format!("'{text}' is not two sizes and a number of seconds, as in '32mb 8mb 60'")
    })
}

fn choice(text: &str, noun: &str, names: &[&str]) -> String {
    match nearest(text, names.iter().copied()) {
        Some(name) => format!("'{text}' is not a valid {noun}; did you mean '{name}'?"),
        None => format!(
            "'{text}' is not a valid {noun}; choose one of {}",
            names.join(", ")
        ),
    }
}
