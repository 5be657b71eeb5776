//! The changes of subscriptions in progress, client by client, in the order of their requests.
//!
//! A client may send several without waiting for the confirmations. All are sent to the servers at once, which may
//! confirm them in another order; they are finished in that of the requests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use fnv::FnvHashMap;

use crate::protocol::Protocol;
use crate::proxy::pubsub::subscribe_op::SubscribeOp;
use crate::proxy::pubsub::subscriber::Subscriber;

/// The operations of each client, by its number.
pub(crate) struct OpsInOrder<P: Protocol> {
    clients: RefCell<FnvHashMap<usize, VecDeque<Rc<SubscribeOp<P>>>>>,
}

impl<P: Protocol> OpsInOrder<P> {
    /// Adds an operation behind those of its client.
    pub(crate) fn begin(&self, op: &Rc<SubscribeOp<P>>) {
        let mut clients = self.clients.borrow_mut();
        let ops = clients.entry(op.subscriber.number).or_default();
        ops.push_back(Rc::clone(op));
    }

    /// Returns true if no other operation of its client is finished before it.
    pub(crate) fn is_next(&self, op: &Rc<SubscribeOp<P>>) -> bool {
        let clients = self.clients.borrow();
        let next = clients.get(&op.subscriber.number).and_then(VecDeque::front);
        next.is_some_and(|next| Rc::ptr_eq(next, op))
    }

    /// Takes the next operation of a client, if all its replies have arrived.
    pub(crate) fn take_acknowledged(&self, subscriber: &Subscriber) -> Option<Rc<SubscribeOp<P>>> {
        let mut clients = self.clients.borrow_mut();
        let ops = clients.get_mut(&subscriber.number)?;
        if !ops.front()?.is_acknowledged() {
            return None;
        }
        let next = ops.pop_front()?;
        if ops.is_empty() {
            clients.remove(&subscriber.number);
        }
        Some(next)
    }
}

impl<P: Protocol> Default for OpsInOrder<P> {
    fn default() -> Self {
        Self {
            clients: RefCell::default(),
        }
    }
}
