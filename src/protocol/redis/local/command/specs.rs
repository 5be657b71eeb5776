//! One entry of `COMMAND` and `COMMAND INFO`.

use crate::protocol::redis::command::{Begin, Command, Find, KeySpec, flags};
use crate::protocol::redis::local::command::offered::offered_subcommands;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::state::settings::Settings;

/// Writes the ten fields of Redis 7.
pub(crate) fn write_row(row: &Command, settings: &Settings, reply: &mut Reply<'_>) {
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
    let categories = row.categories();
    reply.set(categories.len());
    for category in categories {
        reply.simple(&format!("@{category}"));
    }
    let tips = row.tips();
    reply.set(tips.clone().count());
    tips.for_each(|tip| reply.bulk(tip));
    let specs = row.key_specs();
    reply.set(specs.len());
    for spec in &specs {
        write_spec(spec, reply);
    }
    match offered_subcommands(row, settings).count() {
        0 => reply.set(0),
        subcommands => reply.array(subcommands),
    }
    offered_subcommands(row, settings).for_each(|sub| write_row(sub, settings, reply));
}

/// Writes the flags of [`Command::access`], each as an element.
pub(crate) fn write_access(access: &str, reply: &mut Reply<'_>) {
    let words = access.split(' ');
    reply.set(words.clone().count());
    words.for_each(|word| reply.simple(word));
}

fn write_spec(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk("flags");
    write_access(spec.access, reply);
    reply.bulk("begin_search");
    match spec.begin {
        Begin::Index(index) => {
            write_step("index", 1, reply);
            write_number("index", index, reply);
        }
        Begin::Keyword(word, from) => {
            write_step("keyword", 2, reply);
            reply.bulk("keyword");
            reply.bulk(word);
            write_number("startfrom", from, reply);
        }
        Begin::Unknown => write_step("unknown", 0, reply),
    }
    reply.bulk("find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            write_step("range", 3, reply);
            write_number("lastkey", last, reply);
            write_number("keystep", step, reply);
            write_number("limit", limit, reply);
        }
        Find::Counted { step } => {
            write_step("keynum", 3, reply);
            write_number("keynumidx", 0, reply);
            write_number("firstkey", 1, reply);
            write_number("keystep", step, reply);
        }
        Find::Unknown => write_step("unknown", 0, reply),
    }
}

/// Writes the type of a step, and the header of its fields.
fn write_step(kind: &str, fields: usize, reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk("type");
    reply.bulk(kind);
    reply.bulk("spec");
    reply.map(fields);
}

fn write_number(name: &str, number: impl Into<i64>, reply: &mut Reply<'_>) {
    reply.bulk(name);
    reply.integer(number.into());
}
