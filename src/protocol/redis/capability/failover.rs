//! What tells whether a server is a primary, and that it has done nothing with a request because it is none.

use crate::protocol::redis::command::{Command, flags};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::error_line::{
    ErrorAuthor, error_code, is_refusal, is_script_refused,
};
use crate::protocol::redis::resp::inspect;
use crate::protocol::{Effect, ErrorCode};

/// See [`crate::protocol::Connections::is_primary`].
pub(crate) fn is_primary(reply: &[u8]) -> bool {
    let role = inspect::elements(reply).and_then(|mut elements| elements.next());
    role.and_then(inspect::bulk) == Some(b"master")
}

/// See [`crate::protocol::Connections::effect`]. Scripts write any line, and those that only read change nothing whatever it is.
pub(crate) fn effect(request: &[u8], author: ErrorAuthor, reply: &[u8]) -> Effect {
    let name = Args::new(request).next().unwrap_or_default();
    let is = |names: &[&[u8]]| names.iter().any(|other| name.eq_ignore_ascii_case(other));
    match error_code(reply) {
        ErrorCode::ExecAbort if is(&[b"EXEC"]) => return Effect::Other,
        // No server says that of a function, or of a script that it was given.
        ErrorCode::NoScript if is(&[b"EVALSHA", b"EVALSHA_RO"]) => return Effect::Read,
        _ => {}
    }
    if is_script_refused(reply) {
        return Effect::Other;
    }
    if author == ErrorAuthor::Server && is_refusal(reply) {
        return Effect::Refused;
    }
    match Command::lookup(name) {
        Some(command) if only_reads(command) => Effect::Read,
        Some(command) if author == ErrorAuthor::Server && command.flags & flags::WRITE == 0 => {
            Effect::Other
        }
        _ => Effect::Changed,
    }
}

/// See [`crate::protocol::Connections::only_reads`].
pub(crate) fn only_reads(command: &Command) -> bool {
    command.flags & (flags::READ | flags::WRITE) == flags::READ
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::resp::error_line::UNKNOWN_SCRIPT;

    const READONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";

    #[test]
    fn role_of_a_primary_is_recognized() {
        for (reply, expected) in [
            (&b"*3\r\n$6\r\nmaster\r\n:531\r\n*0\r\n"[..], true),
            (
                b"*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$4\r\nsync\r\n:-1\r\n",
                false,
            ),
            (b"-ERR unknown command\r\n", false),
            (b"*0\r\n", false),
        ] {
            assert_eq!(is_primary(reply), expected);
        }
    }

    #[test]
    fn refusal_is_a_line_of_the_server_itself() {
        let set = b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n";
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let ping = b"*1\r\n$4\r\nPING\r\n";
        let exec = b"*1\r\n$4\r\nEXEC\r\n";
        let evalsha = b"*3\r\n$7\r\nevalsha\r\n$1\r\nx\r\n$1\r\n0\r\n";
        let eval = b"*3\r\n$4\r\nEVAL\r\n$1\r\nx\r\n$1\r\n0\r\n";
        let eval_ro = b"*3\r\n$7\r\nEVAL_RO\r\n$1\r\nx\r\n$1\r\n0\r\n";
        let abort = b"-EXECABORT Transaction discarded\r\n";
        let server = ErrorAuthor::Server;
        let of_script = b"-READONLY You can't write against a read only replica. script: x\r\n";
        for (request, author, reply, expected) in [
            (&set[..], server, READONLY, Effect::Refused),
            (set, ErrorAuthor::Script, READONLY, Effect::Changed),
            (set, server, of_script, Effect::Other),
            (exec, ErrorAuthor::Script, abort, Effect::Other),
            (exec, ErrorAuthor::Script, b"*0\r\n", Effect::Changed),
            (evalsha, ErrorAuthor::Script, UNKNOWN_SCRIPT, Effect::Read),
            (evalsha, ErrorAuthor::Script, b":1\r\n", Effect::Changed),
            (eval, ErrorAuthor::Script, abort, Effect::Changed),
            (eval, ErrorAuthor::Script, UNKNOWN_SCRIPT, Effect::Changed),
            (eval_ro, ErrorAuthor::Script, READONLY, Effect::Read),
            (set, server, b"+OK\r\n", Effect::Changed),
            (get, server, b"$1\r\nv\r\n", Effect::Read),
            (ping, server, b"+PONG\r\n", Effect::Other),
            (b"*1\r\n$3\r\nxyz\r\n", server, b"+OK\r\n", Effect::Changed),
        ] {
            assert_eq!(effect(request, author, reply), expected);
        }
    }
}
