//! Drives a feed: connects when something is wanted, greets, subscribes, hands messages on, and begins anew when the
//! connection is lost.
//!
//! ```text
//! idle --wanted--> connecting --> greeting --> open --nothing is wanted--> idle
//!  ^                   |             |          |
//!  +--- back off <-----+-------------+----------+  a failure: who waits is told; what is held is subscribed to again
//! ```

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::buf::{Filled, Frame, ReadBuf, SHARE_BYTES};
use crate::net::Stream;
use crate::protocol::PubSub as _;
use crate::protocol::{ConnProfile, Protocol, PubSubMessage, Scan, UpstreamError};
use crate::proxy::pubsub::conn::{ConnCommand, SendResult, SubscriberConn};
use crate::proxy::pubsub::fanout::{Fanout, FanoutBudget};
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::pubsub::subscriber::Channel;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::handshake::{HandshakeQueries, handshake};
use crate::proxy::worker::yield_now::yield_now;
use crate::stats::ServerMetric;
use crate::topology::Backoff;

/// Reads in a row from one server before the others have their turn.
const READS_IN_A_ROW: usize = 16;

/// How long a server may say nothing before it is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(10);

/// How long a server may leave what it was asked unanswered.
const SILENCE: Duration = Duration::from_secs(30);

/// Runs until its worker ends.
pub(crate) async fn drive<P: Protocol>(conn: Rc<SubscriberConn<P>>, pubsub: Rc<PubSub<P>>) {
    let server = Rc::clone(&conn.server);
    let mut backoff = Backoff::default();
    let mut failing = false;
    loop {
        if let Some(at) = backoff.retry_at() {
            sleep_until(Instant::from_std(at)).await;
        }
        poll_fn(|cx| conn.poll_wanted(cx)).await;
        let begun = Instant::now();
        let disconnect = match open(&conn).await {
            Ok(stream) => {
                server.cells.bump(ServerMetric::ServerConnections);
                let mut connection = Connection::new(&conn, &pubsub, stream);
                connection.begin();
                let disconnect = poll_fn(|cx| connection.poll(cx)).await;
                server.cells.drop_one(ServerMetric::ServerConnections);
                if connection.answered {
                    backoff.on_success();
                    if mem::take(&mut failing) {
                        server.recovered();
                    }
                }
                disconnect
            }
            Err(disconnect) => {
                server.cells.bump(ServerMetric::ConnectErrors);
                Some(disconnect)
            }
        };
        let Some(disconnect) = disconnect else {
            conn.closed(None);
            continue;
        };
        let now = Instant::now();
        let first = !mem::replace(&mut failing, true);
        server.failed(&disconnect, ConnProfile::FIRST, begun, now, first);
        backoff.on_failure(now.into_std(), fastrand::f64());
        let down = backoff
            .retry_at()
            .map(|at| (Instant::from_std(at), disconnect.clone()));
        for ask in conn.closed(down) {
            match (ask.op, ask.what) {
                (Some(op), ConnCommand::Subscribe(_)) => pubsub.failed(&op, &disconnect),
                (Some(op), _) => pubsub.acknowledged(&op),
                (None, _) => {}
            }
        }
        pubsub.refresh(now);
        let subscriptions = conn.want_again(now);
        if subscriptions > 0 && first {
            server.lost_subscriptions(subscriptions);
        }
    }
}

/// Connects and greets.
async fn open<P: Protocol>(conn: &SubscriberConn<P>) -> Result<Stream, Disconnect> {
    let server = &conn.server;
    server.cells.bump(ServerMetric::Connects);
    let opening = async {
        let mut stream = Stream::connect(&server.address, server.keepalive)
            .await
            .map_err(|error| Disconnect::Error(UpstreamError::from(&error)))?;
        handshake::<P>(
            &mut stream,
            &server.settings,
            ConnProfile::FIRST,
            HandshakeQueries::default(),
        )
        .await?;
        Ok(stream)
    };
    timeout_at(Instant::now() + patience(conn), opening)
        .await
        .unwrap_or(Err(Disconnect::Error(UpstreamError::TimedOut)))
}

/// How long a client waits for a server.
fn patience<P: Protocol>(conn: &SubscriberConn<P>) -> Duration {
    conn.server.timeout.unwrap_or(SILENCE)
}

