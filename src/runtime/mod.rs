//! Threads: one that accepts, and the workers that serve.
//!
//! ```text
//! control thread: acceptor --Order::Serve, one hop a connection--> least loaded worker
//!                 collector --Order::Publish--> every worker
//! worker thread:  one single-threaded runtime; sessions, upstreams and their buffers never leave it
//! ```

mod acceptor;
mod any_pool;
mod crew;
mod seat;
mod worker;

pub use acceptor::Acceptor;
pub use any_pool::PoolPlan;
pub use crew::{Asker, Crew, Plan};
pub use seat::{Seat, WorkerLoad};
