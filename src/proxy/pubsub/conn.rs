//! The connection to one server over which messages come, as the registry sees it. The
//! [`crate::proxy::pubsub::driver`] owns the socket.
//!
//! Invariants: `asks` holds, in order, one entry for each thing that the server was asked and has not answered, and behind
//! those what it is to be asked once there is a connection; `wanted` is what it is to be subscribed to when all is answered.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::protocol::Protocol;
use crate::protocol::PubSub as _;
use crate::proxy::pubsub::subscribe_op::SubscribeOp;
use crate::proxy::pubsub::subscriber::Channel;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::wake::WakeOnce;
use crate::stats::ServerMetric;

/// Questions that an idle connection keeps room for.
const KEEP_ASKS: usize = 1024;

/// One for each server.
#[derive(Debug)]
pub(crate) struct SubscriberConn<P: Protocol> {
    pub(crate) server: Rc<Server<P>>,
    state: RefCell<State<P>>,
    wake: WakeOnce,
    begun: Cell<bool>,
}

#[derive(Debug)]
struct State<P: Protocol> {
    wanted: HashSet<Channel>,
    asks: VecDeque<SentCommand<P>>,
    out: WriteBuf,
    open: bool,
    /// The server failed lately: until then, subscribers are told so at once.
    down: Option<(Instant, Disconnect)>,
}

/// Something that the server was asked, or is to be.
#[derive(Debug)]
pub(crate) struct SentCommand<P: Protocol> {
    pub(crate) what: ConnCommand,
    /// Who waits for the answer.
    pub(crate) op: Option<Rc<SubscribeOp<P>>>,
    pub(crate) since: Instant,
}

#[derive(Debug, Clone)]
pub(crate) enum ConnCommand {
    Subscribe(Channel),
    Unsubscribe(Channel),
    Heartbeat,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum SendResult {
    /// The answer will come.
    Waits,
    /// There is no connection, and so nothing to ask.
    Done,
    /// The server is down, and it is too early to try again.
    Failed(Disconnect),
}

impl<P: Protocol> SubscriberConn<P> {
    pub(crate) fn new(server: Rc<Server<P>>) -> Self {
        Self {
            server,
            state: RefCell::new(State {
                wanted: HashSet::new(),
                asks: VecDeque::new(),
                out: WriteBuf::new(),
                open: false,
                down: None,
            }),
            wake: WakeOnce::default(),
            begun: Cell::new(false),
        }
    }

    /// Whether nobody drives it so far.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.replace(true)
    }

    /// Asks the server, as soon as there is a connection.
    pub(crate) fn ask(
        &self,
        what: ConnCommand,
        op: Option<&Rc<SubscribeOp<P>>>,
        now: Instant,
    ) -> SendResult {
        let mut state = self.state.borrow_mut();
        match &what {
            ConnCommand::Subscribe(channel) => {
                state.wanted.insert(channel.clone());
            }
            ConnCommand::Unsubscribe(channel) => {
                state.wanted.remove(channel);
                if state.wanted.is_empty() {
                    state.wanted = HashSet::new();
                }
            }
            ConnCommand::Heartbeat => {}
        }
        let wanted = state.wanted.len() as u64;
        self.server.cells.set(ServerMetric::Subscriptions, wanted);
        if !state.open {
            match (&what, &state.down) {
                (ConnCommand::Unsubscribe(_) | ConnCommand::Heartbeat, _) => {
                    // The driver may be waiting to connect for what nobody wants any more.
                    self.wake.wake();
                    return SendResult::Done;
                }
                (_, Some((until, disconnect))) if op.is_some() && now < *until => {
                    return SendResult::Failed(disconnect.clone());
                }
                _ => {}
            }
        }
        let ask = SentCommand {
            what,
            op: op.map(Rc::clone),
            since: now,
        };
        if state.open {
            ask.write(&mut state.out);
        }
        state.asks.push_back(ask);
        drop(state);
        self.wake.wake();
        SendResult::Waits
    }

