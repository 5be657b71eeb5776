//! `AUTH` and `HELLO`: the user of a client, and the RESP version.

use std::time::Instant;

use crate::protocol::redis::acl::user::DEFAULT;
use crate::protocol::redis::local::acl::denials;
use crate::protocol::redis::local::client_commands;
use crate::protocol::redis::local::outcome::Outcome;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::client::{AuthError, Client};
use crate::protocol::redis::state::settings::{REDIS_VERSION, Settings};

pub(crate) fn auth(
    mut args: Args<'_>,
    client: &mut Client,
    settings: &Settings,
    reply: &mut Reply<'_>,
) {
    let command = args.next().unwrap_or_default();
    let ok = match (args.next(), args.next(), args.next()) {
        (Some(password), None, _) => auth_password(command, password, client, settings, reply),
        (Some(user), Some(password), None) => {
            auth_user(command, (user, password), client, settings, reply)
        }
        _ => {
            reply.error("syntax error");
            false
        }
    };
    if ok {
        reply.simple("OK");
    }
}

/// `HELLO [protover [AUTH user password] [SETNAME name]]`. The version changes only if all options are valid.
pub(crate) fn hello(
    mut args: Args<'_>,
    client: &mut Client,
    settings: &Settings,
    reply: &mut Reply<'_>,
) {
    let mut version = client.resp();
    let command = args.next().unwrap_or_default();
    if let Some(requested) = args.next() {
        let Some(requested) = number::parse_integer(requested) else {
            return reply.error("Protocol version is not an integer or out of range");
        };
        let Some(requested) = Resp::from_number(requested) else {
            return reply.error_line(&[b"NOPROTO unsupported protocol version"]);
        };
        version = requested;
    }
    while let Some(option) = args.next() {
        let mut rest = args.clone();
        if option.eq_ignore_ascii_case(b"AUTH")
            && let (Some(user), Some(password)) = (rest.next(), rest.next())
        {
            if !auth_user(command, (user, password), client, settings, reply) {
                return;
            }
        } else if option.eq_ignore_ascii_case(b"SETNAME")
            && let Some(name) = rest.next()
        {
            if !client_commands::rename(client, name, reply) {
                return;
            }
        } else {
            return reply.error_line(&[b"ERR Syntax error in HELLO option '", option, b"'"]);
        }
        args = rest;
    }
    if client.must_authenticate() {
        return reply.error_line(&[
            b"NOAUTH HELLO must be called with the client already authenticated, otherwise the \
              HELLO AUTH <user> <pass> option can be used to authenticate the client and \
              select the RESP protocol version at the same time",
        ]);
    }
    client.set_resp(version, settings);
    reply.switch(version);
    reply.map(7);
    reply.bulk("server");
    reply.bulk("redis");
    reply.bulk("version");
    reply.bulk(REDIS_VERSION);
    reply.bulk("proto");
    reply.integer(version.number());
    reply.bulk("id");
    reply.integer(client.id());
    reply.bulk("mode");
    reply.bulk("standalone");
    reply.bulk("role");
    reply.bulk("master");
    reply.bulk("modules");
    reply.array(0);
}

/// `AUTH password`. As in Redis, a wrong one changes nothing.
fn auth_password(
    command: &[u8],
    password: &[u8],
    client: &mut Client,
    settings: &Settings,
    reply: &mut Reply<'_>,
) -> bool {
    if settings.shared.users.load().default_user().no_password {
        reply.error(
            "AUTH <password> called without any password configured for the default user. Are you \
             sure your configuration is correct?",
        );
        return false;
    }
    auth_user(
        command,
        (DEFAULT.as_bytes(), password),
        client,
        settings,
        reply,
    )
}

/// `RESET`. A client for which the default user has no connection left is closed.
pub(crate) fn reset(client: &mut Client, settings: &Settings, reply: &mut Reply<'_>) -> Outcome {
    match client.reset(settings) {
        Ok(()) => {
            reply.simple("RESET");
            Outcome::Stay
        }
        Err(over) => {
            settings.shared.note_refused_connection(&over);
            reply.error(&over.to_string());
            Outcome::Close
        }
    }
}

/// `AUTH user password`; any password is right for a user with `nopass`.
fn auth_user(
    command: &[u8],
    (user, password): (&[u8], &[u8]),
    client: &mut Client,
    settings: &Settings,
    reply: &mut Reply<'_>,
) -> bool {
    let addresses = &settings.shared.addresses;
    let address = client.entry().arrival.key;
    if address.is_some_and(|address| !addresses.may_authenticate(address, Instant::now())) {
        tracing::warn!(
            pool = settings.pool,
            client = client.entry().arrival.peer,
            reason = "its address has reached client_address_auth_failures",
            "client not authenticated"
        );
        reply.error(
            "too many failed attempts to authenticate from your address; try again in a second \
             (client_address_auth_failures)",
        );
        return false;
    }
    match client.authenticate(user, password) {
        Ok(()) => return true,
        Err(AuthError::WrongPassword) => {
            if let Some(address) = address {
                addresses.note_failure(address, Instant::now());
            }
            denials::record_auth(user, command, client, settings);
            tracing::warn!(
                pool = settings.pool,
                client = client.entry().arrival.peer,
                "client failed to authenticate"
            );
            reply.error_line(&[b"WRONGPASS invalid username-password pair or user is disabled."]);
        }
        Err(AuthError::OverQuota(over)) => {
            settings.shared.note_refused_connection(&over);
            reply.error(&over.to_string());
        }
    }
    false
}
