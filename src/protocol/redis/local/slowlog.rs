//! `SLOWLOG`: the requests whose servers took longest to reply.
//!
//! An entry has what Redis's has. Its time is that from the arrival of the request to its reply; `ringroad ctl slowlog` also
//! tells how much of it was spent in the proxy, and the server. A command that blocks (`BLPOP`) is not slow.

use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::state::settings::Settings;

/// Default number of entries of `SLOWLOG GET`.
const SHOWN: usize = 10;

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
    let log = settings.shared.slow_log.lock();
    reply.array(log.entries.len().min(most));
    for slow in log.entries.iter().take(most) {
        reply.array(6);
        reply.integer(slow.number);
        reply.integer(slow.at);
        reply.integer(slow.request.took.as_micros());
        let args = slow.request.text.shown();
        reply.array(args.len());
        for arg in args {
            reply.bulk(arg);
        }
        reply.bulk(&slow.peer);
        reply.bulk(&slow.name);
    }
}

pub(crate) fn len(settings: &Settings, reply: &mut Reply<'_>) {
    reply.integer(settings.shared.slow_log.lock().entries.len());
}

pub(crate) fn reset(settings: &Settings, reply: &mut Reply<'_>) {
    settings.shared.slow_log.lock().entries.clear();
    reply.simple("OK");
}
