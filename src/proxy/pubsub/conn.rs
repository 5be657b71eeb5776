//! The connection to one server over which messages come, as the hub sees it. The [`crate::proxy::pubsub::driver`] owns the socket.
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
use crate::proxy::pool::Target;
use crate::proxy::pubsub::subscribe_op::Errand;
use crate::proxy::pubsub::subscriber::Subject;
use crate::proxy::upstream::disconnect::Loss;
use crate::proxy::worker::wake::Bell;
use crate::stats::ServerMetric;

/// Questions that an idle feed keeps room for.
const KEEP_ASKS: usize = 1024;

/// One for each server.
#[derive(Debug)]
pub(crate) struct Feed<P: Protocol> {
    pub(crate) target: Rc<Target<P>>,
    state: RefCell<State<P>>,
    bell: Bell,
    begun: Cell<bool>,
}

#[derive(Debug)]
struct State<P: Protocol> {
    wanted: HashSet<Subject>,
    asks: VecDeque<Ask<P>>,
    out: WriteBuf,
    open: bool,
    /// The server failed lately: until then, subscribers are told so at once.
    down: Option<(Instant, Loss)>,
}

/// Something that the server was asked, or is to be.
#[derive(Debug)]
pub(crate) struct Ask<P: Protocol> {
    pub(crate) what: What,
    /// Who waits for the answer.
    pub(crate) errand: Option<Rc<Errand<P>>>,
    pub(crate) since: Instant,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Subscribe(Subject),
    Unsubscribe(Subject),
    Heartbeat,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The answer will come.
    Waits,
    /// There is no connection, and so nothing to ask.
    Done,
    /// The server is down, and it is too early to try again.
    Failed(Loss),
}

impl<P: Protocol> Feed<P> {
    pub(crate) fn new(target: Rc<Target<P>>) -> Self {
        Self {
            target,
            state: RefCell::new(State {
                wanted: HashSet::new(),
                asks: VecDeque::new(),
                out: WriteBuf::new(),
                open: false,
                down: None,
            }),
            bell: Bell::default(),
            begun: Cell::new(false),
        }
    }

    /// Whether nobody drives it so far.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.replace(true)
    }

    /// Asks the server, as soon as there is a connection.
    pub(crate) fn ask(&self, what: What, errand: Option<&Rc<Errand<P>>>, now: Instant) -> Asked {
        let mut state = self.state.borrow_mut();
        match &what {
            What::Subscribe(subject) => {
                state.wanted.insert(subject.clone());
            }
            What::Unsubscribe(subject) => {
                state.wanted.remove(subject);
                if state.wanted.is_empty() {
                    state.wanted = HashSet::new();
                }
            }
            What::Heartbeat => {}
        }
        let wanted = state.wanted.len() as u64;
        self.target.cells.set(ServerMetric::Subscriptions, wanted);
        if !state.open {
            match (&what, &state.down) {
                (What::Unsubscribe(_) | What::Heartbeat, _) => {
                    // The driver may be waiting to connect for what nobody wants any more.
                    self.bell.ring();
                    return Asked::Done;
                }
                (_, Some((until, loss))) if errand.is_some() && now < *until => {
                    return Asked::Failed(loss.clone());
                }
                _ => {}
            }
        }
        let ask = Ask {
            what,
            errand: errand.map(Rc::clone),
            since: now,
        };
        if state.open {
            ask.write(&mut state.out);
        }
        state.asks.push_back(ask);
        drop(state);
        self.bell.ring();
        Asked::Waits
    }

    /// Ready when a connection is needed.
    pub(crate) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        self.bell.listen(cx);
        let state = self.state.borrow();
        if !state.wanted.is_empty() || state.asks.iter().any(|ask| ask.errand.is_some()) {
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
        self.bell.listen(cx);
    }

    /// There is a connection: everything that waits is asked, but what is to be heard elsewhere by now. Returns who waits
    /// for that.
    pub(crate) fn opened(&self, now: Instant) -> Vec<Rc<Errand<P>>> {
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
            let due = matches!(&ask.what, What::Subscribe(subject) if wanted.contains(subject));
            if due {
                again += u64::from(ask.errand.is_none());
                ask.since = now;
                ask.write(out);
            } else {
                in_vain.extend(ask.errand.take());
            }
            due
        });
        self.target.cells.add(ServerMetric::Resubscriptions, again);
        in_vain
    }

    /// The connection is gone, or there was none. Returns what was asked and will not be answered; subscribers are told of
    /// `loss` at once until `until`.
    pub(crate) fn closed(&self, down: Option<(Instant, Loss)>) -> VecDeque<Ask<P>> {
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
        asks.extend(wanted.iter().map(|subject| Ask {
            what: What::Subscribe(subject.clone()),
            errand: None,
            since: now,
        }));
        wanted.len()
    }

    /// Takes what the next answer answers.
    pub(crate) fn take_front(&self) -> Option<Ask<P>> {
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
    pub(crate) fn errand_since(&self) -> Option<Instant> {
        let state = self.state.borrow();
        let waited_for = state.asks.iter().find(|ask| ask.errand.is_some());
        waited_for.map(|ask| ask.since)
    }

    /// Takes those who have waited since `before`, or longer.
    pub(crate) fn take_impatient(&self, before: Instant) -> Vec<Rc<Errand<P>>> {
        let mut state = self.state.borrow_mut();
        let asks = state.asks.iter_mut();
        asks.take_while(|ask| ask.since <= before)
            .filter_map(|ask| ask.errand.take())
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

impl<P: Protocol> Ask<P> {
    fn write(&self, out: &mut WriteBuf) {
        let out = out.tail();
        match &self.what {
            What::Subscribe(subject) => {
                P::write_subscription(subject.topic, &subject.name, true, out);
            }
            What::Unsubscribe(subject) => {
                P::write_subscription(subject.topic, &subject.name, false, out);
            }
            What::Heartbeat => P::write_heartbeat(out),
        }
    }
}
