//! What the proxy remembers of one client. What others may know of it lies in the [`Register`](crate::protocol::redis::state::client_registry).

use std::cell::Cell;
use std::sync::Arc;

use crate::protocol::redis::Args;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::local::reply_writer::Resp;
use crate::protocol::redis::local::{Outcome, Settings};
use crate::protocol::redis::state::client_registry::Entry;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::shared::PoolShared;
use crate::protocol::{ConnInfo, ConnProfile, ServerClientId, SubscriptionCount};

/// Bytes of a name at the most: what a client may make the proxy keep.
const NAME_BYTES: usize = 1024;

/// The state of one connection.
#[derive(Debug)]
pub struct Client {
    id: u64,
    shared: Arc<PoolShared>,
    authenticated: bool,
    hush: Cell<ReplyMode>,
    /// Whether it has begun a transaction.
    queueing: bool,
    resp: Resp,
    db: u32,
    profile: ConnProfile,
    subscriptions: SubscriptionCount,
    /// Whether it has any.
    subscribed: bool,
}

/// Which replies a client does not want (`CLIENT REPLY`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ReplyMode {
    #[default]
    None,
    /// The next one.
    Next,
    All,
}

impl Client {
    /// A client that came from nowhere.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::connected(settings, ConnInfo::default())
    }

    /// A client that has just connected.
    #[must_use]
    pub fn connected(settings: &Settings, arrival: ConnInfo) -> Self {
        let shared = Arc::clone(&settings.shared);
        Self {
            id: shared.clients.enter(arrival, settings.worker, settings.db),
            shared,
            authenticated: settings.auth.is_none(),
            hush: Cell::default(),
            queueing: false,
            resp: Resp::default(),
            db: settings.db,
            profile: ConnProfile::FIRST,
            subscriptions: SubscriptionCount::default(),
            subscribed: false,
        }
    }

    /// Its number, counted from 1, and unique in this process.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Whether it gave the password, or needs none.
    #[inline]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Tells others at which servers it waits, and over which connections.
    pub fn set_blocked_on(&self, places: Vec<(u16, ServerClientId)>) {
        self.shared.clients.note_blocked(self.id, places);
    }

    /// Whether its requests wait for the end of a transaction.
    #[inline]
    pub const fn in_multi(&self) -> bool {
        self.queueing
    }

    pub(crate) const fn set_in_multi(&mut self, queueing: bool) {
        self.queueing = queueing;
    }

    pub(crate) const fn set_authenticated(&mut self) {
        self.authenticated = true;
    }

    /// The version of the protocol in which it wants its replies.
    #[inline]
    pub const fn resp(&self) -> Resp {
        self.resp
    }

    pub(crate) fn set_resp(&mut self, resp: Resp, settings: &Settings) {
        self.change(resp, self.db, settings);
    }

    /// Goes over to a database that the pool offers.
    pub(crate) fn select(&mut self, db: u32, settings: &Settings) {
        self.change(self.resp, db, settings);
    }

    fn change(&mut self, resp: Resp, db: u32, settings: &Settings) {
        (self.resp, self.db) = (resp, db);
        self.profile = profile::of(resp, db, settings);
        self.shared.clients.with(self.id, |entry| {
            (entry.resp, entry.db) = (resp, db);
        });
    }

    /// Whether it does not want the reply to the request that is being taken. Asked once for each request.
    #[inline]
    pub fn take_reply_suppressed(&self) -> bool {
        match self.hush.get() {
            ReplyMode::None => false,
            ReplyMode::All => true,
            ReplyMode::Next => {
                self.hush.set(ReplyMode::None);
                true
            }
        }
    }

    /// `CLIENT REPLY ON | OFF | SKIP`. Only the first has a reply.
    pub(crate) fn set_reply_mode(&self, mut args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        let word = args.nth(2).unwrap_or_default();
        if word.eq_ignore_ascii_case(b"ON") {
            self.hush.set(ReplyMode::None);
            reply.simple("OK");
            return Outcome::Stay;
        }
        if word.eq_ignore_ascii_case(b"OFF") {
            self.hush.set(ReplyMode::All);
        } else if !word.eq_ignore_ascii_case(b"SKIP") {
            reply.error("syntax error");
            return Outcome::Stay;
        } else if self.hush.get() == ReplyMode::None {
            self.hush.set(ReplyMode::Next);
        }
        Outcome::Silent
    }

    /// Where its requests travel.
    #[inline]
    pub const fn profile(&self) -> ConnProfile {
        self.profile
    }

    /// What it is subscribed to.
    pub const fn subscriptions(&self) -> SubscriptionCount {
        self.subscriptions
    }

    pub(crate) const fn set_subscriptions(&mut self, tally: SubscriptionCount) {
        self.subscriptions = tally;
        self.subscribed = tally.total() > 0;
    }

    /// Whether it may not ask for anything but subscriptions: in RESP2 a subscriber could not tell replies from messages.
    #[inline]
    pub const fn in_subscriber_mode(&self) -> bool {
        self.subscribed && matches!(self.resp, Resp::Two)
    }

    /// As if it had just connected; its number and the name of its library stay, as in Redis.
    pub(crate) fn reset(&mut self, settings: &Settings) {
        self.authenticated = settings.auth.is_none();
        // As in Redis, the reply to this very request may still be unwanted.
        if self.hush.get() == ReplyMode::All {
            self.hush.set(ReplyMode::None);
        }
        self.set_subscriptions(SubscriptionCount::default());
        self.change(Resp::default(), settings.db, settings);
        let forget = |entry: &mut Entry| entry.name = Box::default();
        self.shared.clients.with(self.id, forget);
    }

    pub(crate) fn set_name(&mut self, name: &[u8], reply: &mut Reply<'_>) {
        if self.rename(name, reply) {
            reply.simple("OK");
        }
    }

    /// Takes the name or writes the error; an empty one unsets it.
    pub(crate) fn rename(&mut self, name: &[u8], reply: &mut Reply<'_>) -> bool {
        let ok = is_word(name);
        if ok {
            let rename = |entry: &mut Entry| entry.name = name.into();
            self.shared.clients.with(self.id, rename);
        } else {
            reply.error("Client names cannot contain spaces, newlines or special characters.");
        }
        ok
    }

    pub(crate) fn set_info(&mut self, mut args: Args<'_>, reply: &mut Reply<'_>) {
        let attribute = args.nth(2).unwrap_or_default();
        let value = args.next().unwrap_or_default();
        let is_library = attribute.eq_ignore_ascii_case(b"LIB-NAME");
        if !is_library && !attribute.eq_ignore_ascii_case(b"LIB-VER") {
            return reply.error_line(&[b"ERR Unrecognized option '", attribute, b"'"]);
        }
        if !is_word(value) {
            let attribute = attribute.to_ascii_lowercase();
            let rest = b" cannot contain spaces, newlines or special characters.";
            return reply.error_line(&[b"ERR ", &attribute, rest]);
        }
        self.shared.clients.with(self.id, |entry| {
            if is_library {
                entry.library = value.into();
            } else {
                entry.version = value.into();
            }
        });
        reply.simple("OK");
    }

    pub(crate) fn write_name(&self, reply: &mut Reply<'_>) {
        let name = self
            .shared
            .clients
            .with(self.id, |entry| entry.name.clone());
        match name {
            Some(name) if !name.is_empty() => reply.bulk(&name),
            _ => reply.null(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.clients.leave(self.id);
    }
}

/// What Redis takes as a name: printable ASCII without spaces.
fn is_word(name: &[u8]) -> bool {
    name.len() <= NAME_BYTES && name.iter().all(u8::is_ascii_graphic)
}
