//! `ringroad ctl tap`: some of the requests that pass, chosen by a filter, and bounded.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

use crate::observe::locks::lock;
use crate::observe::monitor::unix_time;
use crate::observe::request_text::RequestText;
use crate::observe::watch::{Seen, Watch};

/// Tells which keys are meant.
pub type KeyTest = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// The requests that are meant: those that fit all that is given.
#[derive(Default)]
pub struct TapFilter {
    /// The address of the client, with or without its port.
    pub client: Option<String>,
    /// The name of the command, in any case.
    pub command: Option<String>,
    /// One of the keys.
    pub key: Option<KeyTest>,
    /// The name of the server of one of the keys.
    pub server: Option<String>,
    /// One in so many of the others; 0 counts as 1.
    pub one_in: u64,
}

/// Collects requests.
#[derive(Debug)]
pub struct Tap {
    filter: TapFilter,
    /// The maximum number of requests that are kept.
    most: usize,
    state: Mutex<Tapped>,
    full: Notify,
}

/// What was collected.
#[derive(Debug, Default, Clone)]
pub struct Tapped {
    /// The oldest first.
    pub requests: Vec<TappedRequest>,
    /// The number of requests that fit the filter.
    pub matched: u64,
    /// The number of those among them that could not be seen.
    pub missed: u64,
}

/// A request.
#[derive(Debug, Clone)]
pub struct TappedRequest {
    /// When it was taken, since the Unix epoch.
    pub at: Duration,
    /// The address of its client.
    pub client: String,
    /// The database of its client.
    pub database: u32,
    /// The names of the servers of its keys.
    pub servers: Vec<String>,
    /// Its arguments.
    pub text: RequestText,
}

impl TapFilter {
    fn fits(&self, request: &Seen<'_>) -> bool {
        let is_client = self.client.as_ref().is_none_or(|client| {
            let rest = request.client.strip_prefix(client.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        });
        let mut command = self.command.iter();
        let is_command = command.all(|name| request.name.eq_ignore_ascii_case(name.as_bytes()));
        is_client && is_command && self.has_key(request) && self.has_server(request)
    }

    fn has_key(&self, request: &Seen<'_>) -> bool {
        let Some(fits) = &self.key else {
            return true;
        };
        let found = std::cell::Cell::new(false);
        (request.keys)(&mut |key| found.set(found.get() || fits(key)));
        found.get()
    }

    fn has_server(&self, request: &Seen<'_>) -> bool {
        let mut server = self.server.iter();
        server.all(|server| (request.servers)().contains(server))
    }
}

impl Tap {
    /// Collects at most so many requests.
    #[must_use]
    pub fn new(filter: TapFilter, most: usize) -> Self {
        Self {
            filter,
            most,
            state: Mutex::default(),
            full: Notify::new(),
        }
    }

    /// Waits until it has as many requests as it takes.
    pub async fn is_full(&self) {
        self.full.notified().await;
    }

    /// What was collected.
    pub fn take(&self) -> Tapped {
        std::mem::take(&mut lock(&self.state))
    }
}

impl Watch for Tap {
    fn see(&self, request: &Seen<'_>) {
        if !self.filter.fits(request) {
            return;
        }
        let mut state = lock(&self.state);
        if state.requests.len() >= self.most {
            return;
        }
        state.matched += 1;
        if !(state.matched - 1).is_multiple_of(self.filter.one_in.max(1)) {
            return;
        }
        state.requests.push(TappedRequest {
            at: unix_time(),
            client: request.client.to_string(),
            database: request.database,
            servers: (request.servers)(),
            text: (request.text)(),
        });
        if state.requests.len() == self.most {
            self.full.notify_one();
        }
    }

    fn miss(&self, requests: u64) {
        lock(&self.state).missed += requests;
    }
}

impl fmt::Debug for TapFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapFilter")
            .field("client", &self.client)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn show(tap: &Tap, client: &str, words: &'static [&'static str]) {
        let client: Arc<str> = client.into();
        tap.see(&Seen {
            frame: b"",
            name: words[0].as_bytes(),
            client: &client,
            database: 0,
            is_administrative: false,
            keys: &|visit| words[1..].iter().for_each(|key| visit(key.as_bytes())),
            servers: &|| words[1..].iter().map(|key| format!("s-{key}")).collect(),
            text: &|| {
                let mut text = RequestText::of(words.len());
                for word in words {
                    text.push(word.as_bytes(), word.len());
                }
                text
            },
        });
    }

    /// What a filter chooses of some requests.
    fn chosen(filter: TapFilter, most: usize) -> (Vec<String>, u64) {
        let tap = Tap::new(filter, most);
        for (client, words) in [
            ("10.0.0.1:5000", &["GET", "a"][..]),
            ("10.0.0.1:5001", &["set", "b"]),
            ("10.0.0.11:5000", &["GET", "a", "c"]),
            ("[::1]:7", &["PING"]),
        ] {
            show(&tap, client, words);
        }
        let tapped = tap.take();
        let texts = tapped
            .requests
            .iter()
            .map(|one| one.text.escaped().join(" "));
        (texts.collect(), tapped.matched)
    }

    #[test]
    fn filter_chooses_requests() {
        let all = TapFilter::default;
        let some = |word: &str| Some(word.to_owned());
        for (filter, expected) in [
            (all(), &["GET a", "set b", "GET a c", "PING"][..]),
            (
                TapFilter {
                    client: some("10.0.0.1"),
                    ..all()
                },
                &["GET a", "set b"],
            ),
            (
                TapFilter {
                    client: some("10.0.0.1:5001"),
                    ..all()
                },
                &["set b"],
            ),
            (
                TapFilter {
                    client: some("[::1]"),
                    ..all()
                },
                &["PING"],
            ),
            (
                TapFilter {
                    command: some("Get"),
                    ..all()
                },
                &["GET a", "GET a c"],
            ),
            (
                TapFilter {
                    server: some("s-c"),
                    ..all()
                },
                &["GET a c"],
            ),
            (
                TapFilter {
                    key: Some(Box::new(|key| key == b"b")),
                    ..all()
                },
                &["set b"],
            ),
            (TapFilter { one_in: 2, ..all() }, &["GET a", "GET a c"]),
        ] {
            assert_eq!(chosen(filter, 10).0, expected);
        }
    }

    #[test]
    fn tap_keeps_a_bounded_number() {
        assert_eq!(
            chosen(TapFilter::default(), 2),
            (vec!["GET a".into(), "set b".into()], 2)
        );
    }
}
