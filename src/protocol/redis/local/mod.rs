//! Replies of the proxy itself, without any server.
//!
//! [`answer`] is called with a row's [`Local`] once its arity was checked; the state of a connection is a [`Client`].

pub(crate) mod acl;
pub(crate) mod auth;
pub(crate) mod client_commands;
pub(crate) mod clients;
pub(crate) mod command;
pub(crate) mod command_stats;
pub(crate) mod config;
pub(crate) mod info;
pub(crate) mod latency;
pub(crate) mod lolwut;
pub(crate) mod merged;
pub(crate) mod outcome;
pub(crate) mod parameters;
pub(crate) mod reply_writer;
pub(crate) mod slowlog;

use bytes::BytesMut;

use crate::protocol::redis::command::{Command, Local};
use crate::protocol::redis::local::outcome::Outcome;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;

/// Answers a request whose policy is [`Policy::Local`].
pub(crate) fn answer(
    local: Local,
    mut args: Args<'_>,
    client: &mut Client,
    settings: &Settings,
    out: &mut BytesMut,
) -> Outcome {
    let reply = &mut Reply::new(client.resp(), out);
    match local {
        Local::Ping => ping(args, client, reply),
        Local::Quit => {
            reply.simple("OK");
            return Outcome::Close;
        }
        Local::Auth => auth::auth(args, client, settings, reply),
        Local::Hello => auth::hello(args, client, settings, reply),
        Local::Reset => return auth::reset(client, settings, reply),
        Local::Echo => reply.bulk(args.nth(1).unwrap_or_default()),
        Local::Select => select(args, client, settings, reply),
        Local::Info => info::info(args, settings, reply),
        Local::ConfigGet => config::get(args, settings, reply),
        Local::ConfigResetStat => config::reset_stat(settings, reply),
        Local::ConfigSet => config::set(args, settings, reply),
        Local::ClientCaching => clients::caching(reply),
        Local::ClientGetName => client_commands::get_name(client, reply),
        Local::ClientGetRedir => reply.integer(-1),
        Local::ClientId => reply.integer(client.id()),
        Local::ClientInfo => clients::info(client, reply),
        Local::ClientKill => return clients::kill(args, client, settings, reply),
        Local::ClientList => clients::list(args, client, settings, reply),
        Local::ClientNoTouch => clients::no_touch(args, reply),
        Local::ClientReply => return client_commands::set_reply_mode(client, args, reply),
        Local::ClientTracking => clients::tracking(args, reply),
        Local::ClientUnblock => clients::unblock(args, reply),
        Local::ClientUnpause | Local::Monitor => reply.simple("OK"),
        Local::ClientTrackingInfo => clients::tracking_info(reply),
        Local::ClientNoEvict => clients::no_evict(args, reply),
        Local::ClientSetInfo => client_commands::set_info(client, args, reply),
        Local::ClientSetName => client_commands::set_name(client, args, reply),
        Local::CommandAll => command::all(settings, reply),
        Local::CommandCount => command::count(settings, reply),
        Local::CommandDocs => command::docs(args, settings, reply),
        Local::CommandGetKeys => command::get_keys(args, reply),
        Local::CommandGetKeysAndFlags => command::get_keys_and_flags(args, reply),
        Local::CommandInfo => command::info(args, settings, reply),
        Local::CommandList => command::list(args, settings, reply),
        Local::AclCat => acl::cat(args, settings, reply),
        Local::AclGenPass => acl::generate_password(args, reply),
        Local::AclDelUser => return acl::changes::delete_users(args, client, settings, reply),
        Local::AclDryRun => acl::dry_run::dry_run(args, settings, reply),
        Local::AclGetUser => acl::get_user(args, settings, reply),
        Local::AclList => acl::list(settings, reply),
        Local::AclLog => acl::denials::log(args, settings, reply),
        Local::AclSetUser => acl::changes::set_user(args, client, settings, reply),
        Local::AclUsers => acl::users(settings, reply),
        Local::AclWhoAmI => acl::who_am_i(client, reply),
        Local::LatencyDoctor => latency::doctor(settings, reply),
        Local::LatencyGraph => latency::graph(args, settings, reply),
        Local::LatencyHistogram => command_stats::histogram(args, settings, reply),
        Local::LatencyHistory => latency::history(args, settings, reply),
        Local::LatencyLatest => latency::latest(settings, reply),
        Local::LatencyReset => latency::reset(args, settings, reply),
        Local::Lolwut => lolwut::lolwut(args, reply),
        Local::ModuleList => reply.array(0),
        Local::Role => role(reply),
        Local::SlowlogGet => slowlog::get(args, settings, reply),
        Local::SlowlogLen => slowlog::len(settings, reply),
        Local::SlowlogReset => slowlog::reset(settings, reply),
        Local::ClusterDisabled => {
            reply.error("This instance has cluster support disabled");
        }
        Local::Help => command::help(args, settings, reply),
    }
    Outcome::Stay
}

fn ping(mut args: Args<'_>, client: &Client, reply: &mut Reply<'_>) {
    let command = args.next().and_then(Command::lookup);
    match (args.next(), args.next(), command) {
        (text, None, _) if client.in_subscriber_mode() => {
            reply.array(2);
            reply.bulk("pong");
            reply.bulk(text.unwrap_or_default());
        }
        (None, ..) => reply.simple("PONG"),
        (Some(text), None, _) => reply.bulk(text),
        (_, _, Some(command)) => reply.arity(command),
        (..) => reply.error("syntax error"),
    }
}

/// As a master without replicas: clients that look for the master accept it as one.
fn role(reply: &mut Reply<'_>) {
    reply.array(3);
    reply.bulk("master");
    reply.integer(0);
    reply.array(0);
}

fn select(args: Args<'_>, client: &mut Client, settings: &Settings, reply: &mut Reply<'_>) {
    match database(args, settings) {
        Ok(db) => {
            client.select(db, settings);
            reply.simple("OK");
        }
        Err(text) => reply.error(text),
    }
}

/// The database that a `SELECT` names, or the text of the error.
pub(crate) fn database(mut args: Args<'_>, settings: &Settings) -> Result<u32, &'static str> {
    let number = number::parse_integer(args.nth(1).unwrap_or_default())
        .ok_or("value is not an integer or out of range")?;
    if i32::try_from(number).is_err() {
        return Err("value is out of range, value must between -2147483648 and 2147483647");
    }
    u32::try_from(number)
        .ok()
        .filter(|db| *db < settings.databases || *db == settings.db)
        .ok_or("DB index is out of range")
}

#[cfg(test)]
mod tests;