/// An open connection.
struct Connection<'f, P: Protocol> {
    conn: &'f SubscriberConn<P>,
    pubsub: &'f Rc<PubSub<P>>,
    stream: Stream,
    input: ReadBuf,
    /// Bytes that the frame under way is known to have.
    want: usize,
    /// A message that not all have got, and its bytes.
    fanout: Option<(Fanout, Bytes)>,
    /// The input is to be looked at before more is read.
    held_up: bool,
    heard: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether the server has done something that it was asked.
    answered: bool,
}

impl<'f, P: Protocol> Connection<'f, P> {
    fn new(conn: &'f SubscriberConn<P>, pubsub: &'f Rc<PubSub<P>>, stream: Stream) -> Self {
        Self {
            conn,
            pubsub,
            stream,
            input: ReadBuf::default(),
            want: 0,
            fanout: None,
            held_up: false,
            heard: Instant::now(),
            alarm: None,
            answered: false,
        }
    }

    fn begin(&self) {
        for op in self.conn.opened(self.heard) {
            self.pubsub
                .failed(&op, &Disconnect::Error(UpstreamError::Ejected));
        }
    }

    /// Goes on as far as the socket lets it. Ready when the connection has ended: `None` where nobody was harmed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Disconnect>> {
        self.conn.begin_turn(cx);
        let now = Instant::now();
        if let Poll::Ready(error) = self.poll_read(cx, now) {
            let harmless = error == UpstreamError::Closed && self.conn.is_idle();
            return Poll::Ready((!harmless).then_some(Disconnect::Error(error)));
        }
        loop {
            match self.conn.poll_write(&mut self.stream, cx) {
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Disconnect::Error(UpstreamError::from(&error))));
                }
            }
        }
        if self.conn.is_idle() {
            return Poll::Ready(None);
        }
        self.poll_clock(cx, now)
            .map(|()| Some(Disconnect::Error(UpstreamError::TimedOut)))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<UpstreamError> {
        let mut budget = FanoutBudget::new();
        let scratch = &self.pubsub.context.scratch;
        for _ in 0..READS_IN_A_ROW {
            if !self.go_on(&mut budget, now) {
                yield_now(cx);
                return Poll::Pending;
            }
            let (read, mut filled) = if mem::take(&mut self.held_up) {
                (1, self.input.take())
            } else {
                let filled = self
                    .input
                    .poll_fill(&mut self.stream, cx, scratch, self.want);
                match filled {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(filled)) => filled,
                    Poll::Ready(Err(error)) => return Poll::Ready(UpstreamError::from(&error)),
                }
            };
            if read == 0 {
                self.input.put_back(filled, scratch);
                return Poll::Ready(UpstreamError::Closed);
            }
            self.heard = now;
            let outcome = self.on_bytes(&mut filled, &mut budget, now);
            self.input.put_back(filled, scratch);
            if let Err(error) = outcome {
                return Poll::Ready(error);
            }
        }
        yield_now(cx);
        Poll::Pending
    }

    /// Goes on with the message under way. Returns whether the next one may follow.
    fn go_on(&mut self, budget: &mut FanoutBudget, now: Instant) -> bool {
        let Some((fanout, bytes)) = &mut self.fanout else {
            return !budget.is_used_up();
        };
        let frame = Frame::Shared(bytes.clone());
        let all = self.pubsub.fan_out(fanout, &frame, budget, now);
        if all {
            self.fanout = None;
        }
        all
    }

    /// Takes every whole frame at the start of a batch, as far as the portion lets it.
    fn on_bytes(
        &mut self,
        filled: &mut Filled,
        budget: &mut FanoutBudget,
        now: Instant,
    ) -> Result<(), UpstreamError> {
        self.want = 0;
        while !filled.bytes.is_empty() {
            if budget.is_used_up() || self.fanout.is_some() {
                self.held_up = true;
                break;
            }
            let (found, len) = match P::Stateful::scan_push(&filled.bytes) {
                Ok(Scan::Complete { found, len }) => (found, len),
                Ok(Scan::Partial { want }) => {
                    self.want = want;
                    break;
                }
                Err(_) => return Err(UpstreamError::BadReply),
            };
            match found {
                PubSubMessage::Message(kind, name) => {
                    self.conn.server.cells.bump(ServerMetric::Messages);
                    self.on_message(Fanout::new(kind, name), filled, len, budget, now);
                }
                PubSubMessage::Done => {
                    self.on_done()?;
                    filled.bytes.advance(len);
                }
                PubSubMessage::Refused => {
                    let reply = filled.bytes.get(..len).unwrap_or_default();
                    let reply = Bytes::copy_from_slice(reply);
                    filled.bytes.advance(len);
                    self.on_refused(reply)?;
                }
            }
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        mut fanout: Fanout,
        filled: &mut Filled,
        len: usize,
        budget: &mut FanoutBudget,
        now: Instant,
    ) {
        let frame = filled.bytes.get(..len).unwrap_or_default();
        let name = fanout.name.of(frame);
        let shared = if filled.owned && len >= SHARE_BYTES {
            filled.bytes.split_to(len).freeze()
        } else if self.pubsub.should_share(fanout.kind, name, len) {
            let shared = Bytes::copy_from_slice(frame);
            filled.bytes.advance(len);
            shared
        } else {
            let borrowed = Frame::Borrowed(frame);
            if !self.pubsub.fan_out(&mut fanout, &borrowed, budget, now) {
                let copy = Bytes::copy_from_slice(frame);
                self.fanout = Some((fanout, self.pubsub.context.output_memory.shared(copy)));
            }
            return filled.bytes.advance(len);
        };
        let shared = self.pubsub.context.output_memory.shared(shared);
        let frame = Frame::Shared(shared.clone());
        if !self.pubsub.fan_out(&mut fanout, &frame, budget, now) {
            self.fanout = Some((fanout, shared));
        }
    }

    fn on_done(&mut self) -> Result<(), UpstreamError> {
        let ask = self.conn.take_front().ok_or(UpstreamError::BadReply)?;
        if !mem::replace(&mut self.answered, true) {
            self.conn.server.replied();
        }
        match (ask.op, &ask.what) {
            (Some(op), ConnCommand::Subscribe(channel)) => self.pubsub.confirmed(channel, &op),
            (Some(op), _) => self.pubsub.acknowledged(&op),
            (None, _) => {}
        }
        Ok(())
    }

    fn on_refused(&mut self, reply: Bytes) -> Result<(), UpstreamError> {
        if !self.answered && P::classify(&reply).is_max_clients() {
            return Err(UpstreamError::MaxClients);
        }
        let ask = self.conn.take_front().ok_or(UpstreamError::BadReply)?;
        match (ask.op, ask.what) {
            (Some(op), ConnCommand::Subscribe(_)) => {
                self.pubsub.failed(&op, &Disconnect::Refused(reply));
            }
            (Some(op), _) => self.pubsub.acknowledged(&op),
            (None, ConnCommand::Subscribe(channel)) => self.refuse(&channel, &reply),
            (None, _) => {}
        }
        Ok(())
    }

    fn refuse(&self, channel: &Channel, reply: &Bytes) {
        self.conn.server.refused_subscription(&channel.name, reply);
        self.pubsub.refused(channel);
    }

    /// Asks a quiet server whether it is there, tells those who have waited too long, and is ready when a server is silent.
    fn poll_clock(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let patience = patience(self.conn);
        if let Some(before) = now.checked_sub(patience) {
            for op in self.conn.take_impatient(before) {
                self.pubsub
                    .failed(&op, &Disconnect::Error(UpstreamError::TimedOut));
            }
        }
        let silent = match self.conn.front_since() {
            Some(since) => since.max(self.heard) + SILENCE,
            None if self.heard + QUIET <= now => {
                let asked = self.conn.ask(ConnCommand::Heartbeat, None, now);
                debug_assert!(matches!(asked, SendResult::Waits), "it is open");
                now + SILENCE
            }
            None => self.heard + QUIET,
        };
        if self.conn.front_since().is_some() && silent <= now {
            return Poll::Ready(());
        }
        let impatient = self.conn.op_since().map(|since| since + patience);
        let due = impatient.map_or(silent, |impatient| impatient.min(silent));
        // An alarm that rings early is set anew then: never once per message.
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() <= now || alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
