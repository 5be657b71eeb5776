//! The error lines of servers that the proxy acts on: the only place that recognizes them.
//!
//! Scripts return error lines of their own choice, so a code alone proves nothing where the proxy acts on it: the whole
//! line counts, as `createSharedObjects` in `src/server.c` of Redis and Valkey writes it (checked with Redis 7.0 and
//! Valkey 8). Servers differ in their name only. `-BUSY` with a text that a module has chosen is no known line.

use crate::protocol::ErrorCode;

/// The author of the errors in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorAuthor {
    /// The server: an error line tells its state.
    #[default]
    Server,
    /// Possibly a script, which returns any line: the reply to EVAL, EVALSHA, FCALL or EXEC.
    Script,
}

/// The error of a server that does not know a script: nothing was executed.
pub(crate) const UNKNOWN_SCRIPT: &[u8] = b"-NOSCRIPT No matching script. Please use EVAL.\r\n";

/// The errors of a server that is no primary, or not yet of use: nothing was executed. So is that of one which loads its data.
const REFUSALS: [&[u8]; 3] = [
    b"-READONLY You can't write against a read only replica.\r\n",
    // To a client that was blocked when its server became a replica.
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
];

/// The names by which servers refer to themselves.
const SERVERS: [&[u8]; 4] = [b"Redis", b"Valkey", b"KeyDB", b"Dragonfly"];

/// Codes followed by any text. The proxy believes them where no script can have written them.
const CODES: [(&[u8], ErrorCode); 5] = [
    (b"EXECABORT", ErrorCode::ExecAbort),
    (b"UNBLOCKED", ErrorCode::Unblocked),
    (b"READONLY", ErrorCode::ReadOnly),
    (b"MOVED", ErrorCode::Moved),
    (b"ASK", ErrorCode::Ask),
];

/// Whole lines, or all of them but the name of the server.
const LINES: [(&[u8], &[u8], ErrorCode); 8] = [
    (
        b"NOSCRIPT No matching script. Please use EVAL.",
        b"",
        ErrorCode::NoScript,
    ),
    (
        b"OOM command not allowed when used memory > 'maxmemory'.",
        b"",
        ErrorCode::OutOfMemory,
    ),
    (
        b"LOADING ",
        b" is loading the dataset in memory",
        ErrorCode::Loading,
    ),
    (
        b"BUSY ",
        b" is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        ErrorCode::Busy,
    ),
    (
        b"BUSY ",
        b" is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
        ErrorCode::Busy,
    ),
    (
        b"BUSY ",
        b" is busy running a module command.",
        ErrorCode::Busy,
    ),
    (
        b"ERR max number of clients reached",
        b"",
        ErrorCode::MaxClients,
    ),
    (
        b"ERR max number of clients + cluster connections reached",
        b"",
        ErrorCode::MaxClients,
    ),
];

/// The code of an error reply, or of the start of one that includes its first line.
#[cold]
pub(crate) fn error_code(reply: &[u8]) -> ErrorCode {
    let text = reply.get(1..).unwrap_or_default();
    let text = text.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_line = |before: &[u8], after: &[u8]| {
        let rest = text.strip_prefix(before);
        rest.and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|name| match after {
                [] => name.is_empty(),
                _ => SERVERS.contains(&name),
            })
    };
    if let Some((_, code)) = CODES.iter().find(|(code, _)| *code == word) {
        return *code;
    }
    let known = LINES
        .iter()
        .find(|(before, after, _)| is_line(before, after));
    known.map_or(ErrorCode::Other, |(.., code)| *code)
}

/// Bytes in which Redis searches the end of a code.
const CODE_BYTES: usize = 32;

/// The code under which Redis counts an error reply: its first word, or `ERR` if that is none. `None` for another reply.
#[inline]
pub(crate) fn counted_code(reply: &[u8]) -> Option<&[u8]> {
    match reply.first() {
        Some(b'-') => Some(code_of_line(reply)),
        Some(b'!') => {
            let line = memchr::memchr(b'\n', reply).and_then(|end| reply.get(end..));
            Some(code_of_line(line.unwrap_or_default()))
        }
        _ => None,
    }
}

