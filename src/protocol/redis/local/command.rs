//! `COMMAND` and its subcommands, from the command table: only what is offered.

use super::{Reply, Settings, glob};
use crate::protocol::redis::Args;
use crate::protocol::redis::command::{Command, Group, Unfit, flags};

/// Names in one request at the most: each is answered with hundreds of bytes.
const NAMES: usize = 1000;

/// What the pool offers: what the table does, without what is switched off.
fn offered(settings: &Settings) -> impl Iterator<Item = &'static Command> + Clone {
    Command::all().filter(|row| row.is_offered() && !settings.disabled.has(row))
}

fn offered_subcommands(
    row: &Command,
    settings: &Settings,
) -> impl Iterator<Item = &'static Command> + Clone {
    let rows = row.subcommands.iter();
    rows.filter(|row| row.is_offered() && !settings.disabled.has(row))
}

pub(super) fn all(settings: &Settings, reply: &mut Reply<'_>) {
    reply.array(offered(settings).count());
    offered(settings).for_each(|row| write_row(row, settings, reply));
}

pub(super) fn count(settings: &Settings, reply: &mut Reply<'_>) {
    reply.integer(offered(settings).count());
}

/// `COMMAND INFO [name ...]`; a null stands for a name that is not offered.
pub(super) fn info(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let Some(names) = asked(args, reply) else {
        return;
    };
    if names.is_empty() {
        return all(settings, reply);
    }
    reply.array(names.len());
    for name in names {
        match find(name, settings) {
            Some(row) => write_row(row, settings, reply),
            None => reply.null(),
        }
    }
}

