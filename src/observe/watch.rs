//! What those get who watch requests as they pass: `MONITOR`, and `ringroad ctl tap`.

use std::fmt;
use std::sync::Arc;

use crate::observe::key_text::VisitKeys;
use crate::observe::request_text::RequestText;

/// A request that was taken, and not refused.
pub struct Seen<'a> {
    /// The request, in its canonical form.
    pub frame: &'a [u8],
    /// The name of its command, as the client wrote it.
    pub name: &'a [u8],
    /// The address of its client.
    pub client: &'a Arc<str>,
    /// The database of its client, after it.
    pub database: u32,
    /// Set for commands that `MONITOR` does not show.
    pub is_administrative: bool,
    /// Its keys.
    pub keys: &'a VisitKeys<'a>,
    /// The names of the servers that its keys belong to.
    pub servers: &'a dyn Fn() -> Vec<String>,
    /// Its arguments, without secrets.
    pub text: &'a dyn Fn() -> RequestText,
}

/// Somebody who watches the requests of a pool. Workers call it, so it must not wait.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Gets a request.
    fn see(&self, request: &Seen<'_>);

    /// Learns that so many requests were not kept for it.
    fn miss(&self, requests: u64);
}

impl fmt::Debug for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("client", &self.client)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
