//! The state of one client that only its own session sees; [`client_registry`] has what others may know of it.
//!
//! [`client_registry`]: crate::protocol::redis::state::client_registry

use std::cell::Cell;
use std::sync::Arc;

use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::client_registry::Entry;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::shared::PoolShared;
use crate::protocol::{ConnInfo, ConnProfile, ServerClientId, SubscriptionCount};

/// The state of one connection.
#[derive(Debug)]
pub struct Client {
    entry: Arc<Entry>,
    shared: Arc<PoolShared>,
    authenticated: bool,
    reply_mode: Cell<ReplyMode>,
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
pub(crate) enum ReplyMode {
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
            entry: shared.clients.enter(arrival, settings.worker, settings.db),
            shared,
            authenticated: settings.auth.is_none(),
            reply_mode: Cell::default(),
            queueing: false,
            resp: Resp::default(),
            db: settings.db,
            profile: ConnProfile::FIRST,
            subscriptions: SubscriptionCount::default(),
            subscribed: false,
        }
    }

    /// Its number, counted from 1, and unique in this process.
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// Whether it gave the password, or needs none.
    #[inline]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Tells others at which servers it waits, and over which connections.
    pub fn set_blocked_on(&self, places: Vec<(u16, ServerClientId)>) {
        self.entry.details().blocked_on = places;
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
        let mut details = self.entry.details();
        (details.resp, details.db) = (resp, db);
    }

    /// Whether it does not want the reply to the request that is being taken. Asked once for each request.
    #[inline]
    pub fn take_reply_suppressed(&self) -> bool {
        match self.reply_mode.get() {
            ReplyMode::None => false,
            ReplyMode::All => true,
            ReplyMode::Next => {
                self.reply_mode.set(ReplyMode::None);
                true
            }
        }
    }

    /// Which replies it does not want, from now on.
    pub(crate) fn set_reply_mode(&self, mode: ReplyMode) {
        self.reply_mode.set(mode);
    }

    /// Which replies it does not want.
    pub(crate) fn reply_mode(&self) -> ReplyMode {
        self.reply_mode.get()
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
        if self.reply_mode.get() == ReplyMode::All {
            self.reply_mode.set(ReplyMode::None);
        }
        self.set_subscriptions(SubscriptionCount::default());
        self.change(Resp::default(), settings.db, settings);
        self.entry.details().name = Box::default();
    }

    /// The part of it that others may see.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.clients.leave(self.entry.id);
    }
}
