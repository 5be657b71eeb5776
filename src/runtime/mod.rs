//! The threads: the control thread, which accepts clients, and the workers, which serve them.
//!
//! ```text
//! control thread: acceptor --WorkerMessage::Serve, one hop a connection--> least loaded worker
//!                 collector --WorkerMessage::Publish--> every worker
//!                 transfer --WorkerMessage::HandOver, Adopt--> workers, when a new process takes over
//! worker thread:  one single-threaded runtime; sessions, upstreams and their buffers never leave it
//! ```

mod acceptor;
mod admission;
mod client_permit;
mod client_setup;
mod encryption;
mod leaving;
mod pool;
mod pool_list;
mod pool_setup;
mod rejection;
mod sessions;
mod system_memory;
mod tls_refusals;
mod transfer;
mod worker;
mod worker_thread;
mod workers;

pub use acceptor::Acceptor;
pub use admission::AdmissionControl;
pub use client_permit::{ClientPermit, WorkerLoad};
pub use leaving::{Departed, Start};
pub use pool_list::PoolList;
pub use pool_setup::{PoolId, PoolSetup};
pub use system_memory::system_memory;
pub use tls_refusals::TlsRefusals;
pub use transfer::Transfer;
pub use worker_thread::WorkerError;
pub use workers::{RuntimeConfig, StatsCollector, Workers};
