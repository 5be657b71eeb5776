//! `SLOWLOG`: the requests whose servers took longest to reply.
//!
//! An entry has the command's name and its client, but no arguments: those have been sent to the server when the
//! request turns out to be slow, and keeping them all would make every request slower. A command that blocks (`BLPOP`)
//! is not slow.

use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::settings::Settings;

/// Default number of entries of `SLOWLOG GET`.
const SHOWN: usize = 10;

/// The placeholder for the arguments.
const ARGUMENTS: &str = "... (arguments are not logged)";

/// `SLOWLOG GET [count]`.
pub(crate) fn get(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let mut most = SHOWN;
    if let Some(count) = args.nth(2) {
        most = match number::parse_integer(count) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return reply.error("count should be greater than or equal to -1"),
        };
    }
    if args.next().is_some() {
        return reply
            .error("unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.");
    }
    let log = settings.shared.slowlog.lock();
    reply.array(log.entries.len().min(most));
    for slow in log.entries.iter().take(most) {
        reply.array(6);
        reply.integer(slow.number);
        reply.integer(slow.at);
        reply.integer(slow.took.as_micros());
        reply.array(slow.command.split('|').count() + 1);
        slow.command.split('|').for_each(|word| reply.bulk(word));
        reply.bulk(ARGUMENTS);
        reply.bulk(&slow.peer);
        reply.bulk(&slow.name);
    }
}

pub(crate) fn len(settings: &Settings, reply: &mut Reply<'_>) {
    reply.integer(settings.shared.slowlog.lock().entries.len());
}

pub(crate) fn reset(settings: &Settings, reply: &mut Reply<'_>) {
    settings.shared.slowlog.lock().entries.clear();
    reply.simple("OK");
}
