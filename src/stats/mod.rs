//! Statistics: one table, and the cells, snapshots and texts that are derived from it.
//!
//! [`PoolMetric`], [`ServerMetric`] and [`ProcessMetric`] are the table. A worker counts in the plain cells of its
//! own [`WorkerCells`], which no other thread can see, so a count on the hot path is one load, one add and one
//! store. It copies them into its [`WorkerSlot`] periodically and on request; the control thread sums the slots of all
//! workers with [`StatsBoard::merged`].
//!
//! Pools and servers have names and may come and leave at any time. A [`StatsLayout`] has the pools and servers that a
//! reader wants; counts are matched by name, whatever a worker has.
//!
//! Invariants:
//! - Counters only grow. The counts of a server that has left its pool are in the pool's `gone`, those of a pool that has
//!   left in that of the snapshot: sums over servers and over pools only grow, too.
//! - Gauges may be raised by one worker and lowered by another: cells and sums wrap, so the sum
//!   over all workers is right even where the share of one worker is below zero.
//! - `server_ejects` and `server_ejected_at` belong to the health that workers share, `client_rejected` to the acceptor.
//!   No worker counts them; the caller that merges sets them afterwards, with [`Snapshot::set_of_pool`] and the like.
//! - Times are whole microseconds, rounded down.

mod cells;
mod commands;
mod describe;
mod detail_table;
mod errors;
mod histogram;
mod layout;
pub mod process;
mod publish;
mod refusals;
mod short_text;
mod snapshot;
mod table;
mod view;
mod worker_cells;

pub use cells::{Cells, PoolCells, ServerCells};
pub use commands::{
    CommandCells, CommandClass, CommandCount, CommandCounts, CommandId, CommandInfo, CommandTable,
    NO_COMMANDS,
};
pub use describe::{describe, reference};
pub use detail_table::{
    COMMAND_LATENCY, CommandMetric, ERROR_REPLIES, POOL_LATENCY, REFUSALS, REPLY_WAIT,
    SERVER_LATENCY, TLS_EXPIRY, USER_REFUSALS, WRITE_WAIT,
};
pub use errors::{ErrorCells, ErrorCounts, OTHER_ERRORS};
pub use histogram::{Histogram, HistogramCounts, Latency};
pub use layout::StatsLayout;
pub use publish::{StatsBoard, WorkerSlot};
pub use refusals::{RefusalCells, RefusalCounts, RefusalReason, RefusalRow, UnknownName};
pub use short_text::ShortText;
pub use snapshot::{
    FileExpiry, PoolDetails, PoolSnapshot, ServerSnapshot, Snapshot, UserRefusal, Values,
};
pub use table::{Descriptor, Kind, Metric, PoolMetric, ProcessMetric, ServerMetric};
pub use view::{PoolStatsView, Rates, Sample};
pub use worker_cells::{PoolCellSet, WorkerCells};
