//! The forwarding of one client's requests: routes a request, reserves its reply and queues it on a connection.
//!
//! ```text
//! dispatch --plan--> Forwarder --route--> backends --admit--> UpstreamConn
//!                        |-- reserve --> ReplyQueue
//!                        +-- split, fan_out, eval_fallback: several servers, or a second try
//! ```
//!
//! Invariant: a request that is not taken ([`Dispatched::Backpressure`], [`Dispatched::Fence`], [`Dispatched::Waits`],
//! [`Dispatched::Held`]) has changed nothing, since it is dispatched again.

pub(crate) mod eval_fallback;
pub(crate) mod fan_out;
pub(crate) mod read_state;
pub(crate) mod replica_read;
pub(crate) mod split;

use std::cell::Cell;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{
    ClientRecord, ConnInfo, ConnProfile, KeySpan, Protocol, ProxyReply, Route, Span, UpstreamError,
};
use crate::protocol::{ClientState as _, ErrorReplies as _, PoolObserver as _, Transactions as _};
use crate::proxy::forward::read_state::ReadState;
use crate::proxy::pool::LocalPool;
use crate::proxy::pool::dedicated::{Lease, LeaseError};
use crate::proxy::pool::view::PoolView;
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::responder::Responder;
use crate::proxy::replies::status::Seq;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{CommandId, Latency, PoolMetric, RefusalReason};
use crate::topology::{ServerId, ServerIndex};

/// Sends the requests of one client to the servers.
#[derive(Debug)]
pub(crate) struct Forwarder<P: Protocol> {
    pub(crate) pool: Rc<LocalPool<P>>,
    /// The placement of keys, during a batch of requests; between two batches it has no servers.
    pub(crate) view: Rc<PoolView<P>>,
    pub(crate) replies: Rc<ReplyQueue>,
    /// The handovers after which the requests in flight were sent.
    handovers: u64,
    /// Chooses among the connections to each server.
    pub(crate) session: usize,
    /// The protocol's state of the client.
    pub(crate) client: P::Client,
    /// Requests that may still be answered at once, or skipped, in this turn of the session.
    pub(crate) local_budget: Cell<usize>,
    /// Bytes of replies that no quota counts, and that may not be written yet.
    pub(crate) unmetered_bytes: Cell<usize>,
    /// The command of the request that is not simply forwarded, for what is counted of it.
    pub(crate) command: Cell<CommandId>,
    /// The profile of the requests in flight.
    pub(crate) profile: ConnProfile,
    /// The dedicated connection that requests to its server use while keys are watched there.
    pub(crate) watched: Option<(ServerId, ConnProfile, Rc<UpstreamConn<P>>)>,
    /// What reads at replicas depend on.
    pub(crate) reads: ReadState,
}

/// A request to be sent to a server.
#[derive(Debug)]
pub(crate) struct Outgoing<'f, P: Protocol> {
    pub(crate) frame: Frame<'f>,
    /// Bytes of the frame that are not sent to servers.
    pub(crate) stripped: Span,
    pub(crate) expect: P::Expect,
    pub(crate) command: CommandId,
}

/// The result of the dispatch of a request.
#[derive(Debug)]
pub(crate) enum Dispatched<P: Protocol> {
    Taken,
    /// The request was not taken: the queue of this connection is full. It must be offered again.
    Backpressure(Rc<UpstreamConn<P>>),
    /// The request was not taken: it must not overtake those in flight. It must be offered again when all are answered.
    Fence,
    /// The request was not taken: it waits for something of other clients. The session is woken when it must be offered
    /// again.
    Waits,
    /// The request was not taken: its keys are being moved. It must be offered again under the next topology.
    Held,
    /// No further request is taken; the connection ends when all is answered.
    Close,
}

impl<P: Protocol> Dispatched<P> {
    /// Returns true if the request was taken; otherwise it must be offered again.
    pub(crate) fn is_taken(&self) -> bool {
        !matches!(
            self,
            Self::Backpressure(_) | Self::Fence | Self::Waits | Self::Held
        )
    }
}