/// `COMMAND DOCS [name ...]`; a name that is not offered is left out.
pub(super) fn docs(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let Some(names) = asked(args, reply) else {
        return;
    };
    let rows: Vec<&Command> = if names.is_empty() {
        offered(settings).collect()
    } else {
        names
            .into_iter()
            .filter_map(|name| find(name, settings))
            .collect()
    };
    reply.map(rows.len());
    for row in rows {
        write_docs(row, settings, reply);
    }
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`.
pub(super) fn list(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let words: Vec<&[u8]> = args.skip(2).collect();
    let names: Vec<String> = match words[..] {
        [] => names(settings, |_| true),
        [by, kind, what] if by.eq_ignore_ascii_case(b"FILTERBY") => {
            if kind.eq_ignore_ascii_case(b"PATTERN") {
                names(settings, |row| glob::matches(what, row.name.as_bytes()))
            } else if kind.eq_ignore_ascii_case(b"ACLCAT") {
                names(settings, |row| {
                    categories(row).any(|category| category.as_bytes().eq_ignore_ascii_case(what))
                })
            } else if kind.eq_ignore_ascii_case(b"MODULE") {
                Vec::new()
            } else {
                return reply.error("syntax error");
            }
        }
        _ => return reply.error("syntax error"),
    };
    reply.array(names.len());
    for name in names {
        reply.bulk(name);
    }
}

/// `ACL CAT category`.
pub(super) fn of_category(category: &str, settings: &Settings, reply: &mut Reply<'_>) {
    let names = names(settings, |row| {
        categories(row).any(|found| found == category)
    });
    reply.array(names.len());
    for name in names {
        reply.bulk(name);
    }
}

fn names(settings: &Settings, keep: impl Fn(&Command) -> bool) -> Vec<String> {
    offered(settings)
        .flat_map(|row| std::iter::once(row).chain(offered_subcommands(row, settings)))
        .filter(|row| keep(row))
        .map(|row| row.name.to_ascii_lowercase())
        .collect()
}

/// `COMMAND GETKEYS name [arg ...]`.
pub(super) fn get_keys(mut args: Args<'_>, reply: &mut Reply<'_>) {
    args.nth(1);
    let request = args;
    let count = request.clone().count();
    let row = match Command::resolve(&request, count) {
        Ok(row) if row.is_offered() => row,
        Ok(row) => return reply.refused(row),
        Err(Unfit::Arity(_)) => {
            return reply.error("Invalid number of arguments specified for command");
        }
        Err(_) => return reply.error("Invalid command specified"),
    };
    let mut spans = Vec::new();
    if row.collect_keys(request.clone(), &mut spans).is_err() {
        return reply.error("Invalid arguments specified for command");
    }
    if spans.is_empty() || row.works_on_shards() {
        return reply.error("The command has no key arguments");
    }
    reply.array(spans.len());
    // Keys come in the order of the arguments, so one walk over these finds their bytes.
    let mut spans = spans.iter().peekable();
    let mut walk = request.clone();
    for word in request {
        let here = walk.next_span().map(|span| span.key);
        if spans.next_if(|span| Some(span.key) == here).is_some() {
            reply.bulk(word);
        }
    }
}

/// `CLIENT HELP`, `OBJECT HELP` and the like: what the table offers of the command.
pub(super) fn help(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let Some(row) = args.next().and_then(Command::lookup) else {
        return reply.error("syntax error");
    };
    reply.array(1 + 2 * offered_subcommands(row, settings).count());
    let head = format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        row.name
    );
    reply.simple(&head);
    for sub in offered_subcommands(row, settings) {
        reply.simple(format!("{} {}", sub.own_name(), sub.usage).trim_end());
        reply.simple(&format!("    {}.", sub.summary));
    }
}

/// The names that a request gives, or an error when there are too many of them.
fn asked<'f>(args: Args<'f>, reply: &mut Reply<'_>) -> Option<Vec<&'f [u8]>> {
    let names: Vec<&[u8]> = args.skip(2).take(NAMES + 1).collect();
    if names.len() > NAMES {
        reply.error("too many command names");
        return None;
    }
    Some(names)
}

fn find(name: &[u8], settings: &Settings) -> Option<&'static Command> {
    let mut words = name.splitn(2, |&byte| byte == b'|');
    let row = Command::lookup(words.next()?)?;
    let row = match words.next() {
        Some(own) => row.subcommand(own)?,
        None => row,
    };
    (row.is_offered() && !settings.disabled.has(row)).then_some(row)
}

/// The ten fields that Redis 7 gives; tips and key specifications are left empty.
fn write_row(row: &Command, settings: &Settings, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(row.name.to_ascii_lowercase());
    reply.integer(row.arity);
    let flags = flags::SPELLED
        .iter()
        .filter(|(_, bit)| row.flags & bit != 0)
        .map(|(flag, _)| *flag)
        .chain(row.has_movable_keys().then_some("movablekeys"));
    reply.set(flags.clone().count());
    flags.for_each(|flag| reply.simple(flag));
    let (first, last, step) = row.legacy_range();
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories = categories(row);
    reply.set(categories.clone().count());
    categories.for_each(|category| reply.simple(&format!("@{category}")));
    reply.set(0);
    reply.set(0);
    match offered_subcommands(row, settings).count() {
        0 => reply.set(0),
        subcommands => reply.array(subcommands),
    }
    offered_subcommands(row, settings).for_each(|sub| write_row(sub, settings, reply));
}

fn write_docs(row: &Command, settings: &Settings, reply: &mut Reply<'_>) {
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

fn categories(row: &Command) -> impl Iterator<Item = &'static str> + Clone {
    let kind = match row.flags & (flags::READ | flags::WRITE) {
        flags::READ => Some("read"),
        flags::WRITE => Some("write"),
        _ => None,
    };
    let group = match row.group {
        Group::Generic => Some("keyspace"),
        Group::SortedSets => Some("sortedset"),
        Group::Server | Group::Cluster => None,
        other => Some(other.redis_name()),
    };
    let fast = row.flags & flags::FAST != 0;
    [kind, group, Some(if fast { "fast" } else { "slow" })]
        .into_iter()
        .flatten()
}
