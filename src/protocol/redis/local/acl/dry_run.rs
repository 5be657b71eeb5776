//! `ACL DRYRUN user command [arg ...]`: whether a user may execute a request.

use crate::protocol::redis::acl::check::Denied;
use crate::protocol::redis::acl::commands;
use crate::protocol::redis::command::{Command, CommandError};
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::settings::Settings;

pub(crate) fn dry_run(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let frame = args.frame();
    let name = args.nth(2).unwrap_or_default();
    let users = settings.shared.users.load();
    let Some(user) = users.get(name) else {
        return reply.error_line(&[b"ERR User '", name, b"' not found"]);
    };
    let request = args;
    let count = request.clone().count();
    let row = match Command::resolve(&request, count) {
        Ok(row) => row,
        // Redis notices incomplete pairs when the request is executed.
        Err(CommandError::Arity(row)) if row.fits_arity(count) => row,
        Err(CommandError::Arity(row)) => {
            let name = row.name.to_ascii_lowercase();
            return reply.error(&format!("wrong number of arguments for '{name}' command"));
        }
        Err(_) => {
            let name = request.clone().next().unwrap_or_default();
            return reply.error_line(&[b"ERR Command '", name, b"' not found"]);
        }
    };
    let Ok(id) = commands::row(row.name.as_bytes()) else {
        return reply.error("unknown command");
    };
    let start = b"This user has no permissions to ";
    match user.check((id, row), &request, frame, &mut Vec::new()) {
        Ok(()) | Err(Denied::SortOption(_)) => reply.simple("OK"),
        Err(Denied::Command) => {
            let name = row.name.to_ascii_lowercase();
            let parts = [start, &b"run the '"[..], name.as_bytes(), b"' command"];
            reply.bulk(parts.concat());
        }
        Err(Denied::Key(key)) => {
            reply.bulk([start, &b"access the '"[..], key, b"' key"].concat());
        }
        Err(Denied::Channel(channel)) => {
            reply.bulk([start, &b"access the '"[..], channel, b"' channel"].concat());
        }
    }
}
