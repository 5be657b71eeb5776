//! What a client has begun and not ended, and what its next requests therefore depend on.

use crate::protocol::Protocol;
use crate::proxy::blocking::client::{Waiting, Watch};
use crate::proxy::blocking::wait_replicas::Asking;
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::transaction::queue::Transaction;

/// What a client has begun and not ended.
#[derive(Debug)]
pub(crate) struct Held<P: Protocol> {
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watch: Option<Watch<P>>,
    pub(crate) waiting: Option<Waiting<P>>,
    pub(crate) asking: Option<Asking<P>>,
    /// A lease that is given back has requests in flight, which the next one must not overtake.
    pub(crate) is_fenced: bool,
}

impl<P: Protocol> Default for Held<P> {
    fn default() -> Self {
        Self {
            transaction: None,
            watch: None,
            waiting: None,
            asking: None,
            is_fenced: false,
        }
    }
}

impl<P: Protocol> Dispatcher<P> {
    /// Whether the client waits, or what it waited for is not yet written to it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.waiting.is_some() || held.asking.is_some())
    }

    /// Whether the client's leaving is the end of its wait: its server lets it wait, or has not said whether it does for so
    /// long that it may be taken for one that never will.
    pub(crate) fn is_blocked(&self) -> bool {
        self.held.as_ref().is_some_and(|held| {
            held.asking.as_ref().is_some_and(Asking::is_blocked)
                || held.waiting.as_ref().is_some_and(Waiting::is_blocked)
        })
    }

    /// Whether the reply that the client waits for has not come.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.held.as_ref().is_some_and(|held| {
            held.asking.is_some() || held.waiting.as_ref().is_some_and(Waiting::is_open)
        })
    }

    /// Whether the next request must wait: nothing overtakes what waits, or what a lease still has in flight.
    #[cold]
    pub(crate) fn must_hold(&mut self) -> bool {
        if self.is_waiting() {
            return true;
        }
        let is_idle = self.pipeline.is_idle();
        let Some(held) = &mut self.held else {
            return false;
        };
        if held.is_fenced && !is_idle {
            return true;
        }
        held.is_fenced = false;
        self.let_go();
        false
    }

    /// Forgets that the client held something, if it holds nothing any more.
    pub(crate) fn let_go(&mut self) {
        let is_empty = |held: &Held<P>| {
            held.transaction.is_none()
                && held.watch.is_none()
                && held.waiting.is_none()
                && held.asking.is_none()
                && !held.is_fenced
        };
        self.held.take_if(|held| is_empty(held));
    }
}
