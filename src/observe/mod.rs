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
mod hot_keys;
mod key_text;
mod lane;
mod locks;
mod pool;
mod request_text;
mod sketch;
mod slow_log;
mod worker;

pub use big_keys::{BIG_BYTES, Big, BigKeys, BigKind, BigName};
pub use hot_keys::{HotKey, HotKeys, HotKeysReport};
pub use key_text::{KEY_BYTES, KeyText};
pub use pool::{ExactCount, PoolObservation};
pub use request_text::{ARGUMENT_BYTES, ARGUMENTS, RequestText};
pub use slow_log::{SlowEntries, SlowEntry, SlowLog, SlowRequest, unix_seconds};
pub use worker::{VisitKeys, WorkerObserver};
