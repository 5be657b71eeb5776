//! Error replies: one line, `-ERR` and a text, into which no client can inject a line end.
//!
//! Where Redis or Twemproxy has a text for the case, it is theirs verbatim, for clients search in it.

use bytes::BytesMut;

use crate::hash::HashTag;
use crate::protocol::UpstreamError;
use crate::protocol::redis::acl::check::Denied;
use crate::protocol::redis::command::{Command, CommandError, Policy, Verb};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::write_error_line;
use crate::protocol::redis::resp::scan_error::ScanError;

/// The maximum number of bytes of an argument that an error quotes (as Redis).
const REPEATED_BYTES: usize = 128;

/// Writes `-ERR` and `text`; a line end within it becomes a space.
pub(crate) fn write_error(text: &str, out: &mut BytesMut) {
    write_error_line(&[b"ERR ", text.as_bytes()], out);
}

/// Writes the error for a request that the command table rejects.
pub(crate) fn write_command_error(error: &CommandError, args: Args<'_>, out: &mut BytesMut) {
    match error {
        CommandError::Unknown => write_unknown(args, out),
        CommandError::UnknownSubcommand(parent) => write_unknown_subcommand(parent, args, out),
        CommandError::Arity(command) => write_arity(command, out),
    }
}

/// Writes the error for an unknown command, with the beginning of its arguments.
pub(crate) fn write_unknown(mut args: Args<'_>, out: &mut BytesMut) {
    let name = repeated(args.next().unwrap_or_default(), REPEATED_BYTES);
    let mut begin = Vec::with_capacity(REPEATED_BYTES + 3);
    for arg in args {
        if begin.len() >= REPEATED_BYTES {
            break;
        }
        let arg = repeated(arg, REPEATED_BYTES - begin.len());
        begin.push(b'\'');
        begin.extend_from_slice(arg);
        begin.extend_from_slice(b"' ");
    }
    let parts: [&[u8]; 4] = [
        b"ERR unknown command '",
        name,
        b"', with args beginning with: ",
        &begin,
    ];
    write_error_line(&parts, out);
}

fn write_unknown_subcommand(parent: &Command, mut args: Args<'_>, out: &mut BytesMut) {
    let name = repeated(args.nth(1).unwrap_or_default(), REPEATED_BYTES);
    let parts: [&[u8]; 5] = [
        b"ERR unknown subcommand '",
        name,
        b"'. Try ",
        parent.name.as_bytes(),
        b" HELP.",
    ];
    write_error_line(&parts, out);
}

/// Writes the error for a wrong number of arguments.
pub(crate) fn write_arity(command: &Command, out: &mut BytesMut) {
    let name = command.name.to_ascii_lowercase();
    let text = format!("wrong number of arguments for '{name}' command");
    if command.policy == Policy::Transaction(Verb::Exec) {
        let parts: [&[u8]; 2] = [
            b"EXECABORT Transaction discarded because of: ",
            text.as_bytes(),
        ];
        write_error_line(&parts, out);
    } else {
        write_error(&text, out);
    }
}

/// Writes the error for an unsupported `command`, with the reason.
pub(crate) fn write_refused(command: &Command, out: &mut BytesMut) {
    let name = command.name.replace('|', " ");
    let reason = match command.policy {
        Policy::Refused(refusal) => refusal.reason(),
        _ => "it is not supported by the proxy",
    };
    write_error(&format!("unsupported command '{name}': {reason}"), out);
}

/// Writes the error for a `command` in `disabled_commands`.
pub(crate) fn write_disabled(command: &Command, out: &mut BytesMut) {
    let name = command.name.replace('|', " ");
    let reason = "it is listed in 'disabled_commands' of this pool";
    write_error(&format!("disabled command '{name}': {reason}"), out);
}

/// Writes the error for a `command` that cannot be queued in a transaction.
pub(crate) fn write_unqueueable(command: &Command, is_single: bool, out: &mut BytesMut) {
    let name = command.name.replace('|', " ");
    let why = match command.policy {
        Policy::WaitReplicas(_) => {
            "it asks all servers of the pool, and one of them executes the transaction; call it after EXEC"
        }
        Policy::Local(_) if !is_single => {
            "the proxy answers it, and one of several servers executes the transaction; call it after EXEC"
        }
        _ => "it takes effect at once in the proxy; call it before MULTI or after EXEC",
    };
    let text = format!("unsupported command '{name}' in a transaction: {why}");
    write_error(&text, out);
}

