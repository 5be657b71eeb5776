//! Browsers that have made a request lately: their connections may be silent for longer before they count as plain readers.
//!
//! A browser opens a connection before it knows what to send, and on a busy machine it may be slow to send it. If it got the
//! plain JSON instead of an answer, its request would fail. Only the listener of the stats port calls this module.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use tokio::time::Instant;

/// The time for which an address is known: a page asks every few seconds, or every quarter of a minute after failures.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// The maximum number of addresses.
const ADDRESSES: usize = 64;

/// The addresses of browsers, and the times of their last requests.
#[derive(Debug, Default)]
pub(super) struct Browsers(Mutex<HashMap<IpAddr, Instant>>);

impl Browsers {
    /// Notes a request from this address, if a browser has made it.
    pub(super) fn note(&self, from: IpAddr, headers: &HeaderMap) {
        let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
        if !agent.is_some_and(|agent| agent.starts_with(b"Mozilla/")) {
            return;
        }
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, at| now.duration_since(*at) < KNOWN_FOR);
        if known.len() < ADDRESSES || known.contains_key(&from) {
            known.insert(from, now);
        }
    }

    /// Returns true if there is a browser at this address.
    pub(super) fn has(&self, from: IpAddr) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.get(&from);
        at.is_some_and(|at| at.elapsed() < KNOWN_FOR)
    }
}
