//! The cells of a pool's commands in one worker.

use std::cell::{Cell, OnceCell, RefCell};

use super::counts::{CommandCount, CommandCounts};
use super::{CommandId, CommandTable, NO_COMMANDS};
use crate::stats::histogram::{Histogram, HistogramCounts, Latency};

/// The cells of every command of a pool that was used. Not `Sync`: they belong to one worker.
#[derive(Debug)]
pub struct CommandCells {
    table: CommandTable,
    /// One for each row of the table.
    rows: Box<[OnceCell<Box<CommandCell>>]>,
    /// The rows that were used, in the order of their first use.
    used: RefCell<Vec<CommandId>>,
    /// Requests without a command, or without a table.
    none: CommandCell,
    /// The latencies that the pool's histogram leaves out.
    apart: Histogram,
}

/// The cells of a command.
#[derive(Debug, Default)]
struct CommandCell {
    /// Of every answered request: from its acceptance to the end of its reply.
    latency: Histogram,
    queued: Cell<u64>,
    failed: Cell<u64>,
    unanswered: Cell<u64>,
    rejected: Cell<u64>,
}

impl CommandCells {
    /// Cells for the commands of a table.
    #[must_use]
    pub fn new(table: CommandTable) -> Self {
        Self {
            table,
            rows: table.iter().map(|_| OnceCell::new()).collect(),
            used: RefCell::default(),
            none: CommandCell::default(),
            apart: Histogram::default(),
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> CommandTable {
        self.table
    }

    /// Records a request that servers have answered.
    #[inline]
    pub fn record(&self, command: CommandId, latency: Latency) {
        self.cell(command).latency.record(latency);
    }

    /// Records a request whose latency says nothing of the servers: the proxy has answered it, or it has waited for other
    /// clients.
    pub fn record_apart(&self, command: CommandId, latency: Latency) {
        self.record(command, latency);
        self.apart.record(latency);
    }

    /// Counts a request that is queued in a transaction. Its time will be that of EXEC.
    pub fn queued(&self, command: CommandId) {
        bump(&self.cell(command).queued);
    }

    /// Counts an error reply to a request that is recorded.
    pub fn failed(&self, command: CommandId) {
        bump(&self.cell(command).failed);
    }

    /// Counts a request that no server has answered.
    pub fn unanswered(&self, command: CommandId) {
        bump(&self.cell(command).unanswered);
    }

    /// Counts a request that the proxy has refused.
    pub fn rejected(&self, command: CommandId) {
        bump(&self.cell(command).rejected);
    }

    #[inline]
    fn cell(&self, command: CommandId) -> &CommandCell {
        match self.rows.get(command.row()).and_then(OnceCell::get) {
            Some(cell) => cell,
            None => self.first(command),
        }
    }

    /// The cells of a command that is used for the first time.
    #[cold]
    fn first(&self, command: CommandId) -> &CommandCell {
        if command == CommandId::NONE {
            return &self.none;
        }
        let Some(row) = self.rows.get(command.row()) else {
            return &self.none;
        };
        row.get_or_init(|| {
            self.used.borrow_mut().push(command);
            Box::default()
        })
    }

    /// Overwrites `counts` with the current ones, and returns the latencies of the pool. Allocates nothing unless a command
    /// was used for the first time.
    pub(in crate::stats) fn copy_to(&self, counts: &mut CommandCounts) -> HistogramCounts {
        let used = self.used.borrow();
        let mut sum = HistogramCounts::default();
        let cells = used.iter().filter_map(|id| {
            let cell = self.rows.get(id.row())?.get()?;
            Some((*id, &**cell))
        });
        let none = [(CommandId::NONE, &self.none)];
        counts.overwrite(
            self.table,
            none.into_iter().chain(cells).map(|(id, cell)| {
                let count = cell.count(id);
                sum.merge(&count.latency);
                count
            }),
        );
        sum.subtract(&self.apart.counts());
        sum
    }
}

impl CommandCell {
    fn count(&self, command: CommandId) -> CommandCount {
        CommandCount {
            command,
            latency: self.latency.counts(),
            queued: self.queued.get(),
            failed: self.failed.get(),
            unanswered: self.unanswered.get(),
            rejected: self.rejected.get(),
        }
    }
}

impl Default for CommandCells {
    /// Cells without a table: all commands are counted together.
    fn default() -> Self {
        Self::new(&NO_COMMANDS)
    }
}

fn bump(cell: &Cell<u64>) {
    cell.set(cell.get().wrapping_add(1));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::commands::{CommandClass, CommandInfo};

    static TABLE: [CommandInfo; 3] = [
        CommandInfo::NONE,
        CommandInfo {
            name: "GET",
            class: CommandClass::Read,
        },
        CommandInfo {
            name: "SET",
            class: CommandClass::Write,
        },
    ];

    const GET: CommandId = CommandId::at(1);
    const SET: CommandId = CommandId::at(2);

    fn took(micros: u64) -> Latency {
        Latency::of(Duration::from_micros(micros))
    }

    #[test]
    fn pool_latency_is_the_sum_without_what_is_apart() {
        let cells = CommandCells::new(&TABLE);
        cells.record(SET, took(40));
        cells.record(GET, took(5));
        cells.record(GET, took(5));
        cells.record_apart(GET, took(5));
        cells.record(CommandId::NONE, took(1000));
        let mut counts = CommandCounts::default();
        let pool = cells.copy_to(&mut counts);
        assert_eq!((pool.count(), pool.sum_micros()), (4, 1050));
        let listed: Vec<_> = counts
            .rows()
            .iter()
            .map(|row| (counts.name(row.command), row.calls()))
            .collect();
        assert_eq!(listed, [("", 1), ("SET", 1), ("GET", 3)]);
    }

    #[test]
    fn unknown_row_is_counted_as_no_command() {
        let cells = CommandCells::default();
        cells.record(SET, took(1));
        cells.failed(CommandId::at(9000));
        let mut counts = CommandCounts::default();
        assert_eq!(cells.copy_to(&mut counts).count(), 1);
        assert_eq!(counts.rows().len(), 1);
        assert_eq!(counts.rows()[0].failed, 1);
    }

    #[test]
    fn each_kind_of_count_has_its_own_cell() {
        let cells = CommandCells::new(&TABLE);
        for (times, count) in [
            (1, CommandCells::queued as fn(&CommandCells, CommandId)),
            (2, CommandCells::failed),
            (3, CommandCells::unanswered),
            (4, CommandCells::rejected),
        ] {
            for _ in 0..times {
                count(&cells, GET);
            }
        }
        let mut counts = CommandCounts::default();
        cells.copy_to(&mut counts);
        let get = counts.rows().iter().find(|row| row.command == GET).unwrap();
        let all = [get.queued, get.failed, get.unanswered, get.rejected];
        assert_eq!(all, [1, 2, 3, 4]);
        assert_eq!((get.calls(), get.failures()), (1 + 3, 2 + 3));
    }
}
