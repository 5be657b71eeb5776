//! `ACL LOG`: what users were not allowed to do.

use std::sync::Arc;
use std::time::Instant;

use crate::protocol::redis::acl::check::Denied;
use crate::protocol::redis::command::Command;
use crate::protocol::redis::local::clients::write_line;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::acl_log::{Denial, Reason};
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::tunables::Tunable;

/// The number of entries that are returned if the request names none.
const COUNT: usize = 10;

/// `ACL LOG [count | RESET]`.
pub(crate) fn log(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let log = &settings.shared.acl_log;
    let argument = args.nth(2);
    if args.next().is_some() {
        return reply
            .error("unknown subcommand or wrong number of arguments for 'LOG'. Try ACL HELP.");
    }
    let count = match argument {
        None => COUNT,
        Some(word) if word.eq_ignore_ascii_case(b"RESET") => {
            log.clear();
            return reply.simple("OK");
        }
        Some(count) => {
            let Some(count) = number::parse_integer(count) else {
                return reply.error("value is not an integer or out of range");
            };
            // Less than zero is none, as in Redis.
            usize::try_from(count).unwrap_or(0)
        }
    };
    let (entries, now) = (log.latest(count), Instant::now());
    reply.array(entries.len());
    for entry in entries {
        reply.map(7);
        reply.bulk("count");
        reply.integer(entry.count);
        reply.bulk("reason");
        reply.bulk(entry.reason.name());
        reply.bulk("context");
        reply.bulk(if entry.in_multi { "multi" } else { "toplevel" });
        reply.bulk("object");
        reply.bulk(&entry.object);
        reply.bulk("username");
        reply.bulk(&entry.user);
        reply.bulk("age-seconds");
        let age = now.saturating_duration_since(entry.at).as_millis();
        reply.double(&format!("{}.{:03}", age / 1000, age % 1000));
        reply.bulk("client-info");
        reply.bulk(entry.client);
    }
}

/// Records that the user of a client may not execute a request.
pub(crate) fn record(denied: Denied<'_>, command: &Command, client: &Client, settings: &Settings) {
    let name = command.name.to_ascii_lowercase();
    let (reason, object) = match denied {
        Denied::Command => (Reason::Command, name.as_bytes()),
        Denied::Key(key) => (Reason::Key, key),
        Denied::Channel(channel) => (Reason::Channel, channel),
        // Redis executes the command, which refuses it itself.
        Denied::SortOption(_) => return,
    };
    let user = client.user().name().clone();
    add(reason, object, user, &name, client, settings);
}

/// Records that a client could not become a user. `object` is the command as it was written.
pub(crate) fn record_auth(user: &[u8], object: &[u8], client: &Client, settings: &Settings) {
    let command = String::from_utf8_lossy(object).to_ascii_lowercase();
    let user = user.get(..NAME_BYTES).unwrap_or(user).into();
    add(Reason::Auth, object, user, &command, client, settings);
}

/// The number of bytes of an unknown user's name that are kept.
const NAME_BYTES: usize = 256;

fn add(
    reason: Reason,
    object: &[u8],
    user: Arc<[u8]>,
    command: &str,
    client: &Client,
    settings: &Settings,
) {
    let mut line = String::new();
    write_line(client.entry(), Some(command), &mut line);
    let line = line.trim_end().to_owned();
    let most = settings.shared.tunables.get(Tunable::AclLogMaxLen);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let denial = Denial::new(reason, client.in_multi(), object, user, line);
    settings.shared.acl_log.add(denial, most);
}
