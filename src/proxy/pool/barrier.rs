//! What a worker does when keys that are about to move away from a server are held: it vouches for its connections.
//!
//! ```text
//! adopt the hold --> PING behind all that is in flight, on each connection --last reply--> Vouching
//! ```
//!
//! Invariants: a worker vouches for a connection only when all that it sent there before the hold is answered; it vouches in
//! each hold that it adopts, even for no connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Transactions as _;
use crate::protocol::{Protocol, ServerCommand, Span, UpstreamError};
use crate::proxy::replies::handler::ReplyHandler;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::topology::{Router, ServerId, TopologyStore, Voucher};

/// A hold that a worker has adopted, as far as it has not vouched for its connections to the server.
#[derive(Debug)]
pub(crate) struct Barrier {
    store: Arc<TopologyStore>,
    worker: Voucher,
    server: ServerId,
    hold: u64,
    vouched: RefCell<Vec<Bytes>>,
}

impl Barrier {
    /// Has `worker` vouch for `conns`, which are all its connections to a server, once what is in flight there is answered, and
    /// the barrier that is returned is dropped.
    pub(crate) fn begin<P: Protocol>(
        (store, worker): (&Arc<TopologyStore>, Voucher),
        (server, hold): (ServerId, u64),
        conns: &[Rc<UpstreamConn<P>>],
        router: &Router,
        now: Instant,
    ) -> Rc<Self> {
        let barrier = Rc::new(Self {
            store: Arc::clone(store),
            worker,
            server,
            hold,
            vouched: RefCell::default(),
        });
        for conn in conns {
            barrier.ask(conn, router, now);
        }
        barrier
    }

    fn ask<P: Protocol>(
        self: &Rc<Self>,
        conn: &Rc<UpstreamConn<P>>,
        router: &Router,
        now: Instant,
    ) {
        let Some(id) = conn.guarded_id() else {
            return;
        };
        let waits_for_others = conn.dedicated.as_deref().is_some_and(|dedicated| {
            let keys = dedicated.waits_for.borrow();
            keys.as_ref().is_some_and(|keys| !keys.is_held(router))
        });
        if waits_for_others {
            // It answers nothing before an element comes, and then only for keys that stay.
            self.vouched.borrow_mut().push(id);
            return;
        }
        let mut ping = BytesMut::new();
        P::Stateful::write_server_command(ServerCommand::Ping, &mut ping);
        let question: Rc<dyn ReplyHandler<P>> = Rc::new(Question {
            barrier: Rc::clone(self),
            id,
        });
        let responder = Responder::handler(question, P::HANDSHAKE);
        conn.forward(Frame::Borrowed(&ping), Span::default(), responder, now);
    }
}

impl Drop for Barrier {
    /// With the last question: each was answered, or its connection has ended.
    fn drop(&mut self) {
        let vouched = self.vouched.take();
        let vouching = self.store.vouching();
        vouching.vouch(self.worker, self.server, self.hold, vouched);
    }
}

/// A PING behind what is in flight on one connection.
#[derive(Debug)]
struct Question {
    barrier: Rc<Barrier>,
    id: Bytes,
}

impl<P: Protocol> ReplyHandler<P> for Question {
    fn part(&self, _part: &[u8]) {}

    /// Any reply will do: what was before it is answered.
    fn complete(self: Rc<Self>, _reply: Frame<'_>, _begun: bool) {
        self.barrier.vouched.borrow_mut().push(self.id.clone());
    }

    /// The connection has ended: what was sent there may still be executed, so nobody vouches for it.
    fn fail(self: Rc<Self>, _error: UpstreamError, _begun: bool) {}

    fn fail_with(self: Rc<Self>, _error: UpstreamError, _text: &[u8], _begun: bool) {}
}
