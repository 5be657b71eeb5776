//! The state of one client that only its own session accesses; [`client_registry`] has the part that is visible to
//! others.
//!
//! [`client_registry`]: crate::protocol::redis::state::client_registry

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::redis::acl::password::Password;
use crate::protocol::redis::acl::user::{DEFAULT, User};
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::client_registry::{Details, Entry};
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::shared::PoolShared;
use crate::protocol::{
    BlockedOn, ClientRecord, ConnInfo, ConnProfile, Limits, SubscriptionCount, Suppressed, Text,
};
use crate::quota::{OverQuota, TenantConnection, WorkerTenant, WorkerTenants};

/// The state of one connection.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "states that do not depend on each other"
)]
pub struct Client {
    entry: Arc<Entry>,
    shared: Arc<PoolShared>,
    user: Arc<User>,
    tenants: Rc<WorkerTenants>,
    /// The quota of its user, if that has one.
    tenant: Option<Rc<WorkerTenant>>,
    /// Its connection as one of its user, once it has authenticated or need not.
    connection: Option<TenantConnection>,
    /// The changes of users when its own was looked up.
    users_epoch: u32,
    /// The same when its transaction began.
    multi_epoch: u32,
    authenticated: bool,
    /// It has to authenticate before it does anything else.
    must_authenticate: bool,
    /// It may have to be refused a command because of its user.
    gated: bool,
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

/// Why a client could not become a user.
#[derive(Debug)]
pub(crate) enum AuthError {
    /// There is no such user, or its password is another.
    WrongPassword,
    /// The user has too many connections.
    OverQuota(OverQuota),
}

impl From<OverQuota> for AuthError {
    fn from(over: OverQuota) -> Self {
        Self::OverQuota(over)
    }
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
        let users_epoch = shared.users.epoch();
        let user = Arc::clone(shared.users.load().default_user());
        let mut details = Details {
            db: settings.db,
            ..Details::default()
        };
        details.set_user(&user);
        let authenticated = user.is_open();
        if authenticated {
            info.auth.set();
        }
        let connection = authenticated.then(|| TenantConnection::open(user.tenant()).ok());
        Self {
            entry: shared.clients.enter(info, settings.worker, details),
            shared,
            users_epoch,
            multi_epoch: users_epoch,
            authenticated,
            must_authenticate: !authenticated,
            gated: !authenticated || !user.is_unrestricted(),
            tenant: settings.tenants.of(user.tenant()),
            tenants: Rc::clone(&settings.tenants),
            user,
            connection: connection.flatten(),
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
        let shared = Arc::clone(&settings.shared);
        let users_epoch = shared.users.epoch();
        let users = shared.users.load();
        let user = match &record.user {
            Some(name) => Arc::clone(users.get(&name.0)?),
            None => Arc::clone(users.default_user()),
        };
        let mut details = Details {
            db,
            resp,
            name: record.name.0.clone(),
            library: record.library.0.clone(),
            version: record.library_version.0.clone(),
            ..Details::default()
        };
        details.set_user(&user);
        if record.is_authenticated {
            info.auth.set();
        }
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_millis(record.age_ms));
        let known = (record.id, since.unwrap_or(now));
        let entry = shared
            .clients
            .enter_as(known, info, settings.worker, details);
        let mut client = Self {
            entry,
            shared,
            tenant: settings.tenants.of(user.tenant()),
            tenants: Rc::clone(&settings.tenants),
            user,
            connection: None,
            users_epoch,
            multi_epoch: users_epoch,
            authenticated: record.is_authenticated,
            must_authenticate: false,
            gated: false,
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
        };
        client.close_gate(users.default_user());
        Some(client)
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
            peer: Text::default(),
            resp: u8::try_from(self.resp.number()).ok(),
            is_authenticated: self.authenticated,
            user: self.user_record(),
            suppresses: match self.reply_mode.get() {
                ReplyMode::None => Suppressed::None,
                ReplyMode::Next => Suppressed::Next,
                ReplyMode::All => Suppressed::All,
            },
            subscriptions: Vec::new(),
        }
    }

    /// The name of its user, unless that is the default one.
    fn user_record(&self) -> Option<Text> {
        let name = self.user.name();
        (**name != *DEFAULT.as_bytes()).then(|| Text::from(&**name))
    }

    /// Its ID, counted from 1, and unique in this process.
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// Returns true if it has to authenticate before it does anything else.
    pub(crate) const fn must_authenticate(&self) -> bool {
        self.must_authenticate
    }

    /// Returns true if it may have to be refused a command because of its user.
    #[inline]
    pub(crate) const fn is_gated(&self) -> bool {
        self.gated
    }

    /// Its user.
    pub(crate) const fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The quota of its user, if that has one.
    pub(crate) fn tenant(&self) -> Option<&WorkerTenant> {
        self.tenant.as_deref()
    }

    /// Adopts changes of users. Called before each batch of requests.
    #[inline]
    pub(crate) fn follow_users(&mut self) {
        if self.shared.users.epoch() != self.users_epoch {
            self.adopt_users();
        }
    }

    #[cold]
    fn adopt_users(&mut self) {
        self.users_epoch = self.shared.users.epoch();
        let users = self.shared.users.load();
        let user = users.get(self.user.name());
        if let Some(user) = user.filter(|user| user.identity() == self.user.identity()) {
            self.user = Arc::clone(user);
        } else {
            // It was deleted, and the client is about to be closed.
            self.user = Arc::new(User::new(self.user.name()));
            self.authenticated = false;
        }
        self.close_gate(users.default_user());
    }

    fn close_gate(&mut self, default: &User) {
        self.tenant = self.tenants.of(self.user.tenant());
        self.must_authenticate = !self.authenticated && !default.is_open();
        self.gated = self.must_authenticate || !self.user.is_unrestricted();
        if self.must_authenticate {
            self.connection = None;
        } else if self.connection.is_none() {
            // It has been let in before its user had a quota, or by another process.
            self.connection = Some(TenantConnection::open_anyway(self.user.tenant()));
        }
    }

    /// Why it may not stay, if it has just connected and its user has too many connections.
    pub(crate) fn refused_connection(&self) -> Option<OverQuota> {
        let is_refused = !self.must_authenticate && self.connection.is_none();
        is_refused.then(|| TenantConnection::refusal(self.user.tenant()))
    }

    /// The limits of its next request.
    #[inline]
    pub(crate) const fn limits<'l>(&self, limits: &'l Limits) -> &'l Limits {
        if self.must_authenticate {
            &Limits::BEFORE_AUTH
        } else {
            limits
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
        self.multi_epoch = self.users_epoch;
    }

    /// Authenticates it with a password.
    pub(crate) fn authenticate(&mut self, name: &[u8], password: &[u8]) -> Result<(), AuthError> {
        let epoch = self.shared.users.epoch();
        let users = self.shared.users.load();
        // Nobody has a longer one, and its hash would hold up all others.
        if password.len() > Limits::BEFORE_AUTH.argument_bytes {
            return Err(AuthError::WrongPassword);
        }
        // Also for an unknown name: the time of the answer says nothing of it.
        let given = Password::of(password);
        let user = users.get(name).filter(|user| user.admits(&given));
        let user = user.ok_or(AuthError::WrongPassword)?;
        self.become_user(user, true, users.default_user())?;
        self.users_epoch = epoch;
        self.entry.arrival.auth.set();
        Ok(())
    }

    /// Makes it another user, if that may have one more connection.
    fn become_user(
        &mut self,
        user: &Arc<User>,
        authenticated: bool,
        default: &User,
    ) -> Result<(), OverQuota> {
        let tenant = user.tenant();
        let has_one = |known: &TenantConnection| known.is_of(tenant);
        if authenticated && !self.connection.as_ref().is_some_and(has_one) {
            self.connection = Some(TenantConnection::open(tenant)?);
        }
        self.user = Arc::clone(user);
        self.authenticated = authenticated;
        self.entry.details().set_user(user);
        self.close_gate(default);
        Ok(())
    }

    /// Returns true if it may have lost rights since MULTI.
    pub(crate) const fn rights_changed(&self) -> bool {
        self.gated && self.multi_epoch != self.users_epoch
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

    /// Resets the state to that of a new connection; its ID and the name of its library stay, as in Redis. Fails if the
    /// default user may not have one more.
    pub(crate) fn reset(&mut self, settings: &Settings) -> Result<(), OverQuota> {
        self.users_epoch = self.shared.users.epoch();
        let users = self.shared.users.load();
        let default = users.default_user();
        self.become_user(default, default.is_open(), default)?;
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
        Ok(())
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
