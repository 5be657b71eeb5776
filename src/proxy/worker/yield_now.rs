//! How a task that could go on gives way to the others of its worker.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

/// Has the task polled again, once every other has had its turn and the sockets were asked for news.
///
/// To wake the task would put it into the run queue at once. Then the runtime asks the sockets only every 61 polls, and
/// one busy client makes the news of all the others wait for as many of its turns.
pub(crate) fn yield_now(cx: &mut Context<'_>) {
    let (Poll::Ready(()) | Poll::Pending) = pin!(tokio::task::yield_now()).poll(cx);
}
