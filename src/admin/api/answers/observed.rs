//! The answers about the requests that pass: hot keys, big keys, the slow log.

use serde::{Deserialize, Serialize};

use crate::admin::api::access::Redacted;
use crate::admin::api::described::described;

described! {
    /// The keys that most requests name.
    pub struct HotKeys {
        /// One entry for each pool.
        pools: Vec<PoolHotKeys>,
    }

    /// The hot keys of one pool.
    pub struct PoolHotKeys {
        /// Name of the pool.
        pool: String,
        /// Requests per second, on average over the window. Requests that were refused are among them.
        requests_per_second: f64,
        /// Seconds over which requests were counted: older ones weigh less, half after 30 s. With `for_ms` that time.
        window_seconds: f64,
        /// One request in so many was looked at; 1 with `for_ms`.
        sampled_one_in: u32,
        /// The hottest first.
        keys: Vec<HotKey>,
    }

    /// A hot key.
    pub struct HotKey {
        /// The key, its unprintable bytes escaped. Empty on the stats port without `--show-keys`.
        key: String,
        /// True if the key is longer than 128 bytes, and the rest is left out.
        truncated: bool,
        /// Requests per second that name it, on average over the window.
        requests_per_second: f64,
        /// How far `requests_per_second` may be off, in 19 of 20 cases.
        error_per_second: f64,
        /// Share of the requests that name it, from 0 to 1. A request may name several keys.
        share: f64,
    }

    /// The largest requests and replies of the last ten to twenty minutes.
    pub struct BigKeys {
        /// The largest first, whatever their pool.
        big: Vec<BigKey>,
    }

    /// Large requests, or large replies, of one command for one key.
    pub struct BigKey {
        /// Name of the pool.
        pool: String,
        /// Name of the server.
        server: String,
        /// `request` or `reply`: what is large.
        kind: BigKeyKind,
        /// Name of the command.
        command: String,
        /// Its first key, unprintable bytes escaped; empty if it has none, and on the stats port without `--show-keys`.
        key: String,
        /// True if the key is longer than 128 bytes, and the rest is left out.
        truncated: bool,
        /// Number of its keys, as far as its first 4 KiB tell.
        keys: usize,
        /// Bytes of the largest, on the wire.
        bytes: usize,
        /// How often one was seen that is as large as the entries of its time. A large one that is no news may not be.
        times: u64,
        /// Seconds since the last one.
        age_seconds: u64,
    }

    /// Some of the requests that have passed.
    pub struct Tapped {
        /// Number of requests that fit the filter, as long as it went on.
        matched: u64,
        /// Number of those that could not be shown: a transaction had more than 1 MiB of them.
        missed: u64,
        /// The oldest first.
        requests: Vec<TappedRequest>,
    }

    /// A request that has passed.
    pub struct TappedRequest {
        /// When the proxy took it, in microseconds since 1970.
        time_us: u64,
        /// Address of the client.
        client: String,
        /// Database of the client.
        db: u32,
        /// Names of the servers that its keys belong to.
        servers: Vec<String>,
        /// The name and the arguments, at most 32 of 128 bytes, secrets left out, unprintable bytes escaped.
        args: Vec<String>,
    }

    /// The slow requests.
    pub struct SlowLog {
        /// The newest first, whatever their pool.
        requests: Vec<SlowRequest>,
    }

    /// A request that took long.
    pub struct SlowRequest {
        /// Name of the pool.
        pool: String,
        /// Id of the entry, as in `SLOWLOG GET`: unique in the pool.
        id: u64,
        /// When it was answered, in seconds since 1970.
        time: u64,
        /// Microseconds from its arrival to its reply.
        took_us: u64,
        /// Those of them in which it waited in the proxy, until it was written to the server.
        waited_us: u64,
        /// Those of them in which the server had it. That it waited there for others, which were sent before, is part of it.
        server_us: u64,
        /// Name of the server; of the slowest one if the request went to several.
        server: String,
        /// The name and the arguments, at most 32 of 128 bytes, secrets left out, unprintable bytes escaped. On the stats port
        /// without `--show-keys` the name alone.
        args: Vec<String>,
        /// Address of the client; empty on the stats port without `--show-keys`.
        client: String,
        /// Name of the client (`CLIENT SETNAME`); empty without one, and on the stats port without `--show-keys`.
        client_name: String,
    }
}

/// What is large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BigKeyKind {
    /// What the server received.
    Request,
    /// What it replied.
    #[default]
    Reply,
}

impl BigKeyKind {
    /// The word of the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

impl Redacted for HotKeys {
    fn redacted(mut self) -> Self {
        let keys = self.pools.iter_mut().flat_map(|pool| &mut pool.keys);
        keys.for_each(|key| key.key.clear());
        self
    }
}

impl Redacted for BigKeys {
    fn redacted(mut self) -> Self {
        self.big.iter_mut().for_each(|big| big.key.clear());
        self
    }
}

impl Redacted for SlowLog {
    fn redacted(mut self) -> Self {
        for request in &mut self.requests {
            request.args.truncate(1);
            request.client.clear();
            request.client_name.clear();
        }
        self
    }
}