    /// Ready when a connection is needed.
    pub(crate) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        self.wake.register(cx);
        let state = self.state.borrow();
        if !state.wanted.is_empty() || state.asks.iter().any(|ask| ask.op.is_some()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether its connection is of no more use.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.wanted.is_empty() && state.asks.is_empty()
    }

    /// Registers the driver for what is asked from now on.
    pub(crate) fn begin_turn(&self, cx: &Context<'_>) {
        self.wake.register(cx);
    }

    /// There is a connection: everything that waits is asked, but what is to be heard elsewhere by now. Returns who waits
    /// for that.
    pub(crate) fn opened(&self, now: Instant) -> Vec<Rc<SubscribeOp<P>>> {
        let mut state = self.state.borrow_mut();
        let State {
            wanted,
            asks,
            out,
            open,
            down,
        } = &mut *state;
        *open = true;
        *down = None;
        let mut again = 0;
        let mut in_vain = Vec::new();
        asks.retain_mut(|ask| {
            let due =
                matches!(&ask.what, ConnCommand::Subscribe(channel) if wanted.contains(channel));
            if due {
                again += u64::from(ask.op.is_none());
                ask.since = now;
                ask.write(out);
            } else {
                in_vain.extend(ask.op.take());
            }
            due
        });
        self.server.cells.add(ServerMetric::Resubscriptions, again);
        in_vain
    }

    /// The connection is gone, or there was none. Returns what was asked and will not be answered; subscribers are told of
    /// `loss` at once until `until`.
    pub(crate) fn closed(&self, down: Option<(Instant, Disconnect)>) -> VecDeque<SentCommand<P>> {
        let mut state = self.state.borrow_mut();
        state.open = false;
        state.down = down;
        state.out.clear();
        mem::take(&mut state.asks)
    }

    /// Queues what is still wanted for the next connection. Returns how much that is.
    pub(crate) fn want_again(&self, now: Instant) -> usize {
        let mut state = self.state.borrow_mut();
        let State { wanted, asks, .. } = &mut *state;
        asks.extend(wanted.iter().map(|channel| SentCommand {
            what: ConnCommand::Subscribe(channel.clone()),
            op: None,
            since: now,
        }));
        wanted.len()
    }

    /// Takes what the next answer answers.
    pub(crate) fn take_front(&self) -> Option<SentCommand<P>> {
        let asks = &mut self.state.borrow_mut().asks;
        let front = asks.pop_front();
        if asks.is_empty() && asks.capacity() > KEEP_ASKS {
            *asks = VecDeque::new();
        }
        front
    }

    /// When the server was asked what it has to answer next.
    pub(crate) fn front_since(&self) -> Option<Instant> {
        let state = self.state.borrow();
        state.asks.front().map(|ask| ask.since)
    }

    /// When somebody began to wait for an answer who waits still.
    pub(crate) fn op_since(&self) -> Option<Instant> {
        let state = self.state.borrow();
        let waited_for = state.asks.iter().find(|ask| ask.op.is_some());
        waited_for.map(|ask| ask.since)
    }

    /// Takes those who have waited since `before`, or longer.
    pub(crate) fn take_impatient(&self, before: Instant) -> Vec<Rc<SubscribeOp<P>>> {
        let mut state = self.state.borrow_mut();
        let asks = state.asks.iter_mut();
        asks.take_while(|ask| ask.since <= before)
            .filter_map(|ask| ask.op.take())
            .collect()
    }

    /// Writes what is queued, in one system call.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let mut out = mem::take(&mut self.state.borrow_mut().out);
        let outcome = out.poll_write(io, cx);
        self.state.borrow_mut().out = out;
        outcome
    }
}

impl<P: Protocol> SentCommand<P> {
    fn write(&self, out: &mut WriteBuf) {
        let out = out.tail();
        match &self.what {
            ConnCommand::Subscribe(channel) => {
                P::Stateful::write_subscription(channel.kind, &channel.name, true, out);
            }
            ConnCommand::Unsubscribe(channel) => {
                P::Stateful::write_subscription(channel.kind, &channel.name, false, out);
            }
            ConnCommand::Heartbeat => P::Stateful::write_heartbeat(out),
        }
    }
}
