//! The quota of a user, as the file has it.

use std::fmt;
use std::num::NonZeroU64;

use crate::quota::{Quota, QuotaKind};
use crate::text::exact_size;

use super::problem::nearest;
use super::value;

/// The name of the row for all users without one.
pub(super) const ALL_OTHERS: &str = "*";

/// The largest number, as in other directives.
const NUMBER_MAX: u32 = i32::MAX.cast_unsigned();

/// The largest rate of bytes: a tebibyte per second.
const BYTES_MAX: u64 = 1 << 40;

/// The least memory: a client that holds less is not affected.
const MEMORY_MIN: u64 = 1 << 20;

/// A row of `user_quotas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserQuota {
    /// The name of the user, or `*`: each user without a row.
    pub name: String,
    /// What clients of it may use.
    pub quota: Quota,
}

impl UserQuota {
    /// Returns true if it is that of each user without one.
    #[must_use]
    pub fn is_of_all_others(&self) -> bool {
        self.name == ALL_OTHERS
    }

    /// Parses a name and limits with spaces between them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let mut quota = Quota::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                format!("'{word}' is not a limit, as in 'requests_per_second=1000'")
            })?;
            let kinds = QuotaKind::ALL;
            let Some(kind) = kinds.into_iter().find(|kind| kind.name() == key) else {
                return Err(unknown(key));
            };
            if quota.get(kind).is_some() {
                return Err(format!("user '{name}': has '{key}' twice"));
            }
            let limit = limit(kind, value).map_err(|reason| format!("{key}: {reason}"))?;
            quota = quota.with(kind, limit);
        }
        if quota == Quota::default() {
            return Err(format!(
                "user '{name}': has no limit, as in '{name} requests_per_second=1000'"
            ));
        }
        Ok(Self { name, quota })
    }
}

impl fmt::Display for UserQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for kind in QuotaKind::ALL {
            if let Some(text) = show(&self.quota, kind) {
                write!(f, " {}={text}", kind.name())?;
            }
        }
        Ok(())
    }
}

/// Parses a limit of a kind.
pub(super) fn limit(kind: QuotaKind, text: &str) -> Result<NonZeroU64, String> {
    let zero = || {
        format!("'{text}' is out of range; it must be at least 1: without a limit, leave it out")
    };
    match kind {
        QuotaKind::Requests | QuotaKind::Connections => {
            let number = value::number(text, 1, NUMBER_MAX)?;
            NonZeroU64::new(number.into()).ok_or_else(zero)
        }
        QuotaKind::Memory => {
            let bytes = NonZeroU64::new(value::bytes(text)? as u64);
            let enough = bytes.filter(|bytes| bytes.get() >= MEMORY_MIN);
            enough.ok_or_else(|| {
                format!(
                    "'{text}' is out of range; it must be at least 1mb, which each client may hold"
                )
            })
        }
        QuotaKind::Bytes => {
            let bytes = NonZeroU64::new(value::bytes(text)? as u64).ok_or_else(zero)?;
            if bytes.get() > BYTES_MAX {
                return Err(format!(
                    "'{text}' is out of range; it must be at most 1024gb"
                ));
            }
            Ok(bytes)
        }
    }
}

/// A limit as it is written.
pub(super) fn show(quota: &Quota, kind: QuotaKind) -> Option<String> {
    let limit = quota.get(kind)?.get();
    Some(match kind {
        QuotaKind::Requests | QuotaKind::Connections => limit.to_string(),
        QuotaKind::Bytes | QuotaKind::Memory => exact_size(limit),
    })
}

fn unknown(key: &str) -> String {
    let names = QuotaKind::ALL.map(QuotaKind::name);
    match nearest(key, names) {
        Some(name) => format!("'{key}' is no limit; did you mean '{name}'?"),
        None => format!("'{key}' is no limit; choose of {}", names.join(", ")),
    }
}
