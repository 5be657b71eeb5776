//! Answers about the requests that pass, as text for people.

use chrono::{Local, TimeZone as _};

use crate::admin::api::answers::observed::{BigKeys, HotKeys, PoolHotKeys, SlowLog, Tapped};
use crate::ctl::cells::{printable, table};
use crate::text;
use crate::text::Align::{Left, Right};

pub(super) fn hot_keys(answer: &HotKeys) -> String {
    let pools = answer.pools.iter().map(pool_hot_keys);
    pools.collect::<Vec<_>>().join("\n")
}

fn pool_hot_keys(pool: &PoolHotKeys) -> String {
    let how = match pool.sampled_one_in {
        1 => "all of them".to_owned(),
        many => format!("one in {many} of them"),
    };
    let first = format!(
        "pool {}: {:.0} requests/s, over {:.1} s, {how} looked at\n",
        printable(&pool.pool),
        pool.requests_per_second,
        pool.window_seconds
    );
    if pool.keys.is_empty() {
        return first + "no key was named\n";
    }
    let rows = pool.keys.iter().map(|key| {
        [
            key_text(&key.key, key.truncated),
            format!("{:.1}", key.requests_per_second),
            format!("{:.1}", key.error_per_second),
            format!("{:.2}%", key.share * 100.0),
        ]
    });
    let columns = [
        ("KEY", Left),
        ("REQUESTS/S", Right),
        ("+-", Right),
        ("SHARE", Right),
    ];
    first + &table(columns, rows.collect())
}

pub(super) fn big_keys(answer: &BigKeys) -> String {
    if answer.big.is_empty() {
        return "no request and no reply had 32 KiB in the last minutes\n".to_owned();
    }
    let rows = answer.big.iter().map(|big| {
        let others = match big.keys {
            0 | 1 => String::new(),
            keys => format!(" (and {} more keys)", keys - 1),
        };
        [
            printable(&big.pool),
            printable(&big.server),
            big.kind.name().to_owned(),
            text::size(big.bytes as u64),
            printable(&big.command),
            key_text(&big.key, big.truncated) + &others,
            big.times.to_string(),
            format!("{} s", big.age_seconds),
        ]
    });
    let columns = [
        ("POOL", Left),
        ("SERVER", Left),
        ("KIND", Left),
        ("SIZE", Right),
        ("COMMAND", Left),
        ("KEY", Left),
        ("TIMES", Right),
        ("LAST", Right),
    ];
    table(columns, rows.collect())
}

pub(super) fn slow_log(answer: &SlowLog) -> String {
    if answer.requests.is_empty() {
        return "no request was slow\n".to_owned();
    }
    let rows = answer.requests.iter().map(|slow| {
        [
            time(slow.time),
            printable(&slow.pool),
            printable(&slow.server),
            millis(slow.took_us),
            millis(slow.waited_us),
            millis(slow.server_us),
            printable(&slow.client),
            text::printable_args(&slow.args),
        ]
    });
    let columns = [
        ("TIME", Left),
        ("POOL", Left),
        ("SERVER", Left),
        ("TOOK", Right),
        ("IN_PROXY", Right),
        ("AT_SERVER", Right),
        ("CLIENT", Left),
        ("REQUEST", Left),
    ];
    table(columns, rows.collect())
}

pub(super) fn tap(answer: &Tapped) -> String {
    let rows = answer.requests.iter().map(|request| {
        let seconds = i64::try_from(request.time_us / 1_000_000).unwrap_or(i64::MAX);
        let time = Local.timestamp_opt(seconds, 0).earliest();
        let time = time.map_or_else(String::new, |time| time.format("%T").to_string());
        [
            format!("{time}.{:06}", request.time_us % 1_000_000),
            printable(&request.client),
            request.db.to_string(),
            printable(&request.servers.join(" ")),
            text::printable_args(&request.args),
        ]
    });
    let columns = [
        ("TIME", Left),
        ("CLIENT", Left),
        ("DB", Right),
        ("SERVER", Left),
        ("REQUEST", Left),
    ];
    let shown = answer.requests.len();
    let mut last = format!("{shown} of {} requests that fit\n", answer.matched);
    if answer.missed > 0 {
        last = format!(
            "{}, {} could not be shown\n",
            last.trim_end(),
            answer.missed
        );
    }
    if shown == 0 {
        return last;
    }
    table(columns, rows.collect()) + &last
}

fn key_text(key: &str, is_truncated: bool) -> String {
    printable(key) + if is_truncated { "..." } else { "" }
}

/// The local time.
fn time(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    let time = Local.timestamp_opt(seconds, 0).earliest();
    time.map_or_else(String::new, |time| time.format("%F %T").to_string())
}

fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