impl<P: Protocol> Forwarder<P> {
    pub(crate) fn new(pool: Rc<LocalPool<P>>, replies: Rc<ReplyQueue>, info: ConnInfo) -> Self {
        let (session, peer) = (info.session, info.peer.clone());
        let client = P::Clients::client(&pool.backends.view().settings, info);
        Self::of(client, pool, replies, (session, &peer))
    }

    /// For a client that another process has handed over, if its state is possible here.
    pub(crate) fn arrived(
        pool: Rc<LocalPool<P>>,
        replies: Rc<ReplyQueue>,
        info: ConnInfo,
        record: &ClientRecord,
    ) -> Option<Self> {
        let (session, peer) = (info.session, info.peer.clone());
        let client = P::Clients::arrived(&pool.backends.view().settings, info, record)?;
        Some(Self {
            reads: ReadState::unknown(),
            ..Self::of(client, pool, replies, (session, &peer))
        })
    }

    fn of(
        client: P::Client,
        pool: Rc<LocalPool<P>>,
        replies: Rc<ReplyQueue>,
        (session, peer): (usize, &str),
    ) -> Self {
        let view = pool.backends.view();
        replies.belongs_to(P::Clients::number(&client), peer);
        Self {
            view: Rc::clone(pool.backends.no_view()),
            pool,
            replies,
            session,
            handovers: view.handovers(),
            profile: P::Clients::profile(&client),
            client,
            local_budget: Cell::default(),
            unmetered_bytes: Cell::default(),
            command: Cell::default(),
            watched: None,
            reads: ReadState::default(),
        }
    }

    /// Adopts the current topology, before anything is routed. Returns false if requests in flight use connections that
    /// it may have replaced: the next request waits for their replies, since it must not overtake them.
    #[inline]
    pub(crate) fn begin_batch(&mut self, now: Instant) -> bool {
        self.pool.backends.refresh(now);
        self.pool.observer.begin_batch();
        self.view = self.pool.backends.view();
        P::Clients::begin_batch(&mut self.client);
        self.handovers == self.view.handovers() || self.catch_up()
    }

    #[cold]
    fn catch_up(&mut self) -> bool {
        let is_idle = self.replies.is_idle();
        if is_idle {
            self.handovers = self.view.handovers();
        }
        is_idle
    }

    /// Releases the topology: an idle client must not keep one, and the servers in it.
    #[inline]
    pub(crate) fn end_batch(&mut self) {
        self.view = Rc::clone(self.pool.backends.no_view());
    }

    /// Reserves a slot for a request that is taken.
    pub(crate) fn reserve(&self) -> Seq {
        if P::Clients::take_reply_suppressed(&self.client) {
            self.replies.reserve_discarded()
        } else {
            self.replies.reserve()
        }
    }

    /// The server of a route.
    pub(crate) fn owner(
        &self,
        route: Route,
        frame: &Frame<'_>,
        buffers: &PlanBuffers,
    ) -> Option<ServerIndex> {
        match route {
            Route::Key(key) => self.view.route(key.of(frame.bytes())),
            Route::Decoded => self.view.route(&buffers.reply),
            Route::Placeholder => self.view.route(P::PLACEHOLDER),
        }
    }

    /// Begins a request of this command that is not simply forwarded.
    pub(crate) fn executing(&self, command: CommandId) -> &Self {
        self.command.set(command);
        self
    }

    /// Replies to a request that the proxy has executed.
    pub(crate) fn answer(&self, reply: &[u8]) -> Dispatched<P> {
        self.count_local();
        self.replies.note_error::<P>(self.command.get(), reply);
        self.reply(Frame::Borrowed(reply));
        Dispatched::Taken
    }

    /// Counts a request that the proxy executes. Its time is not measured.
    pub(crate) fn count_local(&self) {
        let cells = &self.pool.cells;
        cells.bump(PoolMetric::RequestsLocal);
        cells
            .commands
            .record_apart(self.command.get(), Latency::ZERO);
    }

    /// Replies to a request that is queued in a transaction.
    pub(crate) fn answer_queued(&self, reply: &[u8]) -> Dispatched<P> {
        self.pool.cells.bump(PoolMetric::RequestsLocal);
        self.pool.cells.commands.queued(self.command.get());
        self.reply(Frame::Borrowed(reply));
        Dispatched::Taken
    }

