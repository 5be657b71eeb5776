//! The admin socket: an API over HTTP by which operators ask and change a running proxy. `ringroad ctl` is its client.
//!
//! ```text
//! ctl --Request--> socket --> dispatch (the table of endpoints) --> Control --answers--> JSON
//! ```
//!
//! It runs on the control thread and knows the proxy only through [`Control`]. The stats port offers the operations that
//! read, below `/api/`, without keys and clients unless it is told to show them. The socket belongs to the user of the
//! proxy alone (mode 0600); whoever can open it may do anything, so there is no further authentication. Limits on slow
//! clients are those of the stats port (`accept`). Field names, paths and commands stay as they are: scripts use them.

mod access;
mod answer;
pub mod answers;
mod described;
pub(super) mod dispatch;
mod endpoints;
mod error;
mod observe;
mod overview;
mod reference;
pub mod requests;
mod socket;
mod take_over;
mod users;

use std::fmt::Debug;

use tokio::net::UnixStream;
use tokio::sync::oneshot;

pub(super) use access::Access;
pub use answer::Answer;
pub use described::{Described, Field};
pub use endpoints::{Endpoint, Exposure, Operation, Verb};
pub use error::ControlError;
pub use observe::ObserveRequests;
pub use overview::OverviewRequests;
pub use reference::reference;
pub use requests::Request;
pub use socket::{AdminSocket, bind, serve};
pub use users::UserRequests;

use answers::{
    ChangedServer, Clients, Commands, Differences, FailedOver, Killed, LogLevel, Moves, Pools,
    Refusals, Reloaded, Servers, Status, Stopping, Topologies, Upgraded,
};
use requests::{Diff, Failover, KillClient, Reload, ServerChange, ServerRef, SetLogLevel, Upgrade};

/// The proxy, as operators ask and change it.
///
/// A future may be dropped at any time, because its client has gone: a change is then made whole or not at all. A pool
/// that is `None` is every pool.
pub trait Control:
    ObserveRequests + OverviewRequests + UserRequests + Debug + Send + Sync + 'static
{
    /// The proxy as a whole.
    fn status(&self) -> Answer<'_, Status>;

    /// The pools.
    fn pools(&self) -> Answer<'_, Pools>;

    /// The servers of a pool.
    fn servers(&self, pool: Option<String>) -> Answer<'_, Servers>;

    /// The clients of a pool.
    fn clients(&self, pool: Option<String>) -> Answer<'_, Clients>;

    /// Disconnects a client, or those with the same address.
    fn kill_client(&self, kill: KillClient) -> Answer<'_, Killed>;

    /// The facts about a pool, and the topology that follows from them.
    fn topology(&self, pool: Option<String>) -> Answer<'_, Topologies>;

    /// The last move of keys of a pool, as its servers tell of it.
    fn moves(&self, pool: Option<String>) -> Answer<'_, Moves>;

    /// The counts of a pool by command.
    fn commands(&self, pool: Option<String>) -> Answer<'_, Commands>;

    /// The requests of a pool that were refused.
    fn refusals(&self, pool: Option<String>) -> Answer<'_, Refusals>;

    /// Drains, ejects or admits a server.
    fn change_server(&self, change: ServerChange, server: ServerRef) -> Answer<'_, ChangedServer>;

    /// Makes a replica the primary of a server, and waits until it is done.
    fn fail_over(&self, failover: Failover) -> Answer<'_, FailedOver>;

    /// Applies the configuration file whole or not at all, or reports what would change.
    fn reload(&self, reload: Reload) -> Answer<'_, Reloaded>;

    /// Compares a file with the running configuration, and changes nothing.
    fn diff(&self, diff: Diff) -> Answer<'_, Differences>;

    /// The log level.
    fn log_level(&self) -> Answer<'_, LogLevel>;

    /// Changes the log level.
    fn set_log_level(&self, level: SetLogLevel) -> Answer<'_, LogLevel>;

    /// Replaces the process by one that executes this binary.
    fn upgrade(&self, upgrade: Upgrade) -> Answer<'_, Upgraded>;

    /// Lets a new process take over what this one listens on and its clients, over a connection that is free in a moment.
    fn take_over(&self, stream: oneshot::Receiver<UnixStream>) -> Answer<'_, ()>;

    /// Lets requests in flight finish, then ends the process.
    fn stop(&self) -> Answer<'_, Stopping>;
}
