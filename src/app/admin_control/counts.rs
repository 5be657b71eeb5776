//! Commands and refused requests, from what workers publish.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::admin::api::answers::{CommandUse, Commands, Refusals, RefusedCommand};
use crate::runtime::PoolSetup;
use crate::stats::{
    CommandCount, CommandId, PoolSnapshot, RefusalReason, RefusalRow, Snapshot, UnknownName,
};

/// What stands for the commands whose names are not kept.
const OTHERS: &str = "(others)";
/// What stands for a command where there is none.
const NONE: &str = "(none)";

/// The commands of these pools.
pub(super) fn commands(setups: &[PoolSetup], snapshot: &Snapshot) -> Commands {
    let of_pool = |(name, pool): (&str, &PoolSnapshot)| {
        let counts = &pool.details.commands;
        let rows = counts
            .by_name()
            .into_iter()
            .filter(|(name, _)| !name.is_empty());
        let mut uses: Vec<_> = rows
            .map(|(command, count)| command_use(name, command, counts.class(count.command), count))
            .collect();
        uses.sort_by_key(|one| u64::MAX - one.calls);
        uses
    };
    Commands {
        commands: of_pools(setups, snapshot).flat_map(of_pool).collect(),
    }
}

fn command_use(pool: &str, command: &str, class: &str, count: &CommandCount) -> CommandUse {
    let quantile = |per_thousand| {
        let bound = count.latency.quantile(per_thousand)?;
        u64::try_from(bound.as_micros()).ok()
    };
    CommandUse {
        pool: pool.to_owned(),
        command: command.to_ascii_lowercase(),
        class: class.to_owned(),
        calls: count.calls(),
        errors: count.failures(),
        refused: count.rejected,
        total_us: count.latency.sum_micros(),
        p50_us: quantile(500),
        p99_us: quantile(990),
        p999_us: quantile(999),
    }
}

/// The refused requests of these pools.
pub(super) fn refusals(setups: &[PoolSetup], snapshot: &Snapshot) -> Refusals {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_millis = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let of_pool = |(name, pool): (&str, &PoolSnapshot)| {
        let rows = pool.details.refusals.rows().iter();
        let mut refused: Vec<_> = rows
            .map(|row| {
                let command = pool.details.commands.name(row.command);
                refused_command(name, command, row, now_millis)
            })
            .collect();
        refused.sort_by_key(|one| u64::MAX - one.count);
        refused
    };
    Refusals {
        refusals: of_pools(setups, snapshot).flat_map(of_pool).collect(),
    }
}

fn refused_command(pool: &str, command: &str, row: &RefusalRow, now_millis: u64) -> RefusedCommand {
    let unknown = row.unknown != UnknownName::default();
    let command = match row.reason {
        _ if unknown => row.unknown.as_str().to_owned(),
        RefusalReason::Protocol | RefusalReason::MemoryLimit => NONE.to_owned(),
        _ if row.command == CommandId::NONE => OTHERS.to_owned(),
        _ => command.to_ascii_lowercase(),
    };
    RefusedCommand {
        pool: pool.to_owned(),
        command,
        unknown,
        reason: row.reason.name().to_owned(),
        meaning: row.reason.help().to_owned(),
        count: row.count,
        age_seconds: now_millis.saturating_sub(row.last_millis) / 1000,
        reply: row.example.as_str().to_owned(),
    }
}

fn of_pools<'s>(
    setups: &'s [PoolSetup],
    snapshot: &'s Snapshot,
) -> impl Iterator<Item = (&'s str, &'s PoolSnapshot)> {
    let is_wanted = |name: &str| setups.iter().any(|setup| &*setup.name == name);
    snapshot.pools().filter(move |(name, _)| is_wanted(name))
}
