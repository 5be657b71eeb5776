//! `ACL`: the users of the pool, and what they may do.

pub(crate) mod changes;
pub(crate) mod denials;
pub(crate) mod dry_run;

use std::fmt::Write;
use std::fs::File;
use std::io::Read;

use crate::protocol::redis::command::Command;
use crate::protocol::redis::local::command;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;

/// Bits of a generated password: the default, and the maximum.
const PASSWORD_BITS: (usize, usize) = (256, 4096);

/// `ACL WHOAMI`.
pub(crate) fn who_am_i(client: &Client, reply: &mut Reply<'_>) {
    reply.bulk(client.user().name());
}

/// `ACL USERS`.
pub(crate) fn users(settings: &Settings, reply: &mut Reply<'_>) {
    let users = settings.shared.users.load();
    reply.array(users.iter().len());
    for user in users.iter() {
        reply.bulk(user.name());
    }
}

/// `ACL LIST`. What the pool disables is forbidden to all users.
pub(crate) fn list(settings: &Settings, reply: &mut Reply<'_>) {
    let users = settings.shared.users.load();
    reply.array(users.iter().len());
    for user in users.iter() {
        reply.bulk([user.line(), disabled(settings).into_bytes()].concat());
    }
}

/// `ACL GETUSER name`.
pub(crate) fn get_user(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let users = settings.shared.users.load();
    let Some(user) = users.get(args.nth(2).unwrap_or_default()) else {
        return reply.null();
    };
    reply.map(6);
    reply.bulk("flags");
    let flags = user.flags();
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag);
    }
    reply.bulk("passwords");
    reply.array(user.passwords.len());
    for password in &user.passwords {
        reply.bulk(password.to_string());
    }
    reply.bulk("commands");
    reply.bulk(user.shown_commands() + &disabled(settings));
    reply.bulk("keys");
    reply.bulk(user.shown_keys());
    reply.bulk("channels");
    reply.bulk(user.shown_channels());
    reply.bulk("selectors");
    reply.array(0);
}

/// `ACL CAT [category]`: the supported commands of a category.
pub(crate) fn cat(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let Some(name) = args.nth(2) else {
        reply.array(Command::CATEGORIES.len());
        for name in Command::CATEGORIES {
            reply.bulk(name);
        }
        return;
    };
    if args.next().is_some() {
        return reply
            .error("unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.");
    }
    let category = Command::CATEGORIES
        .iter()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(name));
    match category {
        Some(category) => command::of_category(category, settings, reply),
        None => reply.error_line(&[b"ERR Unknown category '", name, b"'"]),
    }
}

/// `ACL GENPASS [bits]`: hexadecimal digits from the system's random number generator.
pub(crate) fn generate_password(mut args: Args<'_>, reply: &mut Reply<'_>) {
    let (default, most) = PASSWORD_BITS;
    let bits = match args.nth(2) {
        None => default,
        Some(text) => {
            let Some(number) = number::parse_integer(text) else {
                return reply.error("value is not an integer or out of range");
            };
            match usize::try_from(number) {
                Ok(bits) if (1..=most).contains(&bits) => bits,
                _ => {
                    return reply.error(
                        "ACL GENPASS argument must be the number of bits for the output password, \
                         a positive number up to 4096",
                    );
                }
            }
        }
    };
    if args.next().is_some() {
        return reply
            .error("unknown subcommand or wrong number of arguments for 'GENPASS'. Try ACL HELP.");
    }
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    let filled = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    if filled.is_err() {
        return reply.error("the system returned no random bytes");
    }
    let mut password = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(password, "{byte:02x}");
    }
    password.truncate(digits);
    reply.bulk(password);
}

/// The commands that the pool disables, as rules.
fn disabled(settings: &Settings) -> String {
    let names = settings.disabled.names();
    names
        .map(|name| [" -", &name.to_ascii_lowercase()].concat())
        .collect()
}
