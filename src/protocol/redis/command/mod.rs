//! The command table of Redis: the source of lookup, planning, `COMMAND` and the docs.
//!
//! [`Command::resolve`] turns the arguments of a request into a row whose arity is already checked;
//! [`Command::single_key`] and [`Command::collect_keys`] then find its keys. An unsupported command has a row too, so
//! that its error can give the reason.

pub(crate) mod access;
pub mod differences;
pub(crate) mod disabled;
pub mod docs;
pub mod flags;
pub(crate) mod ids;
pub(crate) mod index;
pub(crate) mod keys;
pub(crate) mod lookup;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod row;
pub(crate) mod table;
pub(crate) mod tips;

pub use crate::protocol::redis::command::access::{Begin, Find, KeySpec};
pub use crate::protocol::redis::command::disabled::Disabled;
pub use crate::protocol::redis::command::keys::{KeysError, sort_patterns};
pub use crate::protocol::redis::command::lookup::CommandError;
pub use crate::protocol::redis::command::policy::{
    Group, Keys, Local, MergeKind, Policy, Refusal, ResponsePolicy, SetJoin, Verb,
};
pub use crate::protocol::redis::command::row::Command;

#[cfg(test)]
mod tests;
