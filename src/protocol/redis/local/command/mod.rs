//! `COMMAND` and its subcommands, from the command table: supported commands only.
//!
//! The contents match Redis's, with two exceptions: summaries are the table's own, and there is no `history`,
//! `complexity` and `notes`.

pub(crate) mod arguments;
pub(crate) mod docs;
pub(crate) mod offered;
pub(crate) mod specs;

use crate::protocol::redis::command::{Command, CommandError, flags};
use crate::protocol::redis::local::command::offered::{offered, offered_subcommands};
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::glob;
use crate::protocol::redis::state::settings::Settings;

/// The maximum number of names in one request: each has hundreds of bytes of reply.
const NAMES: usize = 1000;

pub(crate) fn all(settings: &Settings, reply: &mut Reply<'_>) {
    reply.array(offered(settings).count());
    offered(settings).for_each(|row| specs::write_row(row, settings, reply));
}

pub(crate) fn count(settings: &Settings, reply: &mut Reply<'_>) {
    reply.integer(offered(settings).count());
}

/// `COMMAND INFO [name ...]`; null for a name that is not supported.
pub(crate) fn info(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let Some(names) = requested_names(args, reply) else {
        return;
    };
    if names.is_empty() {
        return all(settings, reply);
    }
    reply.array(names.len());
    for name in names {
        match find(name, settings) {
            Some(row) => specs::write_row(row, settings, reply),
            None => reply.null(),
        }
    }
}

/// `COMMAND DOCS [name ...]`; names that are not supported are omitted.
pub(crate) fn docs(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let Some(names) = requested_names(args, reply) else {
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
        docs::write_docs(row, settings, reply);
    }
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`.
pub(crate) fn list(args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
    let words: Vec<&[u8]> = args.skip(2).collect();
    let names: Vec<String> = match words[..] {
        [] => names(settings, |_| true),
        [by, kind, what] if by.eq_ignore_ascii_case(b"FILTERBY") => {
            if kind.eq_ignore_ascii_case(b"PATTERN") {
                names(settings, |row| {
                    glob::matches_ignore_case(what, row.name.as_bytes())
                })
            } else if kind.eq_ignore_ascii_case(b"ACLCAT") {
                names(settings, |row| {
                    let mut categories = row.categories().into_iter();
                    categories.any(|category| category.as_bytes().eq_ignore_ascii_case(what))
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
pub(crate) fn of_category(category: &str, settings: &Settings, reply: &mut Reply<'_>) {
    let names = names(settings, |row| row.categories().contains(&category));
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
pub(crate) fn get_keys(args: Args<'_>, reply: &mut Reply<'_>) {
    let Some((_, keys)) = keys_of(args, reply) else {
        return;
    };
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}

/// `COMMAND GETKEYSANDFLAGS name [arg ...]`.
pub(crate) fn get_keys_and_flags(args: Args<'_>, reply: &mut Reply<'_>) {
    let Some((row, keys)) = keys_of(args.clone(), reply) else {
        return;
    };
    let (first, others) = row.access_by(args.skip(2));
    reply.array(keys.len());
    for (nth, key) in keys.iter().enumerate() {
        reply.array(2);
        reply.bulk(key);
        specs::write_access(if nth == 0 { first } else { others }, reply);
    }
}

/// The row and the keys of a request that starts after two words; else writes the error.
fn keys_of<'f>(
    mut args: Args<'f>,
    reply: &mut Reply<'_>,
) -> Option<(&'static Command, Vec<&'f [u8]>)> {
    args.nth(1);
    let request = args;
    let count = request.clone().count();
    let row = match Command::resolve(&request, count) {
        Ok(row) | Err(CommandError::Arity(row)) if row.is_offered() => row,
        Ok(row) => {
            reply.refused(row);
            return None;
        }
        Err(_) => {
            reply.error("Invalid command specified");
            return None;
        }
    };
    if !row.has_keys() {
        reply.error("The command has no key arguments");
        return None;
    }
    if !row.fits_arity(count) {
        reply.error("Invalid number of arguments specified for command");
        return None;
    }
    let mut spans = Vec::new();
    if row.collect_keys(request.clone(), &mut spans).is_err() {
        if row.flags & flags::NO_MANDATORY_KEYS == 0 {
            reply.error("Invalid arguments specified for command");
            return None;
        }
        spans.clear();
    }
    // Keys come in the order of the arguments, so one pass over these finds their bytes.
    let mut spans = spans.iter().peekable();
    let mut walk = request.clone();
    let keys = request.filter(|_| {
        let here = walk.next_span().map(|span| span.key);
        spans.next_if(|span| Some(span.key) == here).is_some()
    });
    Some((row, keys.collect()))
}

/// `CLIENT HELP`, `OBJECT HELP` and the like: the supported subcommands.
pub(crate) fn help(mut args: Args<'_>, settings: &Settings, reply: &mut Reply<'_>) {
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

/// The names in a request; writes an error if there are too many of them.
fn requested_names<'f>(args: Args<'f>, reply: &mut Reply<'_>) -> Option<Vec<&'f [u8]>> {
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
