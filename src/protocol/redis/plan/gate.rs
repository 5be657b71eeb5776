//! What a client may not do before it has authenticated, or as the user that it is.

use bytes::BytesMut;

use crate::protocol::KeySpan;
use crate::protocol::redis::acl::commands;
use crate::protocol::redis::command::request::Request;
use crate::protocol::redis::command::{Command, CommandError, flags};
use crate::protocol::redis::error;
use crate::protocol::redis::local::acl::denials;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;
use crate::stats::RefusalReason;

/// Refuses what the client may not do, in Redis's words. The contents of `keys` are lost.
#[inline(never)]
pub(crate) fn refusal(
    (request, command): (&Request, &Command),
    frame: &[u8],
    client: &Client,
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Option<RefusalReason> {
    if client.must_authenticate() && command.flags & flags::NO_AUTH == 0 {
        error::write_unauthenticated(command, out);
        return Some(RefusalReason::NotAuthenticated);
    }
    let row = (request.id(frame), command);
    match client.user().check(row, &Args::new(frame), frame, keys) {
        Ok(()) => None,
        Err(denied) => {
            denials::record(denied, command, client, settings);
            error::write_denied(denied, command, out);
            Some(RefusalReason::Denied)
        }
    }
}

/// Writes the reply to EXEC if a queued request may not be executed any more. Redis executes the others.
#[cold]
pub(crate) fn write_lost_right(
    frame: &[u8],
    client: &Client,
    settings: &Settings,
    out: &mut BytesMut,
) -> bool {
    let args = Args::new(frame);
    let row = Command::resolve(&args, args.clone().count());
    let (Ok(command) | Err(CommandError::Arity(command))) = row else {
        return false;
    };
    let Ok(id) = commands::row(command.name.as_bytes()) else {
        return false;
    };
    let checked = client
        .user()
        .check((id, command), &args, frame, &mut Vec::new());
    if let Err(denied) = checked {
        denials::record(denied, command, client, settings);
        error::write_lost_right(denied, out);
    }
    checked.is_err()
}
