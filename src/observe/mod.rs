//! What operators see of the requests that pass: hot keys, big keys, slow requests.
//!
//! ```text
//! worker: WorkerObserver --one countdown per request--> at zero: a sample --> Lane (one per worker and pool)
//! reader: PoolObservation --merges the lanes--> the answer
//! ```
//!
//! A request costs one countdown and no lock. At zero the worker locks its own lane, which a reader holds only while it
//! copies it; a worker that finds it locked skips the sample. Everything is bounded: the number of keys, their length, and
//! what is kept for a reader. `proxy/dispatch` calls it for each request, the admin API reads it.

mod big_keys;
mod feed;
mod hot_keys;
mod key_text;
mod lane;
mod locks;
mod monitor;
mod pool;
mod request_text;
mod sketch;
mod slow_log;
mod tap;
mod watch;
mod worker;

pub use big_keys::{BIG_BYTES, Big, BigKeys, BigKind, BigName};
pub use feed::Batch;
pub use hot_keys::{HotKey, HotKeys, HotKeysReport};
pub use key_text::{KEY_BYTES, KeyText, VisitKeys};
pub use monitor::{MonitorFeed, Monitored, SHOWN_BYTES};
pub use pool::{ExactCount, PoolObservation, Watching};
pub use request_text::{ARGUMENT_BYTES, ARGUMENTS, RequestText};
pub use slow_log::{SlowEntries, SlowEntry, SlowLog, SlowRequest, unix_seconds};
pub use tap::{KeyTest, Tap, TapFilter, Tapped, TappedRequest};
pub use watch::{Seen, Watch};
pub use worker::WorkerObserver;
