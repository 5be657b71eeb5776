//! The requests about the requests that pass.

use crate::admin::api::described::described;
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::parameters::{malformed, number, once, query, unknown_parameter};

/// The maximum time for which all requests are counted: an answer is due within half a minute.
pub const EXACT_MS_MOST: u64 = 20_000;

/// The number of entries of a list without `count`.
pub const ENTRIES: usize = 20;

described! {
    /// The request for the hot keys.
    #[serde(default, deny_unknown_fields)]
    pub struct HotKeysOf {
        /// Only this pool; without it all pools.
        pool: Option<String>,
        /// Milliseconds, at most 20000, in which every request is counted; without it the samples of the last minute or so.
        for_ms: Option<u64>,
        /// Number of keys of each pool; without it 20, at most 1000.
        count: Option<usize>,
    }

    /// The request for a list of entries of one pool or all.
    #[serde(default, deny_unknown_fields)]
    pub struct EntriesOf {
        /// Only this pool; without it all pools.
        pool: Option<String>,
        /// Number of entries; without it 20.
        count: Option<usize>,
    }
}

impl Eq for HotKeysOf {}
impl Eq for EntriesOf {}

impl HotKeysOf {
    pub(super) fn read(query: &str) -> Result<Self, ControlError> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "pool" => once(&mut wanted.pool, &name, value.into_owned())?,
                "for_ms" => once(&mut wanted.for_ms, &name, number(&name, &value)?)?,
                "count" => once(&mut wanted.count, &name, number(&name, &value)?)?,
                _ => return Err(unknown_parameter(&name)),
            }
        }
        match wanted.for_ms {
            Some(0 | EXACT_MS_MOST..) if wanted.for_ms != Some(EXACT_MS_MOST) => {
                Err(malformed(format!("'for_ms' is not 1 to {EXACT_MS_MOST}")))
            }
            _ => Ok(wanted),
        }
    }

    pub(super) fn query(&self) -> String {
        query([
            ("pool", self.pool.clone()),
            ("for_ms", self.for_ms.map(|ms| ms.to_string())),
            ("count", self.count.map(|count| count.to_string())),
        ])
    }
}

impl EntriesOf {
    pub(super) fn read(query: &str) -> Result<Self, ControlError> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "pool" => once(&mut wanted.pool, &name, value.into_owned())?,
                "count" => once(&mut wanted.count, &name, number(&name, &value)?)?,
                _ => return Err(unknown_parameter(&name)),
            }
        }
        Ok(wanted)
    }

    pub(super) fn query(&self) -> String {
        query([
            ("pool", self.pool.clone()),
            ("count", self.count.map(|count| count.to_string())),
        ])
    }
}
