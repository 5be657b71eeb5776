//! Plans for requests that concern all servers.

use bytes::BytesMut;

use crate::protocol::redis::command::{Command, MergeKind};
use crate::protocol::redis::error;
use crate::protocol::redis::mark::keyspace;
use crate::protocol::redis::merge::context::MergeSpec;
use crate::protocol::redis::merge::scan::{CursorError, cursor_of, rewrite as rewrite_cursor};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::error_line::ErrorAuthor;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{Plan, Route, ScriptOp, Targets};
use crate::stats::RefusalReason;

/// Plans a request to all servers.
pub(crate) fn all(
    command: &'static Command,
    kind: MergeKind,
    (frame, client): (&[u8], &Client),
    settings: &Settings,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    let name = command.name;
    if let Some(mark_key) = &settings.mark_key {
        if matches!(name, "KEYS" | "RANDOMKEY") {
            return Plan::Survey(ErrorAuthor::Server);
        }
        let (_, database) = profile::meaning(client.profile(), settings);
        if write_beside_mark(name, mark_key, database, frame, out) {
            let split = MergeSpec { name, kind };
            return Plan::Rewrite(Targets::All, split, ErrorAuthor::Server);
        }
    }
    let is_flush = name == "SCRIPT|FLUSH";
    match (is_one_within_transaction(client, settings), is_flush) {
        (true, true) => Plan::ForwardScript(ScriptOp::Flush, ErrorAuthor::Server),
        (true, false) => Plan::Forward(Route::Placeholder, ErrorAuthor::Server),
        (false, true) => Plan::ScriptFlush(MergeSpec { name, kind }, ErrorAuthor::Server),
        (false, false) => Plan::AllServers(MergeSpec { name, kind }, ErrorAuthor::Server),
    }
}

/// Plans a `SCAN`: to the server in the cursor, with that server's own cursor.
pub(crate) fn scan(
    command: &'static Command,
    frame: &[u8],
    client: &Client,
    settings: &Settings,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    if is_one_within_transaction(client, settings) {
        return Plan::Forward(Route::Placeholder, ErrorAuthor::Server);
    }
    if settings.mark_key.is_some() && cursor_of(frame).is_some() {
        return Plan::Survey(ErrorAuthor::Server);
    }
    let server = match rewrite_cursor(frame, &settings.servers, out) {
        Ok(server) => server,
        Err(error) => {
            let text = match error {
                CursorError::Invalid => "invalid cursor",
                CursorError::Stale => {
                    "invalid cursor: the servers of the pool are not those that this scan began with; begin again with 0"
                }
            };
            error::write_error(text, out);
            return Plan::Error(RefusalReason::Arguments);
        }
    };
    let split = MergeSpec {
        name: command.name,
        kind: MergeKind::Cursor(server),
    };
    Plan::Rewrite(Targets::One(server), split, ErrorAuthor::Server)
}

/// Writes what servers get instead, since the mark in database 0 is none of the keys that the command is about. Returns false
/// if they get the command itself.
fn write_beside_mark(
    name: &str,
    mark_key: &str,
    database: u32,
    frame: &[u8],
    out: &mut BytesMut,
) -> bool {
    match (name, database) {
        ("DBSIZE", 0) => keyspace::write_count(mark_key, out),
        ("FLUSHALL", _) | ("FLUSHDB", 0) => {
            let args: Vec<&[u8]> = Args::new(frame).skip(1).collect();
            let is_valid = match args[..] {
                [] => true,
                [how] => how.eq_ignore_ascii_case(b"ASYNC") || how.eq_ignore_ascii_case(b"SYNC"),
                _ => false,
            };
            if !is_valid {
                // The servers refuse it, in their words.
                return false;
            }
            let words: Vec<&[u8]> = [name.as_bytes()].into_iter().chain(args).collect();
            keyspace::write_flush(mark_key, &words, out);
        }
        _ => return false,
    }
    true
}

/// Returns true in a transaction of a pool whose only server executes it. With `placement_guard`, the pool may have more than
/// one by then, and the server a mark.
fn is_one_within_transaction(client: &Client, settings: &Settings) -> bool {
    client.in_multi() && settings.servers.len() == 1 && settings.mark_key.is_none()
}
