//! `MULTI`, `EXEC`, `DISCARD`: the proxy's commands to servers and replies to clients, and the replies to `EXEC`.

use bytes::{BufMut, BytesMut};

use crate::protocol::redis::error;
use crate::protocol::redis::resp::encode::{
    write_error_line, write_header, write_request, write_simple,
};
use crate::protocol::{Phrase, TryResult};

/// The error code of an aborted transaction.
const ABORT: &[u8] = b"-EXECABORT";

/// The prefix of such an error if there is a cause.
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
    reply
        .strip_prefix(ABORT)
        .is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\r')))
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

pub(crate) fn write_phrase(phrase: Phrase, out: &mut BytesMut) {
    match phrase {
        Phrase::Multi => write_request(&[b"MULTI"], out),
        Phrase::Exec => write_request(&[b"EXEC"], out),
        Phrase::Discard => write_request(&[b"DISCARD"], out),
        Phrase::Unwatch => write_request(&[b"UNWATCH"], out),
        Phrase::ClientId => write_request(&[b"CLIENT", b"ID"], out),
        // Replicated, not counted as a write, and received by no client: patterns do not match shard channels.
        Phrase::OffsetMarker => write_request(&[b"SPUBLISH", b"ringroad:wait", b""], out),
        // Swaps a database with itself.
        Phrase::DurableOffsetMarker => write_request(&[b"SWAPDB", b"0", b"0"], out),
        Phrase::Queued => write_simple("QUEUED", out),
        Phrase::Empty => write_header(b'*', 0, out),
        Phrase::Aborted => {
            write_abort("of previous errors", out);
        }
        Phrase::TooLarge(bytes, requests) => error::write_error(
            &format!(
                "transaction too large: at most {bytes} bytes and {requests} commands are allowed"
            ),
            out,
        ),
        Phrase::Elsewhere => error::write_error(
            "this command runs on several servers and cannot be used inside MULTI",
            out,
        ),
        Phrase::WatchLost => write_abort("the connection that watched its keys was lost", out),
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
        Phrase::Moved => write_abort("the set of live servers changed", out),
    }
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
