//! Commands with several keys that clients use: they work if their keys are on one server, which may be luck of the old
//! placement.

use std::collections::BTreeMap;

use crate::protocol::redis::command::{Command, Group, Keys, Policy};
use crate::redis_client::{Info, ServerError};
use crate::reshard::error::ReshardError;
use crate::reshard::plan::servers::Survey;

/// Calls by command.
type Calls = BTreeMap<&'static str, u64>;

/// What a command says of its keys, whatever its arguments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Several {
    /// It has at least two, and all must be on one server.
    Always,
    /// It may have.
    Perhaps,
    /// It has none, one, or such as the proxy splits.
    Never,
}

impl Survey<'_> {
    /// What the servers count since they were started (`INFO commandstats`). They do not count whose keys were together.
    pub(super) fn commands(&mut self) -> Result<(), ReshardError> {
        if self.routes.is_replacement() {
            // All keys of a server stay together.
            return Ok(());
        }
        let (mut always, mut perhaps) = (Calls::new(), Calls::new());
        let before = &self.routes.before;
        for server in self
            .servers
            .iter()
            .filter(|server| before.server(&server.name).is_some())
        {
            let reply = server.call(&["INFO", "commandstats"])?;
            let info = Info::of_reply(&reply);
            let info = info.ok_or_else(|| server.fault(ServerError::BadReply))?;
            // Coordinators and proxies change marks by EVAL.
            let has_mark = server.read_mark(&self.names)?.mark.is_some();
            for (name, calls) in info.calls() {
                let command = Command::lookup(name.as_bytes());
                let Some(command) = command.filter(|command| !has_mark || command.name != "EVAL")
                else {
                    continue;
                };
                match several(command) {
                    Several::Always => *always.entry(command.name).or_default() += calls,
                    Several::Perhaps => *perhaps.entry(command.name).or_default() += calls,
                    Several::Never => {}
                }
            }
        }
        let told = |calls: &Calls| {
            let told = calls
                .iter()
                .map(|(name, calls)| format!("{name} ({calls})"));
            told.collect::<Vec<_>>().join(", ")
        };
        let text = match (always.is_empty(), perhaps.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) => format!("that may have several keys: {}", told(&perhaps)),
            (false, true) => format!("that have several keys: {}", told(&always)),
            (false, false) => format!(
                "that have several keys: {}, or may have: {}",
                told(&always),
                told(&perhaps)
            ),
        };
        self.warnings.push(format!(
            "the servers have executed commands {text}; keys of one hash tag stay together, others that are on one server now \
             may not be after the move, and such a command is refused then"
        ));
        Ok(())
    }
}

fn several(command: &Command) -> Several {
    let is_of_one_server = matches!(command.policy, Policy::Forward | Policy::Block);
    if !is_of_one_server {
        // Of a transaction the proxy asks that all keys are together.
        return if command.name == "EXEC" {
            Several::Perhaps
        } else {
            Several::Never
        };
    }
    if command.group == Group::Scripting && command.keys != Keys::None {
        return Several::Perhaps;
    }
    match command.keys {
        Keys::None | Keys::At(_) => Several::Never,
        Keys::Range { first, last, step } => {
            let arity = i16::try_from(command.arity.unsigned_abs()).unwrap_or(i16::MAX);
            let least_last = if last < 0 {
                arity + i16::from(last)
            } else {
                i16::from(last).min(arity - 1)
            };
            let least = (least_last - i16::from(first)) / i16::from(step).max(1) + 1;
            match (least, last) {
                (2.., _) => Several::Always,
                (_, 1) => Several::Never,
                _ => Several::Perhaps,
            }
        }
        Keys::Counted { .. } | Keys::Sort | Keys::Radius { .. } | Keys::Streams | Keys::Migrate => {
            Several::Perhaps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_tell_by_their_keys_whether_they_have_several() {
        for (name, expected) in [
            ("RENAME", Several::Always),
            ("SINTERSTORE", Several::Always),
            ("LMOVE", Several::Always),
            ("BLMOVE", Several::Always),
            ("BITOP", Several::Always),
            ("EVAL", Several::Perhaps),
            ("FCALL", Several::Perhaps),
            ("BLPOP", Several::Perhaps),
            ("XREAD", Several::Perhaps),
            ("SORT", Several::Perhaps),
            ("EXEC", Several::Perhaps),
            ("GET", Several::Never),
            ("MGET", Several::Never),
            ("DEL", Several::Never),
            ("PING", Several::Never),
        ] {
            let command = Command::lookup(name.as_bytes()).unwrap();
            assert_eq!(several(command), expected, "{name}");
        }
    }
}
