//! The requests of a client that change its subscriptions, and its messages to other subscribers.

use std::rc::Rc;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{ChannelKind, Placement, Protocol, SubscriptionChange};
use crate::protocol::{ClientState as _, PubSub as _};
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::dispatch::publishing::Publishing;
use crate::proxy::forward::fan_out::merge_from;
use crate::proxy::forward::{Dispatched, Outgoing};
use crate::proxy::replies::responder::Responder;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::topology::ServerIndex;

impl<P: Protocol> Dispatcher<P> {
    /// Changes the client's subscriptions. Changes in a row go out at once.
    pub(super) fn change_subscriptions(
        &self,
        change: SubscriptionChange,
        expect: P::Expect,
        frame: &Frame<'_>,
        buffers: &PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        // Its own earlier messages must be published before. While other changes are in progress, nothing else is in
        // flight.
        let is_changing = self.subscriber.get().is_some_and(|all| all.is_changing());
        if !self.forwarder.replies.is_idle()
            && (!is_changing || change == SubscriptionChange::Leave)
        {
            return Dispatched::Fence;
        }
        let pubsub = &self.forwarder.pool.pubsub;
        let subscriber = self.subscriber();
        let seq = if change == SubscriptionChange::Leave {
            self.forwarder.reserve()
        } else {
            // As in Redis, CLIENT REPLY does not suppress the confirmation of subscriptions; a skip is used up by it.
            P::Clients::take_reply_suppressed(&self.forwarder.client);
            self.forwarder.replies.reserve()
        };
        let responder = Responder::whole(Rc::clone(&self.forwarder.replies), seq, expect);
        self.forwarder.count_local();
        self.forwarder.spend_local();
        let names = buffers.keys.iter().map(|name| name.key.of(frame.bytes()));
        match change {
            SubscriptionChange::Subscribe(kind) => {
                pubsub.subscribe(subscriber, kind, names, responder, now);
            }
            SubscriptionChange::Unsubscribe(kind) => {
                pubsub.unsubscribe(subscriber, kind, names, responder, now);
            }
            SubscriptionChange::Leave => pubsub.reset(subscriber, &buffers.reply, responder, now),
        }
        Dispatched::Taken
    }

    /// Returns true if the client may have all its subscriptions by now.
    #[cold]
    pub(crate) fn may_stay_subscribed(&mut self) -> bool {
        let Some(subscriber) = self.subscriber.get() else {
            return true;
        };
        let client = &mut self.forwarder.client;
        ChannelKind::ALL.into_iter().all(|kind| {
            let names = subscriber.names(kind);
            names
                .iter()
                .all(|name| P::Stateful::may_subscribe(client, kind, name))
        })
    }

    /// Publishes a message on the server of its channel. With `spec`, the number in the reply is corrected.
    pub(super) fn publish(
        &self,
        kind: ChannelKind,
        channel: &[u8],
        spec: Option<P::MergeSpec>,
        outgoing: Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let fw = &self.forwarder;
        let owner = match self.server_of_message(kind, channel) {
            Ok(owner) => owner,
            Err(next) => return next,
        };
        match spec {
            None => fw.forward(owner, outgoing, now),
            Some(spec) => {
                let original = outgoing.frame.clone();
                merge_from(fw, owner.as_slice(), spec, original.bytes(), &outgoing, now)
            }
        }
    }

    /// The server that a message is published on; `None` if it is not live. `Err` if the message must wait for
    /// subscriptions that other clients had requested when it was read.
    fn server_of_message(
        &self,
        kind: ChannelKind,
        channel: &[u8],
    ) -> Result<Option<ServerIndex>, Dispatched<P>> {
        let fw = &self.forwarder;
        let settings = &fw.view.settings;
        let owner = match P::Stateful::placement(settings, kind, channel) {
            Placement::Key(key) => fw.view.home(key),
            Placement::Everywhere => fw.view.home(channel),
        };
        if let Publishing::Read = self.publishing.get() {
            let turns = P::Stateful::turns(settings);
            let turn = turns.map_or(0, |(turns, worker)| turns.request(worker));
            self.publishing.set(Publishing::AwaitsTurn(turn));
        }
        if let Publishing::AwaitsTurn(turn) = self.publishing.get() {
            let turns = P::Stateful::turns(settings);
            if turns.is_some_and(|(turns, worker)| {
                !turns.is_completed(turn, worker, || fw.replies.waker())
            }) {
                return Err(Dispatched::Waits);
            }
            let last = P::Stateful::last_announcement(settings);
            self.publishing.set(Publishing::Follows(last));
        }
        let Publishing::Follows(until) = self.publishing.get() else {
            return Ok(owner);
        };
        let awaits = owner.and_then(|owner| fw.view.id(owner)).is_some_and(|id| {
            P::Stateful::awaits_subscriber(settings, (id, kind, channel), until, || {
                fw.replies.waker()
            })
        });
        if awaits {
            Err(Dispatched::Waits)
        } else {
            Ok(owner)
        }
    }

    /// Notes that requests were read.
    #[inline]
    pub(crate) fn on_read(&self) {
        self.publishing.set(Publishing::Read);
    }

    /// Removes the client's subscriptions.
    pub(crate) fn unsubscribe(&self) {
        if let Some(subscriber) = self.subscriber.get() {
            self.forwarder.pool.pubsub.leave(subscriber);
        }
    }
}
