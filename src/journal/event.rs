//! One event.

use std::sync::Arc;

use super::kind::EventKind;

/// The maximum number of details of an event.
const DETAILS: usize = 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: EventKind,
    /// The pool that it is about; none if it is about the proxy.
    pub pool: Option<Arc<str>>,
    /// The server that it is about.
    pub server: Option<String>,
    /// The address of the client that it is about.
    pub client: Option<String>,
    /// The event, for people: a predicate, as in a log line.
    pub text: String,
    /// More lines about it.
    pub details: Vec<String>,
}

impl Event {
    /// An event of the proxy as a whole.
    #[must_use]
    pub fn new(kind: EventKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            pool: None,
            server: None,
            client: None,
            text: text.into(),
            details: Vec::new(),
        }
    }

    /// With more lines about it.
    #[must_use]
    pub fn with_details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details = details.into_iter().take(DETAILS).collect();
        self
    }

    /// Returns true if both tell the same.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        (self.kind, &self.pool, &self.server, &self.text)
            == (other.kind, &other.pool, &other.server, &other.text)
    }
}
