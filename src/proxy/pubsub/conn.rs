//! The subscriber connection to one server, as the registry uses it. The [`crate::proxy::pubsub::driver`] owns the
//! socket.
//!
//! Invariants: `commands` holds, in order, the commands sent and not answered, and after those the ones to send once
//! there is a connection; `wanted` is the set of channels subscribed to when all are answered.

use std::any::Any;
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
use crate::proxy::pubsub::announced::Announced;
use crate::proxy::pubsub::subscribe_op::SubscribeOp;
use crate::proxy::pubsub::subscriber::Channel;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::wake::WakeOnce;
use crate::stats::ServerMetric;

/// Capacity for commands that an idle connection keeps.
const KEEP_COMMANDS: usize = 1024;

/// A subscriber connection; one for each server.
#[derive(Debug)]
pub(crate) struct SubscriberConn<P: Protocol> {
    pub(crate) server: Rc<Server<P>>,
    state: RefCell<State<P>>,
    wake: WakeOnce,
    begun: Cell<bool>,
    /// Dropped when all that is wanted is subscribed to.
    until_settled: RefCell<Option<Rc<dyn Any>>>,
}

#[derive(Debug)]
struct State<P: Protocol> {
    wanted: HashSet<Channel>,
    commands: VecDeque<SentCommand<P>>,
    out: WriteBuf,
    open: bool,
    /// The server failed recently: until then, subscribe operations fail at once.
    down: Option<(Instant, Disconnect)>,
}

/// A command that was sent to the server, or will be.
#[derive(Debug)]
pub(crate) struct SentCommand<P: Protocol> {
    pub(crate) what: ConnCommand,
    /// The operation that waits for the reply.
    pub(crate) op: Option<Rc<SubscribeOp<P>>>,
    /// Publishers wait for the subscription of that operation.
    announced: Option<Announced<P>>,
    pub(crate) since: Instant,
}

#[derive(Debug, Clone)]
pub(crate) enum ConnCommand {
    Subscribe(Channel),
    Unsubscribe(Channel),
    Heartbeat,
}

