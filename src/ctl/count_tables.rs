//! The tables of commands and of refused requests.

use crate::admin::api::answers::{Commands, Refusals};
use crate::ctl::cells::{printable, table};
use crate::text::Align::{Left, Right};

pub(super) fn commands(answer: &Commands) -> String {
    let micros = |micros: Option<u64>| micros.map(|micros| micros.to_string()).unwrap_or_default();
    let rows = answer.commands.iter().map(|one| {
        [
            printable(&one.pool),
            printable(&one.command),
            printable(&one.class),
            one.calls.to_string(),
            one.errors.to_string(),
            one.refused.to_string(),
            micros(one.total_us.checked_div(one.calls)),
            micros(one.p50_us),
            micros(one.p99_us),
            micros(one.p999_us),
        ]
    });
    let columns = [
        ("POOL", Left),
        ("COMMAND", Left),
        ("CLASS", Left),
        ("CALLS", Right),
        ("ERRORS", Right),
        ("REFUSED", Right),
        ("MEAN(us)", Right),
        ("P50(us)", Right),
        ("P99(us)", Right),
        ("P99.9(us)", Right),
    ];
    table(columns, rows.collect())
}

pub(super) fn refusals(answer: &Refusals) -> String {
    let rows = answer.refusals.iter().map(|one| {
        [
            printable(&one.pool),
            printable(&one.command),
            printable(&one.reason),
            one.count.to_string(),
            one.age_seconds.to_string(),
            printable(&one.reply),
        ]
    });
    let columns = [
        ("POOL", Left),
        ("COMMAND", Left),
        ("REASON", Left),
        ("COUNT", Right),
        ("AGE(s)", Right),
        ("LAST REPLY", Left),
    ];
    table(columns, rows.collect())
}