    /// Replies to a request that is refused.
    pub(crate) fn refuse(&self, reply: &[u8], reason: RefusalReason) -> Dispatched<P> {
        self.refuse_named(&[], reply, reason)
    }

    /// As [`Self::refuse`]; `name` is that of an unknown command.
    #[cold]
    pub(crate) fn refuse_named(
        &self,
        name: &[u8],
        reply: &[u8],
        reason: RefusalReason,
    ) -> Dispatched<P> {
        self.pool.cells.bump(PoolMetric::RequestsRefused);
        self.note_refusal(name, reply, reason);
        self.reply(Frame::Borrowed(reply));
        Dispatched::Taken
    }

    /// Counts a request that is refused with this reply.
    pub(crate) fn note_refusal(&self, name: &[u8], reply: &[u8], reason: RefusalReason) {
        let (cells, command) = (&self.pool.cells, self.command.get());
        cells.commands.rejected(command);
        let shown = match reason {
            // It has arguments, and a misspelt AUTH has a password among them.
            RefusalReason::UnknownCommand => &[],
            _ => reply,
        };
        cells.refusals.note(command, name, reason, shown);
        if let Some(code) = P::Observer::error_code(reply) {
            cells.errors.note(code);
        }
    }

    /// Replies with an error to a request that cannot be executed.
    #[cold]
    pub(crate) fn fail_with(&self, reply: &[u8]) -> Dispatched<P> {
        self.pool.cells.bump(PoolMetric::ForwardError);
        self.pool.cells.commands.unanswered(self.command.get());
        if let Some(code) = P::Observer::error_code(reply) {
            self.pool.cells.errors.note(code);
        }
        self.reply(Frame::Borrowed(reply));
        Dispatched::Taken
    }

    /// Counts a request that no server answers.
    pub(crate) fn spend_local(&self) {
        let left = self.local_budget.get();
        self.local_budget.set(left.saturating_sub(1));
    }

    /// Takes what holds no request.
    pub(crate) fn skip(&self) -> Dispatched<P> {
        self.spend_local();
        Dispatched::Taken
    }

    /// Replies to the client, unless the reply is suppressed.
    pub(crate) fn reply(&self, reply: Frame<'_>) {
        self.spend_local();
        if !P::Clients::take_reply_suppressed(&self.client) {
            self.replies.answer(reply);
        }
    }

    /// Replies with an error to a valid request.
    pub(crate) fn fail(&self, error: UpstreamError, expect: P::Expect) -> Dispatched<P> {
        let mut reply = BytesMut::new();
        P::Errors::write_upstream_error(error, expect, &mut reply);
        self.fail_with(&reply)
    }

    /// As [`Self::fail`], for a request to a server that is down.
    pub(crate) fn fail_at(
        &self,
        server: &Server<P>,
        error: UpstreamError,
        expect: P::Expect,
    ) -> Dispatched<P> {
        if error != UpstreamError::NoPrimary {
            return self.fail(error, expect);
        }
        self.fail_with(&server.lost_reply(error))
    }

    pub(crate) fn forward(
        &self,
        owner: Option<ServerIndex>,
        outgoing: Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let Outgoing {
            frame,
            stripped,
            expect,
            command,
        } = outgoing;
        let Some(upstream) = owner.and_then(|owner| self.upstream(owner)) else {
            self.command.set(command);
            return self.fail(UpstreamError::Ejected, expect);
        };
        match upstream.admit(now) {
            Admission::Open => {
                let seq = self.reserve();
                let responder =
                    || Responder::whole(Rc::clone(&self.replies), seq, expect).of_command(command);
                upstream.forward_with(frame, stripped, responder, now);
                Dispatched::Taken
            }
            Admission::Full => Dispatched::Backpressure(Rc::clone(upstream)),
            Admission::Down(error) => {
                self.command.set(command);
                self.fail_at(&upstream.server, error, expect)
            }
        }
    }

