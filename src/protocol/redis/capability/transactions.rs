//! `MULTI`, `EXEC`, `DISCARD`: the proxy's commands to servers and replies to clients, and the replies to `EXEC`.

use bytes::{BufMut, BytesMut};

use crate::protocol::redis::error;
use crate::protocol::redis::resp::encode::{
    write_error_line, write_header, write_request, write_simple,
};
use crate::protocol::redis::resp::inspect;
use crate::protocol::{ErrorCode, ProxyReply, ReplyClass, ServerCommand, TryResult};

/// The prefix of the error of an aborted transaction if there is a cause.
const BECAUSE: &[u8] = b"-EXECABORT Transaction discarded because of: ";

/// Evaluates the reply to `EXEC` of a transaction with a single command. Within one, a blocking command has a null
/// reply if it would have blocked, and only then: outside, that reply means a timeout.
pub(crate) fn tried(reply: &[u8]) -> TryResult<'_> {
    match reply.strip_prefix(b"*1\r\n") {
        Some(b"*-1\r\n" | b"$-1\r\n" | b"_\r\n") => TryResult::WouldBlock,
        Some(served) => TryResult::Ready(served),
        None if is_abort(reply) => TryResult::Rejected,
        None => TryResult::Desynced,
    }
}

/// Returns true if `EXEC` failed with Redis's code for it: then its transaction is over, whatever the cause.
pub(crate) fn is_abort(reply: &[u8]) -> bool {
    inspect::classify(reply) == ReplyClass::Error(ErrorCode::ExecAbort)
}

/// Uses Redis's error for commands that were valid when queued, and that `EXEC` rejects.
pub(crate) fn explain(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool {
    let is_abort = is_abort(reply);
    if is_abort {
        // If `EXEC` itself was rejected, the cause has the prefix already.
        let cause = cause.strip_prefix(BECAUSE).unwrap_or(cause);
        let cause = cause.strip_prefix(b"-").unwrap_or(cause);
        let cause = cause.strip_prefix(b"ERR ").unwrap_or(cause);
        out.put_slice(BECAUSE);
        out.put_slice(cause.trim_ascii_end());
        out.put_slice(b"\r\n");
    }
    is_abort
}

/// Writes the error for which `EXEC` itself was rejected.
pub(crate) fn write_cause(reply: &[u8], out: &mut BytesMut) -> bool {
    let cause = reply.strip_prefix(BECAUSE);
    if let Some(cause) = cause {
        out.put_slice(b"-");
        out.put_slice(cause);
    }
    cause.is_some()
}

pub(crate) fn write_server_command(command: ServerCommand, out: &mut BytesMut) {
    let words: &[&[u8]] = match command {
        ServerCommand::Multi => &[b"MULTI"],
        ServerCommand::Exec => &[b"EXEC"],
        ServerCommand::Discard => &[b"DISCARD"],
        ServerCommand::Unwatch => &[b"UNWATCH"],
        ServerCommand::ClientId => &[b"CLIENT", b"ID"],
        ServerCommand::Ping => &[b"PING"],
        ServerCommand::Role => &[b"ROLE"],
        // Replicated, not counted as a write, and received by no client: patterns do not match shard channels.
        ServerCommand::OffsetMarker => &[b"SPUBLISH", b"ringroad:wait", b""],
        // Swaps a database with itself.
        ServerCommand::DurableOffsetMarker => &[b"SWAPDB", b"0", b"0"],
    };
    write_request(words, out);
}

pub(crate) fn write_proxy_reply(reply: ProxyReply, out: &mut BytesMut) {
    let text = match reply {
        ProxyReply::Queued => return write_simple("QUEUED", out),
        ProxyReply::Empty => return write_header(b'*', 0, out),
        ProxyReply::Aborted => return write_abort("of previous errors", out),
        ProxyReply::WatchLost => {
            return write_abort("the connection that watched its keys was lost", out);
        }
        ProxyReply::Moved => {
            return write_abort("the servers that store its keys have changed", out);
        }
        ProxyReply::ShuttingDown => return write_unblocked("the proxy is shutting down", out),
        ProxyReply::KeysMoved => {
            return write_unblocked("another server stores the keys by now", out);
        }
        ProxyReply::Unblocked => {
            return write_unblocked("client unblocked via CLIENT UNBLOCK", out);
        }
        ProxyReply::TooLarge(bytes, requests) => &format!(
            "transaction too large: at most {bytes} bytes and {requests} commands are allowed"
        ),
        ProxyReply::Elsewhere => {
            "this command runs on several servers and cannot be used inside MULTI"
        }
        ProxyReply::WatchedElsewhere => {
            "keys are watched in another database or protocol version; UNWATCH first"
        }
        ProxyReply::Exhausted(most) => {
            &format!("too many blocked or watching clients on this server (server_leases = {most})")
        }
        ProxyReply::NoRoom(most) => &format!(
            "no dedicated connection available: the file descriptor limit allows {most} clients and dedicated connections; raise LimitNOFILE"
        ),
    };
    error::write_error(text, out);
}

fn write_unblocked(reason: &str, out: &mut BytesMut) {
    write_error_line(&[b"UNBLOCKED ", reason.as_bytes()], out);
}

fn write_abort(reason: &str, out: &mut BytesMut) {
    let begin = b"EXECABORT Transaction discarded because ";
    write_error_line(&[begin, reason.as_bytes(), b"."], out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn try_result_is_ready_or_would_block() {
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
