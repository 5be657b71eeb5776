//! Users and what they may do, as in Redis: the rules, and the checks of requests.
//!
//! ```text
//! text --parse--> Rule --apply--> User --check--> allowed, or Denied
//! ```
//!
//! A [`User`](user::User) is never changed: a change makes another one, of the same identity. What a request is checked
//! against was compiled when the rule was applied: a bitset over the rows of the command table, and patterns that know
//! whether they are a prefix.

pub(crate) mod access;
pub(crate) mod channels;
pub(crate) mod check;
pub(crate) mod commands;
pub(crate) mod describe;
pub mod error;
pub(crate) mod keys;
pub(crate) mod password;
pub(crate) mod pattern;
pub(crate) mod rule;
pub mod user;
pub mod users;

#[cfg(test)]
mod tests;
