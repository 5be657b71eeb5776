//! One entry of `COMMAND DOCS`.

use crate::protocol::redis::command::Command;
use crate::protocol::redis::local::command::arguments;
use crate::protocol::redis::local::command::offered::offered_subcommands;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::state::settings::Settings;

pub(crate) fn write_docs(row: &Command, settings: &Settings, reply: &mut Reply<'_>) {
    let arguments = arguments::parse(row.usage);
    let subcommands = offered_subcommands(row, settings).count();
    let fields = 3 + usize::from(!arguments.is_empty()) + usize::from(subcommands > 0);
    reply.bulk(row.name.to_ascii_lowercase());
    reply.map(fields);
    reply.bulk("summary");
    reply.bulk(row.summary);
    reply.bulk("since");
    reply.bulk(row.since);
    reply.bulk("group");
    reply.bulk(row.group.redis_name());
    if !arguments.is_empty() {
        reply.bulk("arguments");
        reply.array(arguments.len());
        for argument in &arguments {
            arguments::write(argument, reply);
        }
    }
    if subcommands > 0 {
        reply.bulk("subcommands");
        reply.map(subcommands);
        offered_subcommands(row, settings).for_each(|sub| write_docs(sub, settings, reply));
    }
}
