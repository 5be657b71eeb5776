//! The requests of the API: `ringroad ctl` writes them, the proxy reads them.
//!
//! A GET has its parameters in the query, a POST in a JSON object. What is not known is refused: a misspelt parameter
//! must not mean all pools.

pub mod clients;
mod in_pool;
pub mod observed;
mod overview;
mod parameters;
mod upgrade;
pub mod users;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::api::described::{Described as _, Field, described};
use crate::admin::api::endpoints::{Operation, Verb};
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::clients::KillFields;
use crate::admin::api::requests::observed::{EntriesOf, HotKeysOf, TapOf};
use crate::admin::api::requests::parameters::{malformed, unknown_parameter};
use crate::admin::api::requests::users::{DeleteUserFields, SetUserFields};
use crate::log::LEVEL_MAX;
pub use clients::{ClientRef, KillClient};
pub use in_pool::InPool;
pub use overview::EventsAfter;
pub use upgrade::Upgrade;
pub use users::{DeleteUser, SetUser};

/// A request with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The proxy as a whole.
    Status,
    /// The state and the counts of one pool or all.
    Overview(InPool),
    /// What has happened.
    Events(EventsAfter),
    /// The rings of one pool or all.
    Rings(InPool),
    /// The pools.
    Pools,
    /// The servers of one pool or all.
    Servers(InPool),
    /// The clients of one pool or all.
    Clients(InPool),
    /// Disconnects a client.
    KillClient(KillClient),
    /// The users of one pool or all.
    Users(InPool),
    /// Creates or changes a user.
    SetUser(SetUser),
    /// Deletes a user.
    DeleteUser(DeleteUser),
    /// The facts about one pool or all.
    Topology(InPool),
    /// The last moves of keys.
    Moves(InPool),
    /// The counts by command.
    Commands(InPool),
    /// The refused requests.
    Refusals(InPool),
    /// The hot keys of one pool or all.
    HotKeys(HotKeysOf),
    /// The largest requests and replies.
    BigKeys(EntriesOf),
    /// The slow requests.
    SlowLog(EntriesOf),
    /// Some of the requests that pass.
    Tap(TapOf),
    /// Drains, ejects or admits a server.
    ChangeServer(ServerChange, ServerRef),
    /// Makes a replica the primary of a server.
    Failover(Failover),
    /// Applies the configuration file.
    Reload(Reload),
    /// Compares a file with the running configuration.
    Diff(Diff),
    /// The log level.
    LogLevel,
    /// Changes the log level.
    SetLogLevel(SetLogLevel),
    /// Replaces the process.
    Upgrade(Upgrade),
    /// Stops the proxy.
    Stop,
}