/// The result of sending a command.
#[derive(Debug)]
pub(crate) enum SendResult {
    /// The reply is pending.
    Waits,
    /// There is no connection, and so nothing to send.
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
                commands: VecDeque::new(),
                out: WriteBuf::new(),
                open: false,
                down: None,
            }),
            wake: WakeOnce::default(),
            begun: Cell::new(false),
            until_settled: RefCell::default(),
        }
    }

    /// Returns true, once: the caller starts the driver.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.replace(true)
    }

    /// Sends a command, as soon as there is a connection.
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
                    // The driver may be waiting to connect for channels that are no longer wanted.
                    self.wake.wake();
                    return SendResult::Done;
                }
                (_, Some((until, disconnect))) if op.is_some() && now < *until => {
                    return SendResult::Failed(disconnect.clone());
                }
                _ => {}
            }
        }
        let announced = match &what {
            ConnCommand::Subscribe(channel) if op.is_some() => {
                Some(Announced::new(&self.server, channel))
            }
            _ => None,
        };
        let command = SentCommand {
            what,
            op: op.map(Rc::clone),
            announced,
            since: now,
        };
        if state.open {
            command.write(&mut state.out);
        }
        state.commands.push_back(command);
        drop(state);
        self.wake.wake();
        SendResult::Waits
    }

    /// Ready when a connection is needed.
    pub(crate) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        self.wake.register(cx);
        let state = self.state.borrow();
        if !state.wanted.is_empty() || state.commands.iter().any(|command| command.op.is_some()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Returns true if the connection is unused.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.wanted.is_empty() && state.commands.is_empty()
    }

    /// Keeps this until the server has confirmed all subscriptions that are wanted; only the last one that is given.
    pub(crate) fn keep_until_settled(&self, kept: Rc<dyn Any>) {
        let before = self.until_settled.replace(Some(kept));
        drop(before);
        self.look_if_settled();
    }

    fn look_if_settled(&self) {
        let is_settled = {
            let state = self.state.borrow();
            state.commands.is_empty() && (state.open || state.wanted.is_empty())
        };
        if is_settled {
            let kept = self.until_settled.take();
            drop(kept);
        }
    }

    /// Registers the driver's waker for commands queued from now on.
    pub(crate) fn begin_turn(&self, cx: &Context<'_>) {
        self.wake.register(cx);
    }

    /// Marks the connection as open, and sends the queued commands, except for channels that are not wanted any more.
    /// Returns those, with the operations that wait for them.
    pub(crate) fn opened(&self, now: Instant) -> Vec<SentCommand<P>> {
        let mut state = self.state.borrow_mut();
        let State {
            wanted,
            commands,
            out,
            open,
            down,
        } = &mut *state;
        *open = true;
        *down = None;
        let mut resubscribed = 0;
        let mut obsolete = Vec::new();
        for mut command in mem::take(commands) {
            let due = matches!(&command.what, ConnCommand::Subscribe(channel) if wanted.contains(channel));
            if due {
                resubscribed += u64::from(command.op.is_none());
                command.since = now;
                command.write(out);
                commands.push_back(command);
            } else {
                obsolete.push(command);
            }
        }
        self.server
            .cells
            .add(ServerMetric::Resubscriptions, resubscribed);
        obsolete
    }

    /// Marks the connection as closed. Returns the commands that will not be answered; operations fail at once while
    /// `down`.
    pub(crate) fn closed(&self, down: Option<(Instant, Disconnect)>) -> VecDeque<SentCommand<P>> {
        let mut state = self.state.borrow_mut();
        state.open = false;
        state.down = down;
        state.out.clear();
        mem::take(&mut state.commands)
    }

    /// Marks the connection as closed, and keeps the operations that wait for subscriptions: the next connection makes those. The
    /// other commands will not be answered.
    pub(crate) fn closed_while_waiting(&self) -> Vec<SentCommand<P>> {
        let mut state = self.state.borrow_mut();
        state.open = false;
        state.down = None;
        state.out.clear();
        let (kept, others) = mem::take(&mut state.commands)
            .into_iter()
            .partition(|command| command.op.is_some() && command.channel().is_some());
        state.commands = kept;
        others.into()
    }

    /// Queues a command for each wanted channel, for the next connection. Returns their number.
    pub(crate) fn want_again(&self, now: Instant) -> usize {
        let mut state = self.state.borrow_mut();
        let State {
            wanted, commands, ..
        } = &mut *state;
        let kept: HashSet<Channel> = commands
            .iter()
            .filter_map(|command| command.channel().cloned())
            .collect();
        let others = wanted.iter().filter(|channel| !kept.contains(*channel));
        commands.extend(others.map(|channel| SentCommand {
            what: ConnCommand::Subscribe(channel.clone()),
            op: None,
            announced: None,
            since: now,
        }));
        wanted.len()
    }

    /// Takes the command that the next reply answers.
    pub(crate) fn take_front(&self) -> Option<SentCommand<P>> {
        let front = {
            let commands = &mut self.state.borrow_mut().commands;
            let front = commands.pop_front();
            if commands.is_empty() && commands.capacity() > KEEP_COMMANDS {
                *commands = VecDeque::new();
            }
            front
        };
        self.look_if_settled();
        front
    }

    /// When the command of the next reply was sent.
    pub(crate) fn front_since(&self) -> Option<Instant> {
        let state = self.state.borrow();
        state.commands.front().map(|command| command.since)
    }

    /// When the oldest operation that still waits was sent.
    pub(crate) fn op_since(&self) -> Option<Instant> {
        let state = self.state.borrow();
        let waited_for = state.commands.iter().find(|command| command.op.is_some());
        waited_for.map(|command| command.since)
    }

    /// Takes all operations that wait, with what they wait for. The commands stay, since their replies may arrive.
    pub(crate) fn take_ops(&self) -> Vec<(ConnCommand, Rc<SubscribeOp<P>>)> {
        let mut state = self.state.borrow_mut();
        let commands = state.commands.iter_mut();
        commands
            .filter_map(|command| {
                command.announced = None;
                Some((command.what.clone(), command.op.take()?))
            })
            .collect()
    }

    /// Takes the operations that have waited since `before`, or longer.
    pub(crate) fn take_timed_out(&self, before: Instant) -> Vec<Rc<SubscribeOp<P>>> {
        let mut state = self.state.borrow_mut();
        let commands = state.commands.iter_mut();
        commands
            .take_while(|command| command.since <= before)
            .filter_map(|command| {
                command.announced = None;
                command.op.take()
            })
            .collect()
    }

    /// Writes the queued bytes, in one system call.
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
    /// The channel that it subscribes to.
    fn channel(&self) -> Option<&Channel> {
        match &self.what {
            ConnCommand::Subscribe(channel) => Some(channel),
            ConnCommand::Unsubscribe(_) | ConnCommand::Heartbeat => None,
        }
    }

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
