//! Plans for `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`, and for commands that cannot be queued.
//!
//! The proxy queues, and the server gets a transaction only when it is complete. So queued commands must mean the same
//! on a server without state of this client, and must leave no state on a shared connection.

use bytes::BytesMut;

use crate::protocol::redis::command::{Command, Local, Policy, Verb};
use crate::protocol::redis::error;
use crate::protocol::redis::local;
use crate::protocol::redis::merge::context::MergeSpec;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::write_simple;
use crate::protocol::redis::resp::error_line::ErrorAuthor;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{Deferral, Plan, Route, TxOp};
use crate::stats::RefusalReason;

/// Plans a transaction command.
pub(crate) fn plan(
    verb: Verb,
    client: &Client,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    match (verb, client.in_multi()) {
        (Verb::Multi, false) => {
            write_simple("OK", out);
            Plan::Transaction(TxOp::Multi)
        }
        (Verb::Exec, true) => Plan::Transaction(TxOp::Exec(ErrorAuthor::Script)),
        (Verb::Discard, true) | (Verb::Unwatch, false) => {
            write_simple("OK", out);
            Plan::Transaction(TxOp::Discard)
        }
        // The server has no watched keys of this client when the transaction is executed.
        (Verb::Unwatch, true) => Plan::Forward(Route::Placeholder, ErrorAuthor::Server),
        // These errors leave a transaction unchanged, as in Redis.
        (Verb::Multi, true) => reject("MULTI calls can not be nested", out),
        (Verb::Watch, true) => reject("WATCH inside MULTI is not allowed", out),
        (Verb::Watch, false) => Plan::Transaction(TxOp::Watch(ErrorAuthor::Server)),
        (Verb::Exec, false) => reject("EXEC without MULTI", out),
        (Verb::Discard, false) => reject("DISCARD without MULTI", out),
    }
}

fn reject(text: &str, out: &mut BytesMut) -> Plan<MergeSpec, ErrorAuthor> {
    error::write_error(text, out);
    Plan::Reply
}

/// Plans a command that is planned differently within a transaction. With one server, all can be queued that a single
/// Redis queues, except those whose effect cannot wait for EXEC.
pub(crate) fn plan_queued(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    out: &mut BytesMut,
) -> Option<Plan<MergeSpec, ErrorAuthor>> {
    let is_single = settings.servers.len() == 1;
    match command.policy {
        Policy::Forward
        | Policy::Block
        | Policy::Keyless
        | Policy::AllServers(_)
        | Policy::Scan
        | Policy::Split(_)
        | Policy::Publish(_)
        | Policy::Transaction(_)
        | Policy::Refused(_)
        | Policy::Local(Local::Quit | Local::Reset) => return None,
        Policy::Local(Local::Ping | Local::Echo) => {
            return Some(Plan::Forward(Route::Placeholder, ErrorAuthor::Server));
        }
        // Within a transaction it does not wait.
        Policy::WaitReplicas(_) if is_single => {
            return Some(Plan::Forward(Route::Placeholder, ErrorAuthor::Server));
        }
        Policy::Local(
            Local::Hello
            | Local::Monitor
            | Local::ClientReply
            | Local::ClientKill
            | Local::ClientUnblock,
        ) => {}
        Policy::Local(which) if is_single => {
            return Some(Plan::Deferred(deferral(which, Args::new(frame), settings)));
        }
        Policy::Local(_)
        | Policy::Subscribe(_)
        | Policy::Unsubscribe(_)
        | Policy::WaitReplicas(_) => {}
    }
    error::write_unqueueable(command, is_single, out);
    Some(Plan::Error(RefusalReason::Transaction))
}

/// The part of the server in a request that the proxy answers.
fn deferral(which: Local, args: Args<'_>, settings: &Settings) -> Deferral {
    let is_sent = match which {
        Local::Select if local::database(args.clone(), settings).is_ok() => {
            return Deferral::Stateful;
        }
        Local::Info => local::info::wants_keyspace(args),
        Local::ConfigGet => local::parameters::reach_servers(args, settings),
        Local::ConfigSet => local::parameters::are_set(args, settings),
        _ => false,
    };
    if is_sent {
        Deferral::Sent
    } else {
        Deferral::Local
    }
}