impl Request {
    /// Reads the parameters of an operation.
    pub(super) fn read(
        operation: Operation,
        query: &str,
        body: &[u8],
    ) -> Result<Self, ControlError> {
        match operation.endpoint().verb {
            Verb::Get if !body.is_empty() => return Err(malformed("a GET has no body")),
            Verb::Post if !query.is_empty() => {
                return Err(malformed("a POST has its parameters in its body, as JSON"));
            }
            Verb::Get | Verb::Post => {}
        }
        Ok(match operation {
            Operation::Status => no_parameters(query).map(|()| Self::Status)?,
            Operation::Overview => Self::Overview(InPool::read(query)?),
            Operation::Events => Self::Events(EventsAfter::read(query)?),
            Operation::Rings => Self::Rings(InPool::read(query)?),
            Operation::Pools => no_parameters(query).map(|()| Self::Pools)?,
            Operation::Servers => Self::Servers(InPool::read(query)?),
            Operation::Clients => Self::Clients(InPool::read(query)?),
            Operation::KillClient => Self::KillClient(object::<KillFields>(body)?.try_into()?),
            Operation::Users => Self::Users(InPool::read(query)?),
            Operation::SetUser => Self::SetUser(object::<SetUserFields>(body)?.try_into()?),
            Operation::DeleteUser => {
                Self::DeleteUser(object::<DeleteUserFields>(body)?.try_into()?)
            }
            Operation::Topology => Self::Topology(InPool::read(query)?),
            Operation::Moves => Self::Moves(InPool::read(query)?),
            Operation::Commands => Self::Commands(InPool::read(query)?),
            Operation::Refusals => Self::Refusals(InPool::read(query)?),
            Operation::HotKeys => Self::HotKeys(HotKeysOf::read(query)?),
            Operation::BigKeys => Self::BigKeys(EntriesOf::read(query)?),
            Operation::SlowLog => Self::SlowLog(EntriesOf::read(query)?),
            Operation::Tap => Self::Tap(TapOf::read(query)?),
            Operation::Drain => Self::ChangeServer(ServerChange::Drain, server(body)?),
            Operation::Eject => Self::ChangeServer(ServerChange::Eject, server(body)?),
            Operation::Admit => Self::ChangeServer(ServerChange::Admit, server(body)?),
            Operation::Failover => Self::Failover(object::<FailoverFields>(body)?.try_into()?),
            Operation::Reload => Self::Reload(object(body)?),
            Operation::Diff => Self::Diff(object::<DiffFields>(body)?.try_into()?),
            Operation::LogLevel => no_parameters(query).map(|()| Self::LogLevel)?,
            Operation::SetLogLevel => Self::SetLogLevel(object::<LevelFields>(body)?.try_into()?),
            Operation::Upgrade => Self::Upgrade(object(body)?),
            Operation::Stop => object(body).map(|NoFields {}| Self::Stop)?,
        })
    }

    /// The operation.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Status => Operation::Status,
            Self::Overview(_) => Operation::Overview,
            Self::Events(_) => Operation::Events,
            Self::Rings(_) => Operation::Rings,
            Self::Pools => Operation::Pools,
            Self::Servers(_) => Operation::Servers,
            Self::Clients(_) => Operation::Clients,
            Self::KillClient(_) => Operation::KillClient,
            Self::Users(_) => Operation::Users,
            Self::SetUser(_) => Operation::SetUser,
            Self::DeleteUser(_) => Operation::DeleteUser,
            Self::Topology(_) => Operation::Topology,
            Self::Moves(_) => Operation::Moves,
            Self::Commands(_) => Operation::Commands,
            Self::Refusals(_) => Operation::Refusals,
            Self::HotKeys(_) => Operation::HotKeys,
            Self::BigKeys(_) => Operation::BigKeys,
            Self::SlowLog(_) => Operation::SlowLog,
            Self::Tap(_) => Operation::Tap,
            Self::ChangeServer(ServerChange::Drain, _) => Operation::Drain,
            Self::ChangeServer(ServerChange::Eject, _) => Operation::Eject,
            Self::ChangeServer(ServerChange::Admit, _) => Operation::Admit,
            Self::Failover(_) => Operation::Failover,
            Self::Reload(_) => Operation::Reload,
            Self::Diff(_) => Operation::Diff,
            Self::LogLevel => Operation::LogLevel,
            Self::SetLogLevel(_) => Operation::SetLogLevel,
            Self::Upgrade(_) => Operation::Upgrade,
            Self::Stop => Operation::Stop,
        }
    }

    /// The query; empty without one.
    #[must_use]
    pub fn query(&self) -> String {
        match self {
            Self::Events(wanted) => wanted.query(),
            Self::Overview(pool)
            | Self::Rings(pool)
            | Self::Servers(pool)
            | Self::Clients(pool)
            | Self::Users(pool)
            | Self::Topology(pool)
            | Self::Moves(pool)
            | Self::Commands(pool)
            | Self::Refusals(pool) => pool.query(),
            Self::HotKeys(wanted) => wanted.query(),
            Self::BigKeys(wanted) | Self::SlowLog(wanted) => wanted.query(),
            Self::Tap(wanted) => wanted.query(),
            _ => String::new(),
        }
    }

    /// The body; empty without one.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::KillClient(kill) => json(&KillFields::from(kill.clone())),
            Self::SetUser(set) => json(&SetUserFields::from(set.clone())),
            Self::DeleteUser(delete) => json(&DeleteUserFields::from(delete.clone())),
            Self::ChangeServer(_, server) => json(&ServerFields::from(server.clone())),
            Self::Failover(failover) => json(&FailoverFields::from(failover.clone())),
            Self::Reload(reload) => json(reload),
            Self::Diff(diff) => json(&DiffFields::from(diff.clone())),
            Self::Upgrade(upgrade) => json(upgrade),
            Self::SetLogLevel(level) => json(&LevelFields::from(*level)),
            _ => String::new(),
        }
    }
}