/// Writes the error for a `command` that is not allowed in subscriber mode.
pub(crate) fn write_in_subscriber_mode(command: &Command, out: &mut BytesMut) {
    let kind = match command.name {
        "EXEC" => "EXECABORT Transaction discarded because of:",
        _ => "ERR",
    };
    let name = command.name.to_ascii_lowercase();
    let text = format!(
        "{kind} Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context"
    );
    write_error_line(&[text.as_bytes()], out);
}

/// Writes the error for a monitoring client, in Redis's words.
pub(crate) fn write_monitor(out: &mut BytesMut) {
    write_error("Replica can't interact with the keyspace", out);
}

/// Writes the error for a script without keys.
pub(crate) fn write_keyless_script(command: &Command, out: &mut BytesMut) {
    let name = command.name.to_ascii_lowercase();
    write_error(
        &format!(
            "'{name}' without keys is not supported: it would access the keys of one server only; declare its keys, or \
             set keyless_scripts in the pool's configuration"
        ),
        out,
    );
}

/// Writes the error for a pattern of `SORT`, whose keys may be stored on other servers, with advice on how to keep them
/// together in a pool with this `hash_tag`.
pub(crate) fn write_pattern(command: &Command, hash_tag: Option<HashTag>, out: &mut BytesMut) {
    let name = command.name.to_ascii_lowercase();
    let advice = match hash_tag {
        Some(HashTag { open, close }) => {
            let (open, close) = (char::from(open), char::from(close));
            format!("put the hash tag of the key before any '*', as in '{open}tag{close}_*'")
        }
        None => "to keep keys together, set hash_tag in the pool's configuration and give them a common tag".to_owned(),
    };
    write_error(
        &format!(
            "unsupported option BY or GET of '{name}': its pattern may match keys on other servers; {advice}"
        ),
        out,
    );
}

/// Writes the error for a `command` before authentication.
pub(crate) fn write_unauthenticated(command: &Command, out: &mut BytesMut) {
    let aborted: &[u8] = match command.policy {
        Policy::Transaction(Verb::Exec) => b"EXECABORT Transaction discarded because of: ",
        _ => b"",
    };
    write_error_line(&[aborted, b"NOAUTH Authentication required."], out);
}

/// Writes that a user may not execute a request of `command`.
pub(crate) fn write_denied(denied: Denied<'_>, command: &Command, out: &mut BytesMut) {
    let aborted: &[u8] = match command.policy {
        Policy::Transaction(Verb::Exec) => b"EXECABORT Transaction discarded because of: ",
        _ => b"",
    };
    let start = b"NOPERM this user has no permissions to ";
    match denied {
        Denied::Command => {
            let name = command.name.to_ascii_lowercase();
            let parts: [&[u8]; 5] = [aborted, start, b"run the '", name.as_bytes(), b"' command"];
            write_error_line(&parts, out);
        }
        Denied::Key(_) => write_error_line(
            &[aborted, start, b"access one of the keys used as arguments"],
            out,
        ),
        Denied::Channel(_) => write_error_line(
            &[
                aborted,
                start,
                b"access one of the channels used as arguments",
            ],
            out,
        ),
        Denied::SortOption(option) => write_error(
            &format!("{option} option of SORT denied due to insufficient ACL permissions."),
            out,
        ),
    }
}

