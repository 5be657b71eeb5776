//! `ACL SETUSER` and `ACL DELUSER`.

use crate::protocol::redis::acl::rule;
use crate::protocol::redis::acl::user::DEFAULT;
use crate::protocol::redis::local::outcome::Outcome;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;

/// `ACL SETUSER name [rule ...]`: all rules, or none.
pub(crate) fn set_user(
    mut args: Args<'_>,
    client: &mut Client,
    settings: &Settings,
    reply: &mut Reply<'_>,
) {
    let name = args.nth(2).unwrap_or_default();
    let rules: Vec<&[u8]> = args.collect();
    if rule::has_spaces(name) {
        return reply.error("Usernames can't contain spaces or null characters");
    }
    match settings.shared.set_user(name, &rules) {
        Ok(()) => reply.simple("OK"),
        Err((rule, error)) => {
            let error = error.to_string();
            reply.error_line(&[
                b"ERR Error in ACL SETUSER modifier '",
                rule,
                b"': ",
                error.as_bytes(),
            ]);
        }
    }
    // The next request of a pipeline is one of the user as it is now.
    client.follow_users();
}

/// `ACL DELUSER name ...`. A client that deletes its own user gets its reply first.
pub(crate) fn delete_users(
    args: Args<'_>,
    client: &mut Client,
    settings: &Settings,
    reply: &mut Reply<'_>,
) -> Outcome {
    let names: Vec<&[u8]> = args.skip(2).collect();
    if names.contains(&DEFAULT.as_bytes()) {
        reply.error("The 'default' user cannot be removed");
        return Outcome::Stay;
    }
    let deleted = settings.shared.delete_users(&names, Some(client.id()));
    reply.integer(deleted.len());
    if deleted.contains(&client.user().identity()) {
        Outcome::Close
    } else {
        Outcome::Stay
    }
}
