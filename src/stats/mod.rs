//! Statistics: one table, and the cells, snapshots and texts that are derived from it.
//!
//! [`PoolMetric`], [`ServerMetric`] and [`ProcessMetric`] are the table. A worker counts in the plain cells of its
//! own [`WorkerCells`], which no other thread can see, so a count on the hot path is one load, one add and one
//! store. It copies them into its [`WorkerSlot`] periodically and on request; the control thread sums the slots of all
//! workers with [`StatsBoard::merged`].
//!
//! Invariants:
//! - Counters only grow. Gauges may be raised by one worker and lowered by another: cells and sums wrap, so the sum
//!   over all workers is right even where the share of one worker is below zero.
//! - `server_ejects` and `server_ejected_at` belong to the health that workers share, `client_rejected` to the acceptor.
//!   No worker counts them; the caller that merges sets them afterwards, with [`Snapshot::set_ejects`] and the like.
//! - Times are whole microseconds, rounded down.

mod cells;
mod describe;
mod histogram;
mod layout;
pub mod process;
mod publish;
mod snapshot;
mod table;
mod view;

pub use cells::{Cells, PoolCellSet, PoolCells, ServerCells, WorkerCells};
pub use describe::{describe, reference};
pub use histogram::{Histogram, HistogramCounts};
pub use layout::StatsLayout;
pub use publish::{StatsBoard, WorkerSlot};
pub use snapshot::{PoolSnapshot, ServerSnapshot, Snapshot, Values};
pub use table::{Descriptor, Kind, Metric, PoolMetric, ProcessMetric, ServerMetric};
pub use view::{PoolStatsView, Rates, Sample};
