//! What a client has begun and not ended, and what its next requests therefore depend on.

use super::Dispatcher;
use super::attest::Asking;
use super::exclusive::{Waiting, Watch};
use crate::protocol::Protocol;
use crate::proxy::transaction::Transaction;

/// What a client has begun and not ended.
#[derive(Debug)]
pub(super) struct Held<P: Protocol> {
    pub(super) transaction: Option<Transaction>,
    pub(super) watch: Option<Watch<P>>,
    pub(super) waiting: Option<Waiting<P>>,
    pub(super) asking: Option<Asking<P>>,
    /// A lease that is given back has requests in flight, which the next one must not overtake.
    pub(super) is_fenced: bool,
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
    /// Forgets that the client held something, if it holds nothing any more.
    pub(super) fn let_go(&mut self) {
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
