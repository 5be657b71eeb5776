//! Plans for what concerns all servers.

use bytes::BytesMut;

use crate::protocol::redis::command::{Command, MergeKind};
use crate::protocol::redis::error;
use crate::protocol::redis::merge::context::MergeSpec;
use crate::protocol::redis::merge::scan::rewrite as rewrite_cursor;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{Plan, Route, ScriptOp, Targets};

/// To every server.
pub(crate) fn all(
    command: &'static Command,
    kind: MergeKind,
    client: &Client,
    settings: &Settings,
) -> Plan<MergeSpec, ()> {
    let name = command.name;
    let is_flush = name == "SCRIPT|FLUSH";
    match (is_one_within_transaction(client, settings), is_flush) {
        (true, true) => Plan::ForwardScript(ScriptOp::Flush, ()),
        (true, false) => Plan::Forward(Route::Placeholder, ()),
        (false, true) => Plan::ScriptFlush(MergeSpec { name, kind }, ()),
        (false, false) => Plan::AllServers(MergeSpec { name, kind }, ()),
    }
}

/// To the server that the cursor names, in its own words.
pub(crate) fn scan(
    command: &'static Command,
    frame: &[u8],
    client: &Client,
    settings: &Settings,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ()> {
    if is_one_within_transaction(client, settings) {
        return Plan::Forward(Route::Placeholder, ());
    }
    let Some(server) = rewrite_cursor(frame, settings.servers.len(), out) else {
        error::write_error("invalid cursor", out);
        return Plan::Error;
    };
    let split = MergeSpec {
        name: command.name,
        kind: MergeKind::Cursor(server),
    };
    Plan::Rewrite(Targets::One(server), split, ())
}

/// Whether all servers of the pool are the one that a transaction goes to.
fn is_one_within_transaction(client: &Client, settings: &Settings) -> bool {
    client.in_multi() && settings.servers.len() == 1
}