/// The first word of a line, after the byte that precedes it.
#[cold]
fn code_of_line(line: &[u8]) -> &[u8] {
    let start = line.get(..line.len().min(CODE_BYTES)).unwrap_or_default();
    let end = memchr::memchr(b' ', start);
    end.and_then(|end| line.get(1..end)).unwrap_or(b"ERR")
}

/// Returns true for the error of a script that has tried to write on a replica: what it did before was no write. A script that
/// forges it disturbs the order of refused requests only.
pub(crate) fn is_script_refused(reply: &[u8]) -> bool {
    reply.starts_with(b"-READONLY You can't write against a read only replica. script: ")
}

/// Returns true for the reply of a server that has executed nothing, since it is no primary, or loads its data.
pub(crate) fn is_refusal(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-')
        && (REFUSALS.contains(&reply) || error_code(reply) == ErrorCode::Loading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_first_word_as_in_redis() {
        for (reply, code) in [
            (
                &b"-WRONGTYPE Operation against a key\r\n"[..],
                Some(&b"WRONGTYPE"[..]),
            ),
            (b"!21\r\nSYNTAX invalid syntax\r\n", Some(b"SYNTAX")),
            (b"-NOSPACE\r\n", Some(b"ERR")),
            (
                b"-TheFirstWordOfThisErrorIsLongerThanThat x\r\n",
                Some(b"ERR"),
            ),
            (b"+OK\r\n", None),
            (b"", None),
        ] {
            assert_eq!(counted_code(reply), code, "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn only_whole_lines_of_servers_tell_their_state() {
        use ErrorCode::{Busy, Loading, MaxClients, NoScript, OutOfMemory};
        for (line, expected) in [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                OutOfMemory,
            ),
            ("LOADING Redis is loading the dataset in memory", Loading),
            ("LOADING Valkey is loading the dataset in memory", Loading),
            (
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                Busy,
            ),
            (
                "BUSY Valkey is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
                Busy,
            ),
            ("BUSY Redis is busy running a module command.", Busy),
            ("ERR max number of clients reached", MaxClients),
            ("NOSCRIPT No matching script. Please use EVAL.", NoScript),
        ] {
            assert_eq!(
                error_code(format!("-{line}\r\n").as_bytes()),
                expected,
                "{line}"
            );
            for forged in [
                format!("-{line} \r\n"),
                format!("- {line}\r\n"),
                format!("-{line}x\r\n"),
            ] {
                assert_eq!(error_code(forged.as_bytes()), ErrorCode::Other, "{forged}");
            }
        }
        for forged in [
            "",
            "-",
            "-OOM\r\n",
            "-BUSY the lock is taken\r\n",
            "-LOADING x is loading the dataset in memory\r\n",
            "-LOADING  is loading the dataset in memory\r\n",
            "-NOSCRIPT\r\n",
            "-BUSYKEY Target key name already exists.\r\n",
        ] {
            assert_eq!(error_code(forged.as_bytes()), ErrorCode::Other, "{forged}");
        }
    }

    #[test]
    fn codes_with_varying_text_are_whole_words() {
        for (line, expected) in [
            (
                "-EXECABORT Transaction discarded because of previous errors.\r\n",
                ErrorCode::ExecAbort,
            ),
            ("-EXECABORT\r\n", ErrorCode::ExecAbort),
            ("-EXECABORTED x\r\n", ErrorCode::Other),
            ("-MOVED 3999 127.0.0.1:6381\r\n", ErrorCode::Moved),
            ("-ASK 3999 127.0.0.1:6381\r\n", ErrorCode::Ask),
            ("-ASKING\r\n", ErrorCode::Other),
            (
                "-READONLY You can't write against a read only replica.\r\n",
                ErrorCode::ReadOnly,
            ),
        ] {
            assert_eq!(error_code(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn unknown_script_is_one_of_the_lines() {
        assert_eq!(error_code(UNKNOWN_SCRIPT), ErrorCode::NoScript);
    }
}
