//! Decides what becomes of a request: the command table says, this room asks it.

use bytes::BytesMut;

use super::command::{Command, Keys, KeysError, Policy, Unfit, sort_patterns};
use super::local::{self, Client, Outcome, Settings};
use super::{Args, Form, Redis, Request, Split, error};
use crate::hash::HashTag;
use crate::protocol::{KeySpan, Plan, Route};

/// The plan for one request. Local replies go to `out`, the keys of several to `keys`.
pub(super) fn plan(
    request: &Request,
    frame: &[u8],
    client: &mut Client,
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<Redis> {
    if request.form == Form::Empty {
        return Plan::Nothing;
    }
    let command = match resolve(request, frame) {
        Ok(command) => command,
        Err(unfit) => {
            error::write_unfit(&unfit, Args::new(frame), out);
            return Plan::Refused;
        }
    };
    if local::must_authenticate(command, client, settings) {
        error::write_unauthenticated(out);
        return Plan::Refused;
    }
    if settings.disabled.has(command) {
        error::write_disabled(command, out);
        return Plan::Refused;
    }
    match command.policy {
        Policy::Forward => match request.key {
            Some(key) => Plan::Forward(Route::Key(key), ()),
            None => collect(command, frame, settings, keys, out, Plan::Together(())),
        },
        Policy::Keyless => Plan::Forward(Route::Placeholder, ()),
        Policy::Split(kind) => collect(
            command,
            frame,
            settings,
            keys,
            out,
            Plan::Split(
                Split {
                    name: command.name,
                    kind,
                },
                (),
            ),
        ),
        Policy::Local(which) => {
            match local::answer(which, Args::new(frame), client, settings, out) {
                Outcome::Stay => Plan::Answered,
                Outcome::Silent => Plan::Nothing,
                Outcome::Close => Plan::AnsweredClose,
            }
        }
        Policy::Refused(_) => {
            error::write_refused(command, out);
            Plan::Refused
        }
    }
}

/// The row of the table. The scanner has looked the name up already; only a command with subcommands needs a walk.
fn resolve(request: &Request, frame: &[u8]) -> Result<&'static Command, Unfit> {
    match request.command {
        None => Err(Unfit::Unknown),
        Some(command) if command.subcommands.is_empty() && command.accepts(request.argc) => {
            Ok(command)
        }
        Some(_) => Command::resolve(&Args::new(frame), request.argc),
    }
}

fn collect(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
    plan: Plan<Redis>,
) -> Plan<Redis> {
    match command.collect_keys(Args::new(frame), keys) {
        Ok(()) if command.keys == Keys::Sort && settings.servers.len() > 1 => {
            for (pattern, span) in sort_patterns(Args::new(frame)) {
                if !is_tied(pattern, settings.hash_tag) {
                    error::write_pattern(command, settings.hash_tag, out);
                    return Plan::Refused;
                }
                keys.push(span);
            }
            plan
        }
        Ok(()) => plan,
        Err(KeysError::Malformed) => Plan::Forward(Route::Placeholder, ()),
        Err(KeysError::Zero) => {
            error::write_keyless_script(command, out);
            Plan::Refused
        }
        Err(KeysError::Blocks) => {
            error::write_blocks(command, out);
            Plan::Refused
        }
    }
}

/// Whether all keys of a pattern live on one server, whatever stands for its `*`: it has a hash tag, and a `*` neither
/// within nor before it.
fn is_tied(pattern: &[u8], hash_tag: Option<HashTag>) -> bool {
    let star = memchr::memchr(b'*', pattern).unwrap_or(pattern.len());
    let (before, _) = pattern.split_at(star);
    hash_tag.is_some_and(|tag| tag.apply(before).len() < before.len())
}
