//! Plans for requests that concern all servers.

use bytes::BytesMut;

use crate::protocol::redis::command::{Command, MergeKind};
use crate::protocol::redis::error;
use crate::protocol::redis::merge::context::MergeSpec;
use crate::protocol::redis::merge::scan::{CursorError, rewrite as rewrite_cursor};
use crate::protocol::redis::resp::error_line::ErrorAuthor;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{Plan, Route, ScriptOp, Targets};

/// Plans a request to all servers.
pub(crate) fn all(
    command: &'static Command,
    kind: MergeKind,
    client: &Client,
    settings: &Settings,
) -> Plan<MergeSpec, ErrorAuthor> {
    let name = command.name;
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
            return Plan::Error;
        }
    };
    let split = MergeSpec {
        name: command.name,
        kind: MergeKind::Cursor(server),
    };
    Plan::Rewrite(Targets::One(server), split, ErrorAuthor::Server)
}

/// Returns true in a transaction of a pool whose only server executes it.
fn is_one_within_transaction(client: &Client, settings: &Settings) -> bool {
    client.in_multi() && settings.servers.len() == 1
}
