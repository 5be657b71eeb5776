//! The invariants of the data plane, and the tests that hold them.
//!
//! 1. Order, and 2. answered exactly once: `replies`, and `proxy::tests::exactly_once` next to the code.
//! 3. Bounded: [`bounded`], and `faults::clients` for the client that never reads.
//! 4. Both directions advance in the same poll: [`bounded`].
//! 5. One write per socket and turn: [`writes`]; and [`calls`] checks the number of all system calls of requests.
//! 6. No allocation for a request with one key: `tests/allocations.rs`.
//! 7. Nothing is sent twice: [`once`].
//! 8. No borrow across a call: `proxy::tests::reentry` next to the code.
//!
//! Clients share the connections to the servers; [`shared`] checks that no client can cause them to close.
//!
//! Besides, workers share nothing on the hot path: their types cannot leave the thread, or this does not compile.

mod bounded;
mod calls;
mod once;
mod shared;
mod strace;
mod writes;

use ringroad::buf::Scratch;
use ringroad::protocol::redis::Redis;
use ringroad::proxy::{LocalPool, ReplyQueue, Session};
use ringroad::stats::WorkerCells;
use static_assertions::assert_not_impl_any;

assert_not_impl_any!(Session<Redis>: Send, Sync);
assert_not_impl_any!(LocalPool<Redis>: Send, Sync);
assert_not_impl_any!(ReplyQueue: Send, Sync);
assert_not_impl_any!(WorkerCells: Send, Sync);
// May move, before its worker starts; never shared.
assert_not_impl_any!(Scratch: Sync);