impl Operation {
    /// The parameters: of the query of a GET, of the object of a POST.
    #[must_use]
    pub fn parameters(self) -> &'static [Field] {
        match self {
            Self::Status | Self::Pools | Self::LogLevel | Self::Stop => NoFields::FIELDS,
            Self::Events => EventsAfter::FIELDS,
            Self::Overview
            | Self::Rings
            | Self::Servers
            | Self::Clients
            | Self::Users
            | Self::Topology
            | Self::Moves
            | Self::Commands
            | Self::Refusals => InPool::FIELDS,
            Self::HotKeys => HotKeysOf::FIELDS,
            Self::BigKeys | Self::SlowLog => EntriesOf::FIELDS,
            Self::Tap => TapOf::FIELDS,
            Self::KillClient => KillFields::FIELDS,
            Self::SetUser => SetUserFields::FIELDS,
            Self::DeleteUser => DeleteUserFields::FIELDS,
            Self::Drain | Self::Eject | Self::Admit => ServerFields::FIELDS,
            Self::Failover => FailoverFields::FIELDS,
            Self::Reload => Reload::FIELDS,
            Self::Diff => DiffFields::FIELDS,
            Self::SetLogLevel => LevelFields::FIELDS,
            Self::Upgrade => Upgrade::FIELDS,
        }
    }
}

/// The request to compare a file with the running configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The text of the file.
    pub file: String,
    /// What messages call the file.
    pub name: String,
}

/// The server that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRef {
    /// Its name.
    pub server: String,
    /// Its pool; `None` is the only one with such a server.
    pub pool: Option<String>,
}

/// The request to make a replica the primary of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// The server.
    pub server: ServerRef,
    /// The address of the replica; `None` is any.
    pub to: Option<SocketAddr>,
}

/// A change of a server by an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerChange {
    /// Out of the ring until it is admitted.
    Drain,
    /// Out of the ring as if it had failed.
    Eject,
    /// Back into the ring, whatever kept it out.
    Admit,
}

/// The request to change the log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetLogLevel {
    /// To this one, at most [`LEVEL_MAX`].
    To(u8),
    /// By one.
    Step(LevelStep),
}

/// A change of the log level by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LevelStep {
    /// More lines.
    Up,
    /// Fewer lines.
    Down,
}

described! {
    /// The request to apply the configuration file.
    #[serde(default, deny_unknown_fields)]
    pub struct Reload {
        /// True to report only what would change.
        check: bool,
        /// Pools of which keys may be looked for on other servers, although they are stores.
        swap: Vec<String>,
    }

    /// The fields of [`Diff`].
    #[serde(default, deny_unknown_fields)]
    pub struct DiffFields {
        /// Text of a configuration file. Required.
        file: Option<String>,
        /// Name of the file in messages about it; without it `file`.
        name: Option<String>,
    }

    /// The fields of [`ServerRef`].
    #[serde(default, deny_unknown_fields)]
    pub struct ServerFields {
        /// Name of the server. Required.
        server: Option<String>,
        /// Its pool. Required if servers of several pools have this name.
        pool: Option<String>,
    }

    /// The fields of [`Failover`].
    #[serde(default, deny_unknown_fields)]
    pub struct FailoverFields {
        /// Name of the server. Required.
        server: Option<String>,
        /// Its pool. Required if servers of several pools have this name.
        pool: Option<String>,
        /// Address of the replica that is to be the primary, as the primary knows it; without it any. Not with `sentinels`, which
        /// choose.
        to: Option<SocketAddr>,
    }

    /// A request without parameters.
    #[serde(default, deny_unknown_fields)]
    pub struct NoFields {}

    /// The fields of [`SetLogLevel`].
    #[serde(default, deny_unknown_fields)]
    pub struct LevelFields {
        /// The new level, 0 to 11. Either this or `step` is required.
        level: Option<u8>,
        /// `up` or `down`: one level more or less.
        step: Option<LevelStep>,
    }
}

