//! The state of one client that only its own session accesses; [`client_registry`] has the part that is visible to
//! others.
//!
//! [`client_registry`]: crate::protocol::redis::state::client_registry

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::client_registry::{Details, Entry};
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::shared::PoolShared;
use crate::protocol::{
    BlockedOn, ClientRecord, ConnInfo, ConnProfile, Limits, SubscriptionCount, Suppressed, Text,
};

/// The state of one connection.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "states that do not depend on each other"
)]
pub struct Client {
    entry: Arc<Entry>,
    shared: Arc<PoolShared>,
    authenticated: bool,
    reply_mode: Cell<ReplyMode>,
    /// True between MULTI and EXEC.
    multi: bool,
    resp: Resp,
    db: u32,
    profile: ConnProfile,
    subscriptions: SubscriptionCount,
    monitor: bool,
    /// True if it has any subscriptions, or is a monitor.
    may_be_restricted: bool,
}

/// The replies that a client suppressed (`CLIENT REPLY`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    #[default]
    None,
    /// The next one.
    Next,
    All,
}

impl Client {
    /// Creates a client without addresses.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::connected(settings, ConnInfo::default())
    }

    /// Creates a client that has just connected.
    #[must_use]
    pub fn connected(settings: &Settings, info: ConnInfo) -> Self {
        let shared = Arc::clone(&settings.shared);
        Self {
            entry: shared.clients.enter(info, settings.worker, settings.db),
            shared,
            authenticated: settings.auth.is_none(),
            reply_mode: Cell::default(),
            multi: false,
            resp: Resp::default(),
            db: settings.db,
            profile: ConnProfile::FIRST,
            subscriptions: SubscriptionCount::default(),
            monitor: false,
            may_be_restricted: false,
        }
    }

    /// Creates a client that another process has handed over. `None` if the pool has not its database, or nobody knows its
    /// version of RESP.
    #[must_use]
    pub fn arrived(settings: &Settings, info: ConnInfo, record: &ClientRecord) -> Option<Self> {
        let resp = Resp::from_number(record.resp.map_or(2, i64::from))?;
        let db = record.db.unwrap_or(settings.db);
        if db != settings.db && db >= settings.databases {
            return None;
        }
        let details = Details {
            db,
            resp,
            name: record.name.0.clone(),
            library: record.library.0.clone(),
            version: record.library_version.0.clone(),
            ..Details::default()
        };
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_millis(record.age_ms));
        let known = (record.id, since.unwrap_or(now));
        let shared = Arc::clone(&settings.shared);
        let entry = shared
            .clients
            .enter_as(known, info, settings.worker, details);
        Some(Self {
            entry,
            shared,
            authenticated: record.is_authenticated || settings.auth.is_none(),
            reply_mode: Cell::new(match record.suppresses {
                Suppressed::None => ReplyMode::None,
                Suppressed::Next => ReplyMode::Next,
                Suppressed::All => ReplyMode::All,
            }),
            multi: false,
            resp,
            db,
            profile: profile::of(resp, db, settings),
            subscriptions: SubscriptionCount::default(),
            monitor: false,
            may_be_restricted: false,
        })
    }

    /// What another process needs to know of it; without its subscriptions.
    #[must_use]
    pub fn record(&self) -> ClientRecord {
        let details = self.entry.details();
        let age = self.entry.since.elapsed().as_millis();
        ClientRecord {
            id: self.entry.id,
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            name: Text(details.name.clone()),
            library: Text(details.library.clone()),
            library_version: Text(details.version.clone()),
            db: Some(self.db),
            resp: u8::try_from(self.resp.number()).ok(),
            is_authenticated: self.authenticated,
            suppresses: match self.reply_mode.get() {
                ReplyMode::None => Suppressed::None,
                ReplyMode::Next => Suppressed::Next,
                ReplyMode::All => Suppressed::All,
            },
            subscriptions: Vec::new(),
        }
    }

    /// Its ID, counted from 1, and unique in this process.
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// Returns true if it has authenticated, or needs not.
    #[inline]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// The limits of its next request.
    #[inline]
    pub(crate) const fn limits<'l>(&self, limits: &'l Limits) -> &'l Limits {
        if self.authenticated {
            limits
        } else {
            &Limits::BEFORE_AUTH
        }
    }

    /// Publishes where it is blocked.
    pub fn set_blocked_on(&self, blocked_on: BlockedOn) {
        self.entry.details().blocked_on = blocked_on;
    }

    /// Returns true if its requests are queued until the end of a transaction.
    #[inline]
    pub const fn in_multi(&self) -> bool {
        self.multi
    }

    pub(crate) const fn set_in_multi(&mut self, multi: bool) {
        self.multi = multi;
    }

    pub(crate) const fn set_authenticated(&mut self) {
        self.authenticated = true;
    }

    /// The RESP version of its replies.
    #[inline]
    pub const fn resp(&self) -> Resp {
        self.resp
    }

    pub(crate) fn set_resp(&mut self, resp: Resp, settings: &Settings) {
        self.change(resp, self.db, settings);
    }

    /// Selects a database that the pool supports.
    pub(crate) fn select(&mut self, db: u32, settings: &Settings) {
        self.change(self.resp, db, settings);
    }

    fn change(&mut self, resp: Resp, db: u32, settings: &Settings) {
        (self.resp, self.db) = (resp, db);
        self.profile = profile::of(resp, db, settings);
        let mut details = self.entry.details();
        (details.resp, details.db) = (resp, db);
    }

    /// Returns true if it suppressed the reply to the current request. Called once per request.
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

    /// Sets the replies that are suppressed from now on.
    pub(crate) fn set_reply_mode(&self, mode: ReplyMode) {
        self.reply_mode.set(mode);
    }

    /// The replies that are suppressed.
    pub(crate) fn reply_mode(&self) -> ReplyMode {
        self.reply_mode.get()
    }

    /// The profile of the connections for its requests.
    #[inline]
    pub const fn profile(&self) -> ConnProfile {
        self.profile
    }

    /// The numbers of its subscriptions.
    pub const fn subscriptions(&self) -> SubscriptionCount {
        self.subscriptions
    }

    pub(crate) const fn set_subscriptions(&mut self, count: SubscriptionCount) {
        self.subscriptions = count;
        self.may_be_restricted = self.monitor || count.total() > 0;
    }

    /// Returns true if only subscription commands are allowed: in RESP2 a subscriber cannot distinguish replies from
    /// messages.
    #[inline]
    pub const fn in_subscriber_mode(&self) -> bool {
        self.subscriptions.total() > 0 && matches!(self.resp, Resp::Two)
    }

    /// Returns true if it gets the requests that pass.
    pub const fn is_monitor(&self) -> bool {
        self.monitor
    }

    /// Has it get the requests that pass.
    pub(crate) fn set_monitor(&mut self) {
        self.monitor = true;
        self.may_be_restricted = true;
        self.entry.details().is_monitor = true;
    }

    /// Returns true if it may have to be refused commands that others may send.
    #[inline]
    pub(crate) const fn is_restricted(&self) -> bool {
        self.may_be_restricted
    }

    /// The number of its database.
    pub(crate) const fn database(&self) -> u32 {
        self.db
    }

    /// Resets the state to that of a new connection; its ID and the name of its library stay, as in Redis.
    pub(crate) fn reset(&mut self, settings: &Settings) {
        self.authenticated = settings.auth.is_none();
        // As in Redis, the reply to this very request may still be suppressed.
        if self.reply_mode.get() == ReplyMode::All {
            self.reply_mode.set(ReplyMode::None);
        }
        self.monitor = false;
        self.set_subscriptions(SubscriptionCount::default());
        self.change(Resp::default(), settings.db, settings);
        let mut details = self.entry.details();
        details.name = Box::default();
        details.is_monitor = false;
    }

    /// The part of its state that is visible to others.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.clients.leave(self.entry.id);
    }
}
