//! Cooperative yielding to the other tasks of a worker.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

/// Has the task polled again, after every other ready task and a poll of the I/O driver.
///
/// Waking the task would put it into the run queue at once. Then the runtime polls the I/O driver only every 61 task
/// polls, and one busy client delays the I/O events of all the others by as many of its polls. Tokio's own yielding is
/// polled once for that: it defers the waker until the I/O driver was polled, which the runtime offers in no other way.
pub(crate) fn yield_now(cx: &mut Context<'_>) {
    let (Poll::Ready(()) | Poll::Pending) = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use tokio::io::AsyncReadExt;
    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::spawn_local;

    use super::*;

    /// The runtime polls the I/O driver every 61 task polls in any case.
    const POLLS_BEFORE_SOCKETS: usize = 61;

    #[test]
    fn yielding_task_lets_the_sockets_be_asked() {
        let (mut near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let mut far = tokio::net::UnixStream::from_std(far).unwrap();
            let is_read = Rc::new(Cell::new(false));
            let reader = Rc::clone(&is_read);
            spawn_local(async move {
                far.read_u8().await.unwrap();
                reader.set(true);
            });
            tokio::task::yield_now().await;
            let mut polls = 0;
            // In the run queue: the future of `block_on` would be polled between two polls of the I/O driver anyway.
            let yielding = spawn_local(poll_fn(move |cx| {
                if polls == 0 {
                    near.write_all(b"x").unwrap();
                }
                polls += 1;
                if is_read.get() || polls > POLLS_BEFORE_SOCKETS {
                    return Poll::Ready(polls);
                }
                yield_now(cx);
                Poll::Pending
            }));
            let polls = yielding.await.unwrap();
            assert!(polls < POLLS_BEFORE_SOCKETS / 4, "{polls}");
        });
    }
}
