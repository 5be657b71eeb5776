//! `MULTI`, `EXEC`, `DISCARD`, `UNWATCH`: what the proxy answers itself, and which requests can be queued.
//!
//! The proxy queues, and the server sees a transaction only when it is whole. So what is queued must mean the same at a
//! server that knows nothing of this client, and must leave no trace on a connection that others share.

use bytes::{BufMut, BytesMut};

use crate::protocol::redis::command::{Command, Local, Policy, Verb};
use crate::protocol::redis::{Client, Redis, error};
use crate::protocol::{Phrase, Plan, Route, TryResult, TxOp};

/// The code of an error that ends a transaction.
const ABORT: &[u8] = b"-EXECABORT";

/// How the words of such an error begin where there is a cause.
const BECAUSE: &[u8] = b"-EXECABORT Transaction discarded because of: ";

/// The plan for a command of transactions.
pub(crate) fn plan(verb: Verb, client: &Client, out: &mut BytesMut) -> Plan<Redis> {
    match (verb, client.in_multi()) {
        (Verb::Multi, false) => {
            out.put_slice(b"+OK\r\n");
            Plan::Transaction(TxOp::Multi)
        }
        (Verb::Exec, true) => Plan::Transaction(TxOp::Exec(())),
        (Verb::Discard, true) | (Verb::Unwatch, false) => {
            out.put_slice(b"+OK\r\n");
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

fn complain(text: &str, out: &mut BytesMut) -> Plan<Redis> {
    error::write_error(text, out);
    Plan::Reply
}

/// The plan for a command that is not planned within a transaction as it is without one.
pub(crate) fn plan_queued(command: &'static Command, out: &mut BytesMut) -> Option<Plan<Redis>> {
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

/// What `EXEC` says of the one command of its transaction. Within one, a command that waits has a null reply where it would
/// have waited, and only there: the reply that says so elsewhere says that the time is over.
pub(crate) fn tried(reply: &[u8]) -> TryResult<'_> {
    match reply.strip_prefix(b"*1\r\n") {
        Some(b"*-1\r\n" | b"$-1\r\n" | b"_\r\n") => TryResult::WouldBlock,
        Some(served) => TryResult::Ready(served),
        None if is_abort(reply) => TryResult::Rejected,
        None => TryResult::Desynced,
    }
}

/// Whether `EXEC` says so with the code that Redis has for it: then its transaction is over, whatever it was refused for.
pub(crate) fn is_abort(reply: &[u8]) -> bool {
    reply
        .strip_prefix(ABORT)
        .is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\r')))
}

/// As Redis says it where `EXEC` finds what was in order when the requests were queued.
pub(crate) fn explain(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool {
    let is_abort = is_abort(reply);
    if is_abort {
        // Where `EXEC` itself was refused, they are the same words.
        let cause = cause.strip_prefix(BECAUSE).unwrap_or(cause);
        let cause = cause.strip_prefix(b"-").unwrap_or(cause);
        let cause = cause.strip_prefix(b"ERR ").unwrap_or(cause);
        out.put_slice(BECAUSE);
        out.put_slice(cause.trim_ascii_end());
        out.put_slice(b"\r\n");
    }
    is_abort
}

pub(crate) fn write_phrase(phrase: Phrase, out: &mut BytesMut) {
    match phrase {
        Phrase::Multi => out.put_slice(b"*1\r\n$5\r\nMULTI\r\n"),
        Phrase::Exec => out.put_slice(b"*1\r\n$4\r\nEXEC\r\n"),
        Phrase::Discard => out.put_slice(b"*1\r\n$7\r\nDISCARD\r\n"),
        Phrase::Unwatch => out.put_slice(b"*1\r\n$7\r\nUNWATCH\r\n"),
        Phrase::ClientId => out.put_slice(b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n"),
        // Replicated, counted as no change, and heard by nobody: patterns do not match sharded channels.
        Phrase::OffsetMarker => out.put_slice(b"*3\r\n$8\r\nSPUBLISH\r\n$13\r\nringroad:wait\r\n$0\r\n\r\n"),
        // A database in the place of itself.
        Phrase::DurableOffsetMarker => out.put_slice(b"*3\r\n$6\r\nSWAPDB\r\n$1\r\n0\r\n$1\r\n0\r\n"),
        Phrase::Queued => out.put_slice(b"+QUEUED\r\n"),
        Phrase::Empty => out.put_slice(b"*0\r\n"),
        Phrase::Aborted => {
            out.put_slice(b"-EXECABORT Transaction discarded because of previous errors.\r\n");
        }
        Phrase::TooLarge(bytes, requests) => error::write_error(
            &format!("transaction too large: at most {bytes} bytes and {requests} commands are allowed"),
            out,
        ),
        Phrase::Elsewhere => error::write_error(
            "this command runs on several servers and cannot be used inside MULTI",
            out,
        ),
        Phrase::WatchLost => out.put_slice(
            b"-EXECABORT Transaction discarded because the connection that watched its keys was lost.\r\n",
        ),
        Phrase::WatchedElsewhere => error::write_error(
            "keys are watched in another database or protocol version; UNWATCH first",
            out,
        ),
        Phrase::Exhausted(most) => error::write_error(
            &format!(
                "too many blocked or watching clients on this server (server_leases = {most})"
            ),
            out,
        ),
        Phrase::NoRoom(most) => error::write_error(
            &format!(
                "no dedicated connection available: the file descriptor limit allows {most} clients and dedicated connections; raise LimitNOFILE"
            ),
            out,
        ),
        Phrase::Moved => out.put_slice(
            b"-EXECABORT Transaction discarded because the set of live servers changed.\r\n",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_served_or_would_have_waited() {
        for (reply, expected) in [
            (
                "*1\r\n*2\r\n$1\r\nk\r\n$1\r\na\r\n",
                TryResult::Ready(b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"),
            ),
            (
                "*1\r\n-WRONGTYPE x\r\n",
                TryResult::Ready(b"-WRONGTYPE x\r\n"),
            ),
            ("*1\r\n*-1\r\n", TryResult::WouldBlock),
            ("*1\r\n$-1\r\n", TryResult::WouldBlock),
            ("*1\r\n_\r\n", TryResult::WouldBlock),
            (
                "-EXECABORT Transaction discarded because of previous errors.\r\n",
                TryResult::Rejected,
            ),
            (
                "-ERR unknown command 'EXEC', with args beginning with: \r\n",
                TryResult::Desynced,
            ),
        ] {
            assert_eq!(tried(reply.as_bytes()), expected, "{reply}");
        }
    }
}