/// Writes that a transaction has a request that its user may not execute any more.
pub(crate) fn write_lost_right(denied: Denied<'_>, out: &mut BytesMut) {
    let reason = match denied {
        Denied::Command => "no permission to execute the command or subcommand",
        Denied::Key(_) | Denied::SortOption(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => {
            "no permission to access one of the channels used as arguments to the command"
        }
    };
    let text = "EXECABORT Transaction discarded because of: NOPERM ACLs rules changed between the moment the transaction \
                was accumulated and the EXEC call. This command is no longer allowed for the following reason: ";
    write_error_line(&[text.as_bytes(), reason.as_bytes()], out);
}

/// Writes the reason why the framing of a client is lost, with Redis's text where it has one.
pub(crate) fn write_scan_error(error: ScanError, out: &mut BytesMut) {
    let text: &[u8] = match error {
        ScanError::Multibulk => b"invalid multibulk length",
        ScanError::ExpectedDollar(got) => {
            let parts: [&[u8]; 3] = [b"ERR Protocol error: expected '$', got '", &[got], b"'"];
            return write_error_line(&parts, out);
        }
        ScanError::Bulk => b"invalid bulk length",
        ScanError::UnauthenticatedMultibulk => b"unauthenticated multibulk length",
        ScanError::UnauthenticatedBulk => b"unauthenticated bulk length",
        ScanError::Terminator => b"expected CRLF after bulk string",
        ScanError::TooLarge => b"too big request",
        ScanError::InlineTooLong => b"too big inline request",
        ScanError::Quotes => b"unbalanced quotes in request",
        ScanError::Http => b"HTTP request received on a Redis port",
    };
    write_error_line(&[b"ERR Protocol error: ", text], out);
}

/// Writes that a large request is refused, with the code of a server that is out of memory.
pub(crate) fn write_memory_limit(out: &mut BytesMut) {
    let text = b"OOM request too large now: the proxy's buffers have reached memory_limit; try again later";
    write_error_line(&[text], out);
}

/// Writes the error reply for `error`.
pub(crate) fn write_upstream_error(error: UpstreamError, out: &mut BytesMut) {
    match error {
        // As of a cluster that moves a slot: clients may retry.
        UpstreamError::Moving => {
            write_error_line(&[b"TRYAGAIN ", error.client_text().as_bytes()], out);
        }
        // As of a server itself: clients may retry.
        UpstreamError::NotReady => {
            write_error_line(&[b"LOADING ", error.client_text().as_bytes()], out);
        }
        _ => write_error(&error.client_text(), out),
    }
}

/// Writes the error for a request whose connection to a server was lost, or that has waited for one to its primary in vain.
pub(crate) fn write_lost(server: &str, error: UpstreamError, out: &mut BytesMut) {
    let text = match error {
        UpstreamError::NoPrimary => format!(
            "server '{server}' has no primary, and has had none for server_failover_timeout; nothing was done"
        ),
        error => format!("connection to server '{server}' lost: {error}"),
    };
    write_error(&text, out);
}

/// Writes the error for two keys of one request or transaction that are stored on different servers, with advice on how
/// to keep them together in a pool with this `hash_tag`.
///
/// It is not `CROSSSLOT`: that is for clients of a Redis Cluster, which expect slots that this pool does not have.
pub(crate) fn write_cross_server(keys: [&[u8]; 2], hash_tag: Option<HashTag>, out: &mut BytesMut) {
    let [first, second] = keys.map(|key| repeated(key, REPEATED_BYTES));
    let (advice, tag): (&[u8], _) = match hash_tag {
        Some(tag) => (b"give them a common hash tag, such as '", tag),
        None => (
            b"to keep keys together, set hash_tag in the pool's configuration and give them a common tag, such as '",
            BRACES,
        ),
    };
    let inner = match tag.apply(first) {
        b"" => &b"tag"[..],
        inner => inner,
    };
    let parts: [&[u8]; 9] = [
        b"ERR keys '",
        first,
        b"' and '",
        second,
        b"' are stored on different servers; ",
        advice,
        &[tag.open],
        inner,
        &[tag.close, b'\''],
    ];
    write_error_line(&parts, out);
}

/// The hash tag of most pools.
const BRACES: HashTag = HashTag {
    open: b'{',
    close: b'}',
};

/// The part of an argument that an error quotes: as Redis up to a zero byte, and no more than `most`.
fn repeated(word: &[u8], most: usize) -> &[u8] {
    let end = memchr::memchr(0, word).unwrap_or(word.len()).min(most);
    word.get(..end).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::command::Command;

    fn frame(args: &[&[u8]]) -> Vec<u8> {
        let mut frame = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            frame.extend_from_slice(arg);
            frame.extend_from_slice(b"\r\n");
        }
        frame
    }

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Expected texts were observed with redis-server 7.0.15.
    #[test]
    fn command_errors_match_redis() {
        let x30 = [b'x'; 30];
        let x200 = [b'x'; 200];
        let f200 = [b'f'; 200];
        let x = |n| "x".repeat(n);
        let unknown = |name: &str, args: &str| {
            format!("-ERR unknown command '{name}', with args beginning with: {args}\r\n")
        };
        let full = format!("'{0}' '{0}' '{0}' ", x(30));
        let cases: Vec<(Vec<&[u8]>, String)> = vec![
            (vec![b"FOO"], unknown("FOO", "")),
            (vec![b"foo", b"a", b"b c"], unknown("foo", "'a' 'b c' ")),
            (
                vec![b"fo'o\r\nb", &x30, &x30, &x30, &x30, &x30],
                unknown("fo'o  b", &format!("{full}'{}' ", x(29))),
            ),
            (vec![&f200, b"a"], unknown(&"f".repeat(128), "'a' ")),
            (
                vec![b"f", &x200, b"y"],
                unknown("f", &format!("'{}' ", x(128))),
            ),
            (vec![b"f\0oo", b"x\0\r\nz", b"y"], unknown("f", "'x' 'y' ")),
            (
                vec![b"object", b"FOO", b"k"],
                "-ERR unknown subcommand 'FOO'. Try OBJECT HELP.\r\n".into(),
            ),
            (
                vec![b"get"],
                "-ERR wrong number of arguments for 'get' command\r\n".into(),
            ),
            (
                vec![b"OBJECT", b"ENCODING"],
                "-ERR wrong number of arguments for 'object|encoding' command\r\n".into(),
            ),
        ];
        for (args, expected) in cases {
            let frame = frame(&args);
            let error = Command::resolve(&Args::new(&frame), args.len()).unwrap_err();
            assert_eq!(
                written(|out| write_command_error(&error, Args::new(&frame), out)),
                expected
            );
        }
    }

    #[test]
    fn refusal_names_the_command_and_the_reason() {
        let swapdb = Command::lookup(b"swapdb").unwrap();
        assert_eq!(
            written(|out| write_refused(swapdb, out)),
            "-ERR unsupported command 'SWAPDB': it cannot be applied to all servers atomically\r\n"
        );
        let pause = Command::named("client pause").unwrap();
        assert_eq!(
            written(|out| write_refused(pause, out)),
            "-ERR unsupported command 'CLIENT PAUSE': pausing clients is not supported\r\n"
        );
    }

    #[test]
    fn refused_sort_pattern_names_the_hash_tag() {
        let sort = Command::lookup(b"sort").unwrap();
        let begin = "-ERR unsupported option BY or GET of 'sort': its pattern may match keys on other servers; ";
        assert_eq!(
            written(|out| write_pattern(sort, Some(BRACES), out)),
            format!("{begin}put the hash tag of the key before any '*', as in '{{tag}}_*'\r\n")
        );
        assert_eq!(
            written(|out| write_pattern(sort, None, out)),
            format!(
                "{begin}to keep keys together, set hash_tag in the pool's configuration and give them a common tag\r\n"
            )
        );
    }

    #[test]
    fn cross_server_error_names_keys_and_a_hash_tag() {
        let dollars = HashTag {
            open: b'$',
            close: b'$',
        };
        let with_tag = "give them a common hash tag, such as ";
        let without = "to keep keys together, set hash_tag in the pool's configuration and give them a common tag, \
                       such as ";
        for (keys, hash_tag, advice) in [
            (["a", "b"], Some(BRACES), format!("{with_tag}'{{a}}'")),
            (["{1}a", "b"], Some(BRACES), format!("{with_tag}'{{1}}'")),
            (["", "b"], Some(BRACES), format!("{with_tag}'{{tag}}'")),
            (["a", "b"], Some(dollars), format!("{with_tag}'$a$'")),
            (["a", "b"], None, format!("{without}'{{a}}'")),
        ] {
            let [first, second] = keys;
            assert_eq!(
                written(|out| write_cross_server(keys.map(str::as_bytes), hash_tag, out)),
                format!(
                    "-ERR keys '{first}' and '{second}' are stored on different servers; {advice}\r\n"
                )
            );
        }
    }

    #[test]
    fn framing_errors_match_redis() {
        for (error, text) in [
            (ScanError::Multibulk, "invalid multibulk length"),
            (ScanError::ExpectedDollar(b'x'), "expected '$', got 'x'"),
            (ScanError::ExpectedDollar(b'\n'), "expected '$', got ' '"),
            (ScanError::Bulk, "invalid bulk length"),
            (ScanError::InlineTooLong, "too big inline request"),
            (ScanError::Quotes, "unbalanced quotes in request"),
        ] {
            let expected = format!("-ERR Protocol error: {text}\r\n");
            assert_eq!(written(|out| write_scan_error(error, out)), expected);
        }
    }

    #[test]
    fn upstream_error_is_an_error_reply() {
        let text = written(|out| write_upstream_error(UpstreamError::TimedOut, out));
        assert_eq!(text, "-ERR Connection timed out\r\n");
    }
}
