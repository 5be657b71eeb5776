//! Counts by command at one time: plain data that crosses threads.

use super::{CommandClass, CommandId, CommandInfo, CommandTable};
use crate::stats::histogram::HistogramCounts;

/// The counts of a pool's commands.
#[derive(Debug, Clone, Default)]
pub struct CommandCounts {
    table: CommandTable,
    /// One for each command that was used.
    rows: Vec<CommandCount>,
}

/// The counts of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandCount {
    /// The command.
    pub command: CommandId,
    /// Of every answered request: from its acceptance to the end of its reply.
    pub latency: HistogramCounts,
    /// Requests that were queued in a transaction.
    pub queued: u64,
    /// Error replies to answered requests.
    pub failed: u64,
    /// Requests that no server has answered.
    pub unanswered: u64,
    /// Requests that the proxy has refused.
    pub rejected: u64,
}

impl CommandCounts {
    /// The counts, in no order.
    #[must_use]
    pub fn rows(&self) -> &[CommandCount] {
        &self.rows
    }

    /// The counts of the commands that have any with their names, by name.
    #[must_use]
    pub fn by_name(&self) -> Vec<(&'static str, &CommandCount)> {
        let used = self.rows.iter().filter(|row| !row.is_empty());
        let mut named: Vec<_> = used.map(|row| (self.name(row.command), row)).collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        named
    }

    /// The name of a command; empty for none.
    #[must_use]
    pub fn name(&self, command: CommandId) -> &'static str {
        self.info(command).name
    }

    /// The name of the class of a command.
    #[must_use]
    pub fn class(&self, command: CommandId) -> &'static str {
        self.info(command).class.name()
    }

    /// The latencies by class; a class without any is omitted.
    #[must_use]
    pub fn by_class(&self) -> Vec<(CommandClass, HistogramCounts)> {
        let of_class = |class| {
            let mut sum: Option<HistogramCounts> = None;
            for row in &self.rows {
                if self.info(row.command).class == class && row.latency.count() > 0 {
                    sum.get_or_insert_default().merge(&row.latency);
                }
            }
            sum.map(|sum| (class, sum))
        };
        CommandClass::ALL.into_iter().filter_map(of_class).collect()
    }

    /// Adds the counts of another worker.
    pub(in crate::stats) fn merge(&mut self, other: &Self) {
        if self.rows.is_empty() {
            self.clone_from(other);
            return;
        }
        for (guess, theirs) in other.rows.iter().enumerate() {
            let is_same = |row: &CommandCount| row.command == theirs.command;
            let place = match self.rows.get(guess) {
                Some(row) if is_same(row) => Some(guess),
                _ => self.rows.iter().position(is_same),
            };
            match place.and_then(|place| self.rows.get_mut(place)) {
                Some(mine) => mine.merge(theirs),
                None => self.rows.push(theirs.clone()),
            }
        }
    }

    /// Subtracts earlier counts of the same pool.
    pub fn subtract(&mut self, earlier: &Self) {
        for theirs in &earlier.rows {
            let mut rows = self.rows.iter_mut();
            if let Some(mine) = rows.find(|row| row.command == theirs.command) {
                mine.subtract(theirs);
            }
        }
    }

    /// Replaces the counts. The commands are those of the last time, and perhaps more.
    pub(super) fn overwrite(
        &mut self,
        table: CommandTable,
        counts: impl Iterator<Item = CommandCount>,
    ) {
        self.table = table;
        let mut len = 0;
        for count in counts {
            match self.rows.get_mut(len) {
                Some(row) => *row = count,
                None => self.rows.push(count),
            }
            len += 1;
        }
        self.rows.truncate(len);
    }

    fn info(&self, command: CommandId) -> &'static CommandInfo {
        self.table.get(command.row()).unwrap_or(&CommandInfo::NONE)
    }
}

impl CommandCount {
    /// Requests that were executed, or should have been: all but those that the proxy has refused.
    #[must_use]
    pub fn calls(&self) -> u64 {
        let answered = self.latency.count();
        answered
            .wrapping_add(self.queued)
            .wrapping_add(self.unanswered)
    }

    /// Those of the calls that ended with an error.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.wrapping_add(self.unanswered)
    }

    fn is_empty(&self) -> bool {
        self.calls() == 0 && self.rejected == 0
    }

    fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.combine(other, u64::wrapping_add);
    }

    fn subtract(&mut self, earlier: &Self) {
        self.latency.subtract(&earlier.latency);
        self.combine(earlier, u64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        for (mine, theirs) in [
            (&mut self.queued, other.queued),
            (&mut self.failed, other.failed),
            (&mut self.unanswered, other.unanswered),
            (&mut self.rejected, other.rejected),
        ] {
            *mine = with(*mine, theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(u16, u64)]) -> CommandCounts {
        let row = |&(command, rejected)| CommandCount {
            command: CommandId::at(command),
            rejected,
            ..CommandCount::default()
        };
        CommandCounts {
            table: &[],
            rows: rows.iter().map(row).collect(),
        }
    }

    fn rejected(counts: &CommandCounts) -> Vec<(usize, u64)> {
        let rows = counts.rows().iter();
        rows.map(|row| (row.command.row(), row.rejected)).collect()
    }

    #[test]
    fn workers_merge_by_command_in_any_order() {
        let mut sum = CommandCounts::default();
        sum.merge(&counts(&[(0, 1), (5, 2)]));
        sum.merge(&counts(&[(0, 10), (7, 20), (5, 30)]));
        assert_eq!(rejected(&sum), [(0, 11), (5, 32), (7, 20)]);
        sum.subtract(&counts(&[(7, 5), (9, 1), (5, 100)]));
        assert_eq!(rejected(&sum), [(0, 11), (5, 0), (7, 15)]);
    }
}
