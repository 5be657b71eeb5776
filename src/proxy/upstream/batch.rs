//! A MULTI block that is queued in one piece.

use std::rc::Rc;

use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::protocol::Protocol;
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::queue::Queue;

/// The requests of a whole transaction, side by side.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: WriteBuf,
    pub(crate) lens: Vec<usize>,
}

impl Batch {
    /// Queues the requests side by side. See [`crate::proxy::upstream::conn::UpstreamConn::forward_batch`].
    pub(crate) fn enqueue<P: Protocol>(
        self,
        queue: &mut Queue<P>,
        each: &Rc<dyn ReplyHandler<P>>,
        last: Responder<P>,
        now: Instant,
    ) {
        let Self { mut bytes, lens } = self;
        let mut push = |queue: &mut Queue<P>, len, responder| {
            // A queue that copies its requests finds each at the end of the buffer.
            let mut rest = WriteBuf::new();
            if queue.copies() {
                rest = bytes.split_off(len);
            }
            queue.out().append(&mut bytes);
            bytes = rest;
            queue.enqueue(len, || responder, now);
        };
        let Some((&last_len, others)) = lens.split_last() else {
            return;
        };
        for (nth, &len) in others.iter().enumerate() {
            let responder = Responder::handler(Rc::clone(each), P::HANDSHAKE);
            let responder = match nth {
                0 => responder.leading(),
                _ => responder.following(),
            };
            push(queue, len, responder);
        }
        push(queue, last_len, last.following());
    }
}
