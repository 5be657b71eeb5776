//! What leaves with a client for another process, and what arrives with one.

use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::protocol::{ChannelKind, ClientRecord, ConnInfo, Protocol, SubscriptionRecord, Text};
use crate::protocol::{ClientState as _, PubSub as _};
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::dispatch::pinned::Pinned;
use crate::proxy::forward::Forwarder;
use crate::proxy::pool::LocalPool;
use crate::proxy::pubsub::resubscribing::Resubscribing;
use crate::proxy::pubsub::subscriber::Subscriber;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;

impl<P: Protocol> Dispatcher<P> {
    /// As [`Self::new`], for a client that another process has handed over. `None` if its state is not possible here.
    pub(crate) fn arrived(
        pool: Rc<LocalPool<P>>,
        replies: Rc<ReplyQueue>,
        info: ConnInfo,
        record: &ClientRecord,
    ) -> Option<Self> {
        Forwarder::arrived(pool, replies, info, record).map(Self::of)
    }

    /// Makes the subscriptions of a client that has arrived. `done` gets true if all are made; none is if one is not allowed
    /// to its user here.
    pub(crate) fn resubscribe(&mut self, record: &ClientRecord, done: oneshot::Sender<bool>) {
        let now = Instant::now();
        let client = &mut self.forwarder.client;
        let are_allowed = record
            .subscriptions
            .iter()
            .all(|one| P::Stateful::may_subscribe(client, one.kind, &one.name.0));
        if !are_allowed {
            // Who waits may have gone.
            let _ = done.send(false);
            return;
        }
        // The registry subscribes at the servers of the current topology.
        let _ = self.forwarder.begin_batch(now);
        let resubscribing = Resubscribing::new(done);
        if !record.subscriptions.is_empty() {
            let subscriber = self.subscriber();
            let pubsub = &self.forwarder.pool.pubsub;
            for kind in ChannelKind::ALL {
                let names = names_of(record, kind);
                if !names.is_empty() {
                    resubscribing.expect();
                    let handler = Rc::clone(&resubscribing);
                    let responder = Responder::handler(handler, P::HANDSHAKE);
                    pubsub.subscribe(subscriber, kind, names.into_iter(), responder, now);
                }
            }
        }
        resubscribing.confirm();
        self.forwarder.end_batch();
    }

    /// The client as the registry of subscriptions knows it.
    pub(super) fn subscriber(&self) -> &Rc<Subscriber> {
        self.subscriber.get_or_init(|| {
            let fw = &self.forwarder;
            let profile = P::Clients::profile(&fw.client);
            let client = P::Clients::number(&fw.client);
            Subscriber::new(fw.session, client, Rc::clone(&fw.replies), profile)
        })
    }

    /// Returns true unless the client has state that no other process can have: then it stays, and goes on here.
    pub(crate) fn may_leave(&mut self) -> bool {
        let fw = &self.forwarder;
        self.pinned
            .as_mut()
            .is_none_or(|pinned| pinned.may_leave(fw))
    }

    /// Has the server of a blocked client end its wait, so that it can leave; or has one that was to leave wait on.
    pub(crate) fn set_leaving(&mut self, leaves: bool) {
        let fw = &self.forwarder;
        let blocked = self.pinned.as_mut();
        let blocked = blocked.and_then(|pinned| pinned.blocked.as_mut());
        if let Some(blocked) = blocked.filter(|blocked| blocked.is_leaving() != leaves)
            && blocked.may_leave(fw)
        {
            blocked.set_leaving(fw, leaves);
        }
    }

    /// Ends what the client has here, if it is free to leave with that number of requests in flight. Returns the request that
    /// it waits for; empty if it does not.
    pub(crate) fn leave(&mut self, in_flight: usize) -> Option<Bytes> {
        if self.subscriber.get().is_some_and(|all| all.is_changing()) || !self.may_leave() {
            return None;
        }
        let blocked = self.pinned.as_mut().map(|pinned| &mut pinned.blocked);
        let waits = match blocked {
            Some(blocked @ Some(_)) if in_flight == 1 => {
                blocked.take_if(|blocked| blocked.has_left())?
            }
            Some(Some(_)) => return None,
            Some(None) | None => return (in_flight == 0).then(Bytes::new),
        };
        self.pinned = None;
        Some(waits.leave(&self.forwarder))
    }

    /// What another process needs to know of the client.
    pub(crate) fn record(&self) -> ClientRecord {
        let mut record = P::Clients::record(&self.forwarder.client);
        if let Some(subscriber) = self.subscriber.get() {
            for kind in ChannelKind::ALL {
                let names = subscriber.names(kind).into_iter();
                let subscriptions = names.map(|name| SubscriptionRecord {
                    kind,
                    name: Text::from(&*name),
                });
                record.subscriptions.extend(subscriptions);
            }
        }
        record
    }
}

impl<P: Protocol> Pinned<P> {
    /// See [`Dispatcher::may_leave`].
    fn may_leave(&mut self, fw: &Forwarder<P>) -> bool {
        // A fence is over once nothing is in flight.
        let _ = self.tx.must_wait(&fw.replies);
        self.tx.is_over()
            && self.replica_wait.is_none()
            && self.survey.is_none()
            && self.monitoring.is_none()
            && self
                .blocked
                .as_ref()
                .is_none_or(|blocked| blocked.may_leave(fw))
    }
}

/// The names of one kind among the subscriptions of a client.
fn names_of(record: &ClientRecord, kind: ChannelKind) -> Vec<&[u8]> {
    let subscriptions = record.subscriptions.iter();
    subscriptions
        .filter(|subscription| subscription.kind == kind)
        .map(|subscription| &*subscription.name.0)
        .collect()
}
