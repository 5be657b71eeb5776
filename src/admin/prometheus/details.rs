//! The metrics of pools by command, class and reason.

use super::lines::{head, histogram, labels, line, seconds};
use crate::stats::{
    COMMAND_LATENCY, CommandCount, CommandMetric, ERROR_REPLIES, FileExpiry, REFUSALS,
    RefusalReason, Snapshot, TLS_EXPIRY, USER_REFUSALS, UserRefusal,
};

/// Writes them all.
pub(super) fn write(out: &mut String, snapshot: &Snapshot) {
    let (name, help) = COMMAND_LATENCY;
    head(out, name, "histogram", help);
    for (pool, counts) in snapshot.pools() {
        for (class, latency) in counts.details.commands.by_class() {
            let labels = labels([("pool", pool), ("class", class.name())]);
            histogram(out, name, &labels, &latency);
        }
    }
    for metric in CommandMetric::ALL {
        head(out, metric.name(), "counter", metric.help());
        for (pool, counts) in snapshot.pools() {
            let used = counts.details.commands.by_name().into_iter();
            for (command, count) in used.filter(|(command, _)| !command.is_empty()) {
                let command = command.to_ascii_lowercase();
                let labels = labels([("pool", pool), ("command", &command)]);
                value(out, *metric, &labels, count);
            }
        }
    }
    let (name, help) = REFUSALS;
    head(out, name, "counter", help);
    for (pool, counts) in snapshot.pools() {
        for reason in RefusalReason::ALL {
            let labels = labels([("pool", pool), ("reason", reason.name())]);
            line(
                out,
                name,
                &labels,
                counts.details.refusals.of_reason(*reason),
            );
        }
    }
    let (name, help) = USER_REFUSALS;
    head(out, name, "counter", help);
    for (pool, counts) in snapshot.pools() {
        for UserRefusal { user, quota, count } in &counts.user_refusals {
            let labels = labels([("pool", pool), ("user", user), ("quota", quota)]);
            line(out, name, &labels, count);
        }
    }
    let (name, help) = TLS_EXPIRY;
    head(out, name, "gauge", help);
    for (pool, counts) in snapshot.pools() {
        for FileExpiry { file, left_seconds } in &counts.expiries {
            line(
                out,
                name,
                &labels([("pool", pool), ("file", file)]),
                left_seconds,
            );
        }
    }
    let (name, help) = ERROR_REPLIES;
    head(out, name, "counter", help);
    for (pool, counts) in snapshot.pools() {
        let labels = labels([("pool", pool)]);
        line(out, name, &labels, counts.details.errors.total());
    }
}

fn value(
    out: &mut String,
    metric: CommandMetric,
    labels: &metrics_exporter_prometheus::LabelSet,
    count: &CommandCount,
) {
    let name = metric.name();
    match metric {
        CommandMetric::Calls => line(out, name, labels, count.calls()),
        CommandMetric::Errors => line(out, name, labels, count.failures()),
        CommandMetric::Refused => line(out, name, labels, count.rejected),
        CommandMetric::Seconds => line(out, name, labels, seconds(count.latency.sum_micros())),
    }
}
