//! The subscriptions of a client that another process has handed over, until they are made here.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::oneshot;

use crate::buf::Frame;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;

/// Completes when the subscriptions of a client are made.
#[derive(Debug)]
pub(crate) struct Resubscribing {
    /// Kinds that are not confirmed, plus one until all are asked for.
    missing: Cell<usize>,
    has_failed: Cell<bool>,
    done: RefCell<Option<oneshot::Sender<bool>>>,
}

impl Resubscribing {
    pub(crate) fn new(done: oneshot::Sender<bool>) -> Rc<Self> {
        Rc::new(Self {
            missing: Cell::new(1),
            has_failed: Cell::new(false),
            done: RefCell::new(Some(done)),
        })
    }

    /// Expects one more confirmation.
    pub(crate) fn expect(&self) {
        self.missing.set(self.missing.get() + 1);
    }

    /// Counts a confirmation, or the end of the requests.
    pub(crate) fn confirm(&self) {
        self.missing.set(self.missing.get().saturating_sub(1));
        if self.missing.get() == 0
            && let Some(done) = self.done.take()
        {
            // The one who waits may have given up.
            let _ = done.send(!self.has_failed.get());
        }
    }
}

impl<P: Protocol> ReplyHandler<P> for Resubscribing {
    fn part(&self, _part: &[u8]) {}

    fn complete(self: Rc<Self>, reply: Frame<'_>, _begun: bool) {
        self.has_failed
            .set(self.has_failed.get() || P::classify(reply.bytes()).is_error());
        self.confirm();
    }

    fn fail(self: Rc<Self>, _error: UpstreamError, _begun: bool) {
        self.has_failed.set(true);
        self.confirm();
    }
}
