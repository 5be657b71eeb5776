//! One entry of `COMMAND DOCS`.

use super::{Reply, Settings, offered_subcommands};
use crate::protocol::redis::command::Command;

pub(super) fn write_docs(row: &Command, settings: &Settings, reply: &mut Reply<'_>) {
    let arguments: Vec<&str> = arguments(row.usage).collect();
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
        for argument in arguments {
            write_argument(argument, reply);
        }
    }
    if subcommands > 0 {
        reply.bulk("subcommands");
        reply.map(subcommands);
        offered_subcommands(row, settings).for_each(|sub| write_docs(sub, settings, reply));
    }
}

/// One argument of the usage line, under the name that `redis-cli` shows as a hint.
fn write_argument(argument: &str, reply: &mut Reply<'_>) {
    let optional = argument
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    reply.map(if optional.is_some() { 3 } else { 2 });
    reply.bulk("name");
    reply.bulk(optional.unwrap_or(argument));
    reply.bulk("type");
    reply.bulk("string");
    if optional.is_some() {
        reply.bulk("flags");
        reply.set(1);
        reply.simple("optional");
    }
}

/// Splits a usage line at the spaces that no bracket encloses.
fn arguments(usage: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    usage
        .split(move |c| {
            match c {
                '[' | '<' => depth += 1,
                ']' | '>' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ' ' && depth == 0
        })
        .filter(|argument| !argument.is_empty())
}
