//! `ACL`: a pool has one user, `default`, who may use all commands that the pool supports.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;

use crate::protocol::redis::command::Command;
use crate::protocol::redis::local::auth::USER;
use crate::protocol::redis::local::command;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::settings::Settings;

/// Bits of a generated password: the default, and the maximum.
const PASSWORD_BITS: (usize, usize) = (256, 4096);

pub(crate) fn who_am_i(reply: &mut Reply<'_>) {
    reply.bulk(USER);
}

pub(crate) fn users(reply: &mut Reply<'_>) {
    reply.array(1);
    reply.bulk(USER);
}

/// `ACL LIST`. The password is not shown, not even to clients that authenticated with it.
pub(crate) fn list(settings: &Settings, reply: &mut Reply<'_>) {
    if settings.auth.is_some() {
        return hidden("LIST", reply);
    }
    let commands = commands(settings);
    reply.array(1);
    reply.bulk(format!("user default on nopass ~* &* {commands}"));
}

/// `ACL GETUSER name`.
pub(crate) fn get_user(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    if args.nth(2) != Some(USER) {
        return reply.null();
    }
    if settings.auth.is_some() {
        return hidden("GETUSER", reply);
    }
    reply.map(6);
    reply.bulk("flags");
    reply.set(2);
    reply.bulk("on");
    reply.bulk("nopass");
    reply.bulk("passwords");
    reply.array(0);
    reply.bulk("commands");
    reply.bulk(commands(settings));
    reply.bulk("keys");
    reply.bulk("~*");
    reply.bulk("channels");
    reply.bulk("&*");
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

/// The permissions of the user, as an ACL rule.
fn commands(settings: &Settings) -> String {
    let names = settings.disabled.names();
    let disabled = names.map(|name| [" -", &name.to_ascii_lowercase()].concat());
    ["+@all".to_owned()].into_iter().chain(disabled).collect()
}

fn hidden(subcommand: &str, reply: &mut Reply<'_>) {
    reply.error(&format!(
        "unsupported command 'ACL {subcommand}': the pool's user has a password, which is not shown"
    ));
}
