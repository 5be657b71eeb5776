//! The protocol by which a new process takes over the listeners and clients of an old one.
//!
//! ```text
//! new                                            old
//!   --POST /take-over on its admin socket-->
//!   --Hello: versions-->
//!                     <--Welcome, Socket*, Complete-- listeners, stats port, admin socket: SCM_RIGHTS
//!   loads the file, binds what is new, starts its workers
//!   --Ready: pools-->
//!                     <--Serve-- it has stopped accepting
//!   --Serving--> accepts
//!                     <--Client*-- each when nothing of it is in flight
//!                     <--Ping*-- whether it lives
//!   --Adopted*, Refused*, Pong*-->
//!                     <--Done-- drains what is left, and ends
//! ```
//!
//! Owns the messages and their framing; `crate::app` has both sides. Invariants: one of the two accepts at any time; a
//! client is read by the one that has it, and by nobody while it travels. Instead of its next message, each side may say why
//! it gives up (`Failed`, `Abort`): then the old process goes on; or the new one says that an operator ends it (`Ending`): then
//! both end. A connection that ends without that means that the other process has died: then the one that is left serves.
//! A new process that gives no sign of life is killed, and has died.
//!
//! Versions: each side names those that it knows, and the old one chooses. Fields may be added to a message; a message or a
//! record that an older version would misread is a new version.

mod connection;
mod error;
mod message;
mod request;

pub use connection::{Connection, Received, Receiver, Sender};
pub use error::HandoverError;
pub use message::{
    Complete, FromNew, FromOld, Hello, PROTOCOLS, PoolName, RECORDS, Role, SIGNS_SINCE, Socket,
    Welcome,
};
pub use request::{TAKE_OVER_PATH, TAKE_OVER_PROTOCOL, TakeOver};
