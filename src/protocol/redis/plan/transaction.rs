//! Plans for `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`, and for what cannot be queued.
//!
//! The proxy queues, and the server sees a transaction only when it is whole. So what is queued must mean the same at a
//! server that knows nothing of this client, and must leave no trace on a connection that others share.

use bytes::BytesMut;

use crate::protocol::redis::command::{Command, Local, Policy, Verb};
use crate::protocol::redis::error;
use crate::protocol::redis::merge::context::MergeSpec;
use crate::protocol::redis::resp::encode::write_simple;
use crate::protocol::redis::state::client::Client;
use crate::protocol::{Plan, Route, TxOp};

/// The plan for a command of transactions.
pub(crate) fn plan(verb: Verb, client: &Client, out: &mut BytesMut) -> Plan<MergeSpec, ()> {
    match (verb, client.in_multi()) {
        (Verb::Multi, false) => {
            write_simple("OK", out);
            Plan::Transaction(TxOp::Multi)
        }
        (Verb::Exec, true) => Plan::Transaction(TxOp::Exec(())),
        (Verb::Discard, true) | (Verb::Unwatch, false) => {
            write_simple("OK", out);
            Plan::Transaction(TxOp::Discard)
        }
        // A server has nothing to forget of this client when the transaction is carried out.
        (Verb::Unwatch, true) => Plan::Forward(Route::Placeholder, ()),
        // These are errors that leave a transaction as it is, as in Redis.
        (Verb::Multi, true) => complain("MULTI calls can not be nested", out),
        (Verb::Watch, true) => complain("WATCH inside MULTI is not allowed", out),
        (Verb::Watch, false) => Plan::Transaction(TxOp::Watch(())),
        (Verb::Exec, false) => complain("EXEC without MULTI", out),
        (Verb::Discard, false) => complain("DISCARD without MULTI", out),
    }
}

fn complain(text: &str, out: &mut BytesMut) -> Plan<MergeSpec, ()> {
    error::write_error(text, out);
    Plan::Reply
}

/// The plan for a command that is not planned within a transaction as it is without one.
pub(crate) fn plan_queued(
    command: &'static Command,
    out: &mut BytesMut,
) -> Option<Plan<MergeSpec, ()>> {
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
        | Policy::Local(Local::Quit | Local::Reset) => None,
        Policy::Local(Local::Ping | Local::Echo) => Some(Plan::Forward(Route::Placeholder, ())),
        Policy::Local(_)
        | Policy::Subscribe(_)
        | Policy::Unsubscribe(_)
        | Policy::WaitReplicas(_) => {
            error::write_unqueueable(command, out);
            Some(Plan::Error)
        }
    }
}
