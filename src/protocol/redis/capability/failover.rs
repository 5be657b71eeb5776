//! What tells whether a server is a primary, and that it has done nothing with a request because it is none.

use crate::protocol::Deed;
use crate::protocol::redis::command::{Command, flags};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::error_line::{ErrorAuthor, is_refusal};
use crate::protocol::redis::resp::inspect;

/// The start of the error of a script that has tried to write on a replica.
const OF_SCRIPT: &[u8] = b"-READONLY You can't write against a read only replica. script: ";

/// See [`crate::protocol::Connections::is_primary`].
pub(crate) fn is_primary(reply: &[u8]) -> bool {
    let role = inspect::elements(reply).and_then(|mut elements| elements.next());
    role.and_then(inspect::bulk) == Some(b"master")
}

/// See [`crate::protocol::Connections::deed`]. Scripts write any line.
pub(crate) fn deed(request: &[u8], author: ErrorAuthor, reply: &[u8]) -> Deed {
    // Of a transaction nothing is done before EXEC, and nothing if that is aborted. A server that lets no script write says so in
    // the script's name; what it did before was no write.
    let changes_nothing: [&[u8]; 3] = [b"+QUEUED\r\n", b"-EXECABORT ", OF_SCRIPT];
    if changes_nothing.iter().any(|start| reply.starts_with(start)) {
        return Deed::Other;
    }
    if author == ErrorAuthor::Script {
        return Deed::Changed;
    }
    if is_refusal(reply) {
        return Deed::Refused;
    }
    let name = Args::new(request).next().unwrap_or_default();
    match Command::lookup(name) {
        None => Deed::Changed,
        Some(command) if command.flags & flags::WRITE != 0 => Deed::Changed,
        Some(command) if only_reads(command) => Deed::Read,
        Some(_) => Deed::Other,
    }
}

/// See [`crate::protocol::Connections::only_reads`].
pub(crate) fn only_reads(command: &Command) -> bool {
    command.flags & (flags::READ | flags::WRITE) == flags::READ
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let server = ErrorAuthor::Server;
        let of_script = b"-READONLY You can't write against a read only replica. script: x\r\n";
        for (request, author, reply, expected) in [
            (&set[..], server, READONLY, Deed::Refused),
            (set, ErrorAuthor::Script, READONLY, Deed::Changed),
            (set, server, of_script, Deed::Other),
            (set, server, b"+QUEUED\r\n", Deed::Other),
            (
                set,
                ErrorAuthor::Script,
                b"-EXECABORT Transaction discarded\r\n",
                Deed::Other,
            ),
            (set, server, b"+OK\r\n", Deed::Changed),
            (get, server, b"$1\r\nv\r\n", Deed::Read),
            (ping, server, b"+PONG\r\n", Deed::Other),
            (b"*1\r\n$3\r\nxyz\r\n", server, b"+OK\r\n", Deed::Changed),
        ] {
            assert_eq!(deed(request, author, reply), expected);
        }
    }
}
