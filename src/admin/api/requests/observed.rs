//! The requests about the requests that pass.

use crate::admin::api::described::described;
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::parameters::{malformed, number, once, query, unknown_parameter};

/// The maximum time for which all requests are counted: an answer is due within half a minute.
pub const EXACT_MS_MOST: u64 = 20_000;

/// The maximum number of requests of a tap.
pub const TAP_MOST: usize = 10_000;

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

    /// The request for some of the requests that pass.
    #[serde(default, deny_unknown_fields)]
    pub struct TapOf {
        /// The pool.
        pool: String,
        /// Milliseconds after which it ends, at most 20000; without it 5000.
        for_ms: Option<u64>,
        /// Number of requests after which it ends; without it 100, at most 10000.
        count: Option<usize>,
        /// Only those of clients with this address; its port may be left out.
        client: Option<String>,
        /// Only those of this command.
        command: Option<String>,
        /// Only those with a key that matches this pattern, as that of `KEYS`.
        key: Option<String>,
        /// Only those with a key that belongs to this server.
        server: Option<String>,
        /// Only one in so many of them.
        one_in: Option<u64>,
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
impl Eq for TapOf {}

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
        check_time(wanted.for_ms)?;
        Ok(wanted)
    }

    pub(super) fn query(&self) -> String {
        query([
            ("pool", self.pool.clone()),
            ("for_ms", self.for_ms.map(|ms| ms.to_string())),
            ("count", self.count.map(|count| count.to_string())),
        ])
    }
}

impl TapOf {
    pub(super) fn read(query: &str) -> Result<Self, ControlError> {
        let mut wanted = Self::default();
        let mut pool = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "pool" => once(&mut pool, &name, value.into_owned())?,
                "for_ms" => once(&mut wanted.for_ms, &name, number(&name, &value)?)?,
                "count" => once(&mut wanted.count, &name, number(&name, &value)?)?,
                "client" => once(&mut wanted.client, &name, value.into_owned())?,
                "command" => once(&mut wanted.command, &name, value.into_owned())?,
                "key" => once(&mut wanted.key, &name, value.into_owned())?,
                "server" => once(&mut wanted.server, &name, value.into_owned())?,
                "one_in" => once(&mut wanted.one_in, &name, number(&name, &value)?)?,
                _ => return Err(unknown_parameter(&name)),
            }
        }
        wanted.pool = pool.ok_or_else(|| malformed("the parameter 'pool' is missing"))?;
        check_time(wanted.for_ms)?;
        if !(1..=TAP_MOST).contains(&wanted.count.unwrap_or(1)) {
            return Err(malformed(format!("'count' is not 1 to {TAP_MOST}")));
        }
        if wanted.one_in == Some(0) {
            return Err(malformed("'one_in' is 0: it is one in so many requests"));
        }
        Ok(wanted)
    }

    pub(super) fn query(&self) -> String {
        query([
            ("pool", Some(self.pool.clone())),
            ("for_ms", self.for_ms.map(|ms| ms.to_string())),
            ("count", self.count.map(|count| count.to_string())),
            ("client", self.client.clone()),
            ("command", self.command.clone()),
            ("key", self.key.clone()),
            ("server", self.server.clone()),
            ("one_in", self.one_in.map(|requests| requests.to_string())),
        ])
    }
}

fn check_time(for_ms: Option<u64>) -> Result<(), ControlError> {
    match for_ms {
        None | Some(1..=EXACT_MS_MOST) => Ok(()),
        Some(_) => Err(malformed(format!(
            "'for_ms' (--for) is not 1 to {EXACT_MS_MOST} ms"
        ))),
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
