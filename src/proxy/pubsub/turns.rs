//! The task that completes a worker's turns, for publishers of other workers.

use std::future::poll_fn;

use tokio::task::yield_now;

use crate::protocol::TurnKeeper;

/// Yields of a turn. The first has the sockets polled, and the sessions of those that are ready run before this task
/// does; the second, those of clients that were accepted just before.
const YIELDS: usize = 2;

/// Completes the turns that are requested, until the worker ends.
pub(crate) async fn keep_turns(keeper: TurnKeeper) {
    loop {
        let turn = poll_fn(|cx| keeper.poll_requested(cx)).await;
        for _ in 0..YIELDS {
            yield_now().await;
        }
        keeper.complete(turn);
    }
}
