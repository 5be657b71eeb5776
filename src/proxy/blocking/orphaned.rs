//! Ends the wait of a client that is gone. Elements that its server has popped for it are restored.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep};

use crate::buf::Frame;
use crate::protocol::Blocking as _;
use crate::protocol::{Protocol, Span};
use crate::proxy::blocking::call::{BlockingCall, Outcome};
use crate::proxy::blocking::client::{BlockedClient, Restore};
use crate::proxy::blocking::deadline::{END_TIMEOUT, set_deadline};
use crate::proxy::forward::Forwarder;

impl<P: Protocol> BlockedClient<P> {
    /// Advances the wait of a disconnected client. Ready when nothing is left to do.
    pub(crate) fn poll_orphaned(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<()> {
        if self.restore.is_none() {
            let reply = ready!(self.poll_last_reply(fw, cx));
            let mut request = BytesMut::new();
            let Some(key) = P::Stateful::restore_popped(self.call.request(), &reply, &mut request)
            else {
                return Poll::Ready(());
            };
            let request = request.freeze();
            self.restore = Some(Restore {
                request,
                key,
                is_sent: false,
            });
        }
        self.poll_restored(fw, cx)
    }

    /// Ends the request. Returns the reply, which nobody gets; it is empty if there is none.
    fn poll_last_reply(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<Bytes> {
        if self.call.outcome() == Outcome::Open {
            self.call.detach_client();
            self.end_wait(fw);
            self.poll_ending(fw, cx);
        }
        match self.call.outcome() {
            Outcome::Open => Poll::Pending,
            Outcome::Failed | Outcome::Unblocked | Outcome::Refused => Poll::Ready(Bytes::new()),
            Outcome::Answered(reply) => Poll::Ready(reply),
        }
    }

    /// Restores popped elements where their key is by now.
    fn poll_restored(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(restore) = &mut self.restore else {
                return Poll::Ready(());
            };
            if !restore.is_sent {
                if fw.view.is_held(restore.key.of(&restore.request)) {
                    fw.pool.backends.wait_for_change(cx.waker());
                    return Poll::Pending;
                }
                restore.is_sent = true;
                self.send_restore(fw);
            }
            let reply = match self.call.outcome() {
                // Nothing was sent: the keys have begun to move.
                Outcome::Unblocked => {
                    if let Some(restore) = &mut self.restore {
                        restore.is_sent = false;
                    }
                    continue;
                }
                Outcome::Open => {
                    let alarm = self.ending.as_mut();
                    ready!(alarm.map_or(Poll::Ready(()), |alarm| alarm.as_mut().poll(cx)));
                    Bytes::new()
                }
                Outcome::Failed | Outcome::Refused => Bytes::new(),
                Outcome::Answered(reply) => reply,
            };
            self.note_pops_restored(&reply);
            return Poll::Ready(());
        }
    }

    /// Sends the request that restores popped elements, over the connection of the client if that leads there.
    fn send_restore(&mut self, fw: &Forwarder<P>) {
        let Some(restore) = &self.restore else {
            return;
        };
        let mut upstream = Rc::clone(&self.upstream);
        let server = upstream.server.id();
        let may_move = upstream.server.greets();
        let owner = fw.view.route(restore.key.of(&restore.request));
        let moved = owner.filter(|owner| may_move && fw.view.id(*owner) != Some(server));
        if (upstream.is_lost() || moved.is_some())
            && let Some(index) = moved.or_else(|| fw.view.index_of(server))
            && let Some(shared) = fw.view.upstream(index, fw.profile, fw.session)
        {
            upstream = Rc::clone(shared);
        }
        let (request, expect, waits) = (
            restore.request.clone(),
            self.call.expect(),
            self.call.waits(),
        );
        self.call = BlockingCall::new(&fw.replies, None, expect, waits, &upstream, request.clone());
        self.ending = Some(Box::pin(sleep(END_TIMEOUT)));
        set_deadline(&self.upstream);
        upstream.forward(
            Frame::Shared(request),
            Span::default(),
            self.call.responder(),
            Instant::now(),
        );
    }

    fn note_pops_restored(&self, reply: &[u8]) {
        let server = &self.upstream.server;
        if reply.is_empty() || P::classify(reply).is_error() {
            server.pops_lost();
        } else {
            server.pops_restored();
        }
    }
}