    /// Refuses a request whose keys are stored on different servers, as these two are.
    pub(crate) fn refuse_cross_server(
        &self,
        [first, second]: [&[u8]; 2],
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        P::Errors::write_cross_server(&self.view.settings, [first, second], &mut buffers.reply);
        self.refuse(&buffers.reply, RefusalReason::SeveralServers)
    }

    /// As [`Self::refuse_cross_server`], for keys of this frame.
    pub(crate) fn refuse_keys(
        &self,
        apart: [Span; 2],
        frame: &Frame<'_>,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        let keys = apart.map(|key| key.of(frame.bytes()));
        self.refuse_cross_server(keys, buffers)
    }

    /// The connection to a server in the client's profile. If keys are watched there, it is the dedicated one of the
    /// watch, until that is lost: the watch cannot decide a transaction any more then.
    pub(crate) fn upstream(&self, server: ServerIndex) -> Option<&Rc<UpstreamConn<P>>> {
        if let Some((watched, profile, upstream)) = &self.watched
            && self.view.id(server) == Some(*watched)
            && *profile == self.profile
            && !upstream.is_lost()
        {
            return Some(upstream);
        }
        self.view.upstream(server, self.profile, self.session)
    }

    /// The one server that stores all keys, or two keys that are stored on different ones. Without keys, it is that of
    /// the placeholder.
    pub(crate) fn common_owner(
        &self,
        keys: &[KeySpan],
        frame: &Frame<'_>,
    ) -> Result<Option<ServerIndex>, [Span; 2]> {
        // With a random distribution, the keys cannot be apart: Twemproxy chooses the server of the first one.
        let keys = if self.view.is_random() {
            keys.get(..1).unwrap_or(keys)
        } else {
            keys
        };
        let owner = |key: &KeySpan| self.view.route(key.key.of(frame.bytes()));
        let Some((first, others)) = keys.split_first() else {
            return Ok(self.view.route(P::PLACEHOLDER));
        };
        let common = owner(first);
        match others.iter().find(|other| owner(other) != common) {
            None => Ok(common),
            Some(other) => Err([first.key, other.key]),
        }
    }

    pub(crate) fn gather(
        &self,
        expected: (P::MergeContext, P::Expect),
        (command, request): (CommandId, &[u8]),
        owners: Vec<u16>,
        fragments: usize,
        since: (Instant, bool),
    ) -> Rc<Gather<P>> {
        let cells = &self.pool.cells;
        cells.add(PoolMetric::Fragments, fragments as u64);
        let place = (Rc::clone(&self.replies), self.reserve());
        let known = (Rc::clone(&self.view.settings), command, request);
        Rc::new(Gather::new(
            place, expected, known, owners, fragments, since,
        ))
    }

    /// The shared connection to a server that has no primary, as far as is known, and whether that is waited for: a dedicated
    /// one would not be opened either.
    pub(crate) fn awaited_primary(
        &self,
        server: ServerIndex,
        now: Instant,
    ) -> Option<(Rc<UpstreamConn<P>>, Admission)> {
        let upstream = self.view.upstream(server, self.profile, self.session)?;
        let failover = upstream.server.failover.as_ref()?;
        if failover.is_well() {
            return None;
        }
        let admission = upstream.admit(now);
        (admission != Admission::Open).then(|| (Rc::clone(upstream), admission))
    }

    /// A dedicated connection to a server.
    pub(crate) fn lease(&self, server: ServerIndex) -> Result<Lease<P>, LeaseError> {
        match self.view.server(server) {
            Some(server) => self.pool.leases.acquire(server, self.profile),
            None => Err(LeaseError::Down(UpstreamError::Ejected)),
        }
    }

    /// Answers a request that needs a dedicated connection and gets none.
    pub(crate) fn deny(
        &self,
        denied: LeaseError,
        expect: P::Expect,
        buffers: &mut PlanBuffers,
    ) -> Dispatched<P> {
        let reply = match denied {
            LeaseError::Down(error) => return self.fail(error, expect),
            LeaseError::Exhausted(most) => ProxyReply::Exhausted(most),
            LeaseError::NoRoom(most) => ProxyReply::NoRoom(most),
        };
        P::Stateful::write_proxy_reply(reply, &mut buffers.reply);
        self.fail_with(&buffers.reply)
    }
}