impl TryFrom<DiffFields> for Diff {
    type Error = ControlError;

    fn try_from(fields: DiffFields) -> Result<Self, ControlError> {
        let file = fields.file.ok_or_else(|| malformed("'file' is required"))?;
        let name = fields.name.unwrap_or_else(|| "file".to_owned());
        Ok(Self { file, name })
    }
}

impl From<Diff> for DiffFields {
    fn from(diff: Diff) -> Self {
        Self {
            file: Some(diff.file),
            name: Some(diff.name),
        }
    }
}

impl TryFrom<FailoverFields> for Failover {
    type Error = ControlError;

    fn try_from(fields: FailoverFields) -> Result<Self, ControlError> {
        let FailoverFields { server, pool, to } = fields;
        let server = server.ok_or_else(|| malformed("'server' is required"))?;
        let server = ServerRef { server, pool };
        Ok(Self { server, to })
    }
}

impl From<Failover> for FailoverFields {
    fn from(failover: Failover) -> Self {
        let ServerRef { server, pool } = failover.server;
        Self {
            server: Some(server),
            pool,
            to: failover.to,
        }
    }
}

impl From<ServerRef> for ServerFields {
    fn from(server: ServerRef) -> Self {
        Self {
            server: Some(server.server),
            pool: server.pool,
        }
    }
}

impl TryFrom<LevelFields> for SetLogLevel {
    type Error = ControlError;

    fn try_from(fields: LevelFields) -> Result<Self, ControlError> {
        match (fields.level, fields.step) {
            (Some(level @ 0..=LEVEL_MAX), None) => Ok(Self::To(level)),
            (Some(level), None) => {
                Err(malformed(format!("log level {level} is above {LEVEL_MAX}")))
            }
            (None, Some(step)) => Ok(Self::Step(step)),
            _ => Err(malformed("either 'level' or 'step' is required")),
        }
    }
}

impl From<SetLogLevel> for LevelFields {
    fn from(level: SetLogLevel) -> Self {
        let (level, step) = match level {
            SetLogLevel::To(level) => (Some(level), None),
            SetLogLevel::Step(step) => (None, Some(step)),
        };
        Self { level, step }
    }
}

impl Eq for Reload {}

fn server(body: &[u8]) -> Result<ServerRef, ControlError> {
    let ServerFields { server, pool } = object(body)?;
    match server {
        Some(server) => Ok(ServerRef { server, pool }),
        None => Err(malformed("'server' is required")),
    }
}

fn no_parameters(query: &str) -> Result<(), ControlError> {
    match form_urlencoded::parse(query.as_bytes()).next() {
        None => Ok(()),
        Some((name, _)) => Err(unknown_parameter(&name)),
    }
}

/// Reads an object; an empty body is an empty one.
fn object<'b, T: Deserialize<'b> + Default>(body: &'b [u8]) -> Result<T, ControlError> {
    match body.trim_ascii_start().first() {
        None => Ok(T::default()),
        Some(b'{') => serde_json::from_slice(body)
            .map_err(|error| malformed(format!("the body is invalid: {error}"))),
        Some(_) => Err(malformed("the body is not a JSON object")),
    }
}

/// The fields that are set.
fn json(fields: &impl Serialize) -> String {
    let set = |value: Value| match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.collect())
        }
        value => value,
    };
    // Names and plain values are always JSON.
    serde_json::to_value(fields).map_or_else(|_| String::new(), |value| set(value).to_string())
}
