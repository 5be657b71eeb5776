//! Marks on the wire: how proxies and coordinators read and change them.

mod change;
pub(crate) mod keyspace;

use bytes::{Bytes, BytesMut};

use crate::protocol::ConnProfile;
use crate::protocol::capability::connections::{Greeting, InMove};
use crate::protocol::redis::command::Command;
use crate::protocol::redis::error::write_error;
use crate::protocol::redis::resp::encode::{write_error_line, write_request};
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;
use crate::topology::{MARK_PREFIX, Mark, SeenMark};

pub use change::{By, Change, Outcome};

/// Writes the requests for a mark, and for who the server is. Two replies, which [`read`] takes.
pub fn write_read(key: &str, out: &mut BytesMut) {
    write_request(&[b"HGETALL", key.as_bytes()], out);
    write_request(&[b"INFO", b"server"], out);
}

/// Reads the replies to [`write_read`]. `Err` is the reply that is wrong, or a text about a mark that cannot be read.
pub fn read(fields: &Bytes, info: &Bytes) -> Result<SeenMark, Bytes> {
    let pairs = inspect::pairs(fields).ok_or_else(|| fields.clone())?;
    let mark = Mark::read(&pairs);
    let mark = mark.map_err(|error| Bytes::from(format!("-ERR faulty mark: {error}\r\n")))?;
    Ok(SeenMark {
        mark: mark.map(Into::into),
        run_id: run_id(info).ok_or_else(|| info.clone())?,
    })
}

/// The run id in the reply to INFO, which is a bulk or a verbatim string.
fn run_id(info: &[u8]) -> Option<String> {
    if !info.starts_with(b"$") && !info.starts_with(b"=") {
        return None;
    }
    let text = String::from_utf8_lossy(info);
    let line = text.lines().find_map(|line| line.strip_prefix("run_id:"));
    line.map(|id| id.trim_end().to_owned())
}

/// See [`crate::protocol::Connections::write_guard`].
pub(crate) fn write_guard(
    (settings, profile): (&Settings, ConnProfile),
    [name, key]: [&str; 2],
    out: &mut BytesMut,
) -> usize {
    let (_, database) = profile::meaning(profile, settings);
    let digits = database.to_string();
    write_request(&[b"CLIENT", b"SETNAME", name.as_bytes()], out);
    write_request(&[b"CLIENT", b"ID"], out);
    if database == 0 {
        write_read(key, out);
        return 4;
    }
    // Marks are in database 0.
    write_request(&[b"SELECT", b"0"], out);
    write_read(key, out);
    write_request(&[b"SELECT", digits.as_bytes()], out);
    6
}

/// Commands that change all keys, or count them: servers count a copy beside its original.
const REFUSED: [&str; 4] = ["DBSIZE", "FLUSHALL", "FLUSHDB", "SWAPDB"];

/// Commands about all keys: a transaction in a pool of one server may have them.
const ABOUT_ALL_KEYS: [&str; 7] = [
    "DBSIZE",
    "FLUSHALL",
    "FLUSHDB",
    "KEYS",
    "RANDOMKEY",
    "SCAN",
    "SWAPDB",
];

/// See [`crate::protocol::Connections::write_move_refusal`].
pub(crate) fn write_refusal(refused: InMove<Option<&'static Command>>, out: &mut BytesMut) -> bool {
    match refused {
        InMove::MarkKey => {
            let prefix = MARK_PREFIX;
            write_error(
                &format!("keys that begin with '{prefix}' are the proxy's own"),
                out,
            );
            true
        }
        InMove::Command(Some(command)) if REFUSED.contains(&command.whole_name()) => {
            let name = command.whole_name();
            let why = if name == "DBSIZE" {
                ": servers count copies, too; count the keys that SCAN returns"
            } else {
                "; nothing was done"
            };
            let text = format!(
                "{name} is refused while keys are being moved ('ringroad reshard status'){why}"
            );
            write_error(&text, out);
            true
        }
        InMove::Queued(Some(command)) if ABOUT_ALL_KEYS.contains(&command.whole_name()) => {
            let text = format!(
                "EXECABORT Transaction discarded because of: {} is refused in a transaction while keys are being moved ('ringroad reshard status')",
                command.whole_name()
            );
            write_error_line(&[text.as_bytes()], out);
            true
        }
        // What changes functions could come after the last change that a replica has got, and before its promotion.
        InMove::WhileReplacing(Some(command)) if command.whole_name() == "FUNCTION" => {
            write_error(
                "FUNCTION is refused while a server is being replaced ('ringroad reshard status'); nothing was done",
                out,
            );
            true
        }
        InMove::Command(_) | InMove::Queued(_) | InMove::WhileReplacing(_) => false,
    }
}

/// See [`crate::protocol::Connections::read_guard`].
pub(crate) fn read_guard(replies: &[Bytes]) -> Result<Greeting, Bytes> {
    if let Some(refusal) = replies.iter().find(|reply| inspect::is_error(reply)) {
        return Err(refusal.clone());
    }
    let ([_, id, fields, info] | [_, id, _, fields, info, _]) = replies else {
        return Err(Bytes::from_static(b"-ERR incomplete greeting\r\n"));
    };
    let digits = id.strip_prefix(b":").unwrap_or_default();
    Ok(Greeting {
        client_id: id.slice_ref(digits.trim_ascii_end()),
        seen: read(fields, info)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn greeting_has_the_id_and_who_the_server_is() {
        let info = bytes("$35\r\n# Server\r\nrun_id:abc12\r\ntcp_port:1\r\n\r\n");
        let (ok, id, none) = (bytes("+OK\r\n"), bytes(":42\r\n"), bytes("*0\r\n"));
        let none_in_resp3 = bytes("%0\r\n");
        for replies in [
            vec![ok.clone(), id.clone(), none, info.clone()],
            vec![ok.clone(), id, ok.clone(), none_in_resp3, info, ok],
        ] {
            let greeting = read_guard(&replies).unwrap();
            assert_eq!(greeting.client_id, "42");
            assert_eq!(greeting.seen.run_id, "abc12");
            assert_eq!(greeting.seen.mark, None);
        }
    }

    #[test]
    fn refused_greeting_returns_the_refusal() {
        let refusal = bytes("-NOPERM this user has no permissions to run 'info'\r\n");
        let replies = [
            bytes("+OK\r\n"),
            bytes(":42\r\n"),
            bytes("*0\r\n"),
            refusal.clone(),
        ];
        assert_eq!(read_guard(&replies).unwrap_err(), refusal);
        let fields = bytes("*2\r\n$4\r\nmove\r\n$1\r\nm\r\n");
        let info = bytes("$9\r\nrun_id:ab\r\n");
        let error = read(&fields, &info).unwrap_err();
        assert_eq!(error, "-ERR faulty mark: the field 'state' is missing\r\n");
    }
}
