//! A subscription that a server has not confirmed yet, as the publishers of all workers see it.

use std::rc::Rc;

use crate::protocol::Protocol;
use crate::protocol::PubSub as _;
use crate::proxy::pubsub::subscriber::Channel;
use crate::proxy::upstream::server::Server;

/// Messages for the channel that are published from now on, by clients of any worker, are not sent to its server before
/// this is dropped: a client that subscribes receives what is published after it has sent the request, as with Redis.
#[derive(Debug)]
pub(crate) struct Announced<P: Protocol> {
    server: Rc<Server<P>>,
    channel: Channel,
    ticket: u64,
}

impl<P: Protocol> Announced<P> {
    pub(crate) fn new(server: &Rc<Server<P>>, channel: &Channel) -> Self {
        let Channel { kind, name } = channel;
        Self {
            server: Rc::clone(server),
            channel: channel.clone(),
            ticket: P::Stateful::announce(&server.settings, (server.id(), *kind, name)),
        }
    }
}

impl<P: Protocol> Drop for Announced<P> {
    fn drop(&mut self) {
        let Channel { kind, name } = &self.channel;
        let place = (self.server.id(), *kind, &**name);
        P::Stateful::end_announcement(&self.server.settings, place, self.ticket);
    }
}
