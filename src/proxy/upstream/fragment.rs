//! A request that is written in pieces.

use std::cell::RefMut;

use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::protocol::Protocol;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::queue::Queue;
use crate::proxy::worker::wake::WakeOnce;

/// A request that is being written into the write buffer of its connection. Dropped before it is closed, it leaves
/// nothing there.
#[derive(Debug)]
pub(crate) struct Fragment<'c, P: Protocol> {
    queue: RefMut<'c, Queue<P>>,
    wake: &'c WakeOnce,
    /// Its offset in the write buffer.
    start: usize,
}

impl<'c, P: Protocol> Fragment<'c, P> {
    /// One in this queue, whose connection is woken for it.
    pub(crate) fn new(queue: RefMut<'c, Queue<P>>, wake: &'c WakeOnce) -> Self {
        Self {
            start: queue.out_len(),
            queue,
            wake,
        }
    }

    /// The buffer for its bytes.
    pub(crate) fn out(&mut self) -> &mut WriteBuf {
        self.queue.out()
    }

    /// Queues it.
    pub(crate) fn close(mut self, responder: Responder<P>, now: Instant) {
        let len = self.queue.out_len() - self.start;
        self.queue.enqueue(len, || responder, now);
        self.start += len;
        let wake = self.wake;
        drop(self);
        wake.wake();
    }
}

impl<P: Protocol> Drop for Fragment<'_, P> {
    fn drop(&mut self) {
        if self.queue.out_len() > self.start {
            let start = self.start;
            self.queue.out().truncate(start);
        }
    }
}
