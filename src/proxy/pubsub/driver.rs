//! The driver of the subscriber connection to a server: subscribes, and fans out messages.
//!
//! After a disconnect, pending operations fail, and every channel that has subscribers is resubscribed.

use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, sleep_until};

use crate::buf::{Filled, Frame, ReadBuf, SHARE_BYTES};
use crate::net::Stream;
use crate::protocol::PubSub as _;
use crate::protocol::{ConnProfile, Protocol, PubSubMessage, Scan, UpstreamError};
use crate::proxy::pubsub::conn::{ConnCommand, SendResult, SentCommand, SubscriberConn};
use crate::proxy::pubsub::fanout::{Fanout, FanoutBudget};
use crate::proxy::pubsub::registry::PubSub;
use crate::proxy::pubsub::subscriber::Channel;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::greeting;
use crate::proxy::upstream::handshake::{HandshakeQueries, handshake};
use crate::proxy::upstream::io::{Alarm, READS_IN_A_ROW, connect, open_by, poll_write_all};
use crate::proxy::upstream::reconnect::{Attempts, Reconnect, keep_connected};
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::yield_now::yield_now;
use crate::stats::ServerMetric;

/// Time without input from a server after which a heartbeat is sent.
const HEARTBEAT_AFTER: Duration = Duration::from_secs(10);

/// Maximum time for the reply to a command.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Drives the subscriber connection to one server until its worker ends.
pub(crate) async fn drive<P: Protocol>(conn: Rc<SubscriberConn<P>>, pubsub: Rc<PubSub<P>>) {
    let lost_at = Cell::default();
    keep_connected(Rc::new(Subscription {
        conn,
        pubsub,
        lost_at,
    }))
    .await;
}

/// A connection that all subscribers of a worker share.
struct Subscription<P: Protocol> {
    conn: Rc<SubscriberConn<P>>,
    pubsub: Rc<PubSub<P>>,
    /// When it was lost, in a pool that waits for primaries.
    lost_at: Cell<Option<Instant>>,
}

impl<P: Protocol> Subscription<P> {
    /// Notes that the connection was lost, or could not be opened. Returns true if new subscriptions are to wait for another
    /// one.
    fn waits_for_primary(&self, disconnect: &Disconnect, now: Instant) -> bool {
        let server = self.server();
        let Some(failover) = server
            .failover
            .as_ref()
            .filter(|_| !disconnect.tells_why::<P>())
        else {
            return false;
        };
        server.store.want_lookup(&server.shared);
        let lost_at = self.lost_at.get().unwrap_or(now);
        self.lost_at.set(Some(lost_at));
        !failover.is_over(lost_at, now)
    }

    /// Fails the pending operations. Returns the number of channels to resubscribe.
    fn fail_all(&self, disconnect: &Disconnect, until: Option<Instant>, now: Instant) -> usize {
        let down = until.map(|until| (until, disconnect.clone()));
        self.fail(self.conn.closed(down), disconnect);
        self.conn.want_again(now)
    }

    fn fail(&self, commands: impl IntoIterator<Item = SentCommand<P>>, disconnect: &Disconnect) {
        for sent in commands {
            match (sent.op, sent.what) {
                (Some(op), ConnCommand::Subscribe(_)) => self.pubsub.failed(&op, disconnect),
                (Some(op), _) => self.pubsub.acknowledged(&op),
                (None, _) => {}
            }
        }
    }
}

impl<P: Protocol> Reconnect<P> for Subscription<P> {
    fn server(&self) -> &Rc<Server<P>> {
        &self.conn.server
    }

    async fn wanted(&self, attempts: &Attempts) {
        if let Some(at) = attempts.retry_at() {
            sleep_until(at).await;
        }
        poll_fn(|cx| self.conn.poll_wanted(cx)).await;
    }

    async fn open(&self) -> Result<Stream, Disconnect> {
        let server = self.server();
        let opening = async {
            let mut stream = connect(server).await?;
            let (settings, queries) = (&server.settings, HandshakeQueries::default());
            handshake::<P>(&mut stream, settings, ConnProfile::FIRST, queries).await?;
            if let Some(guard) = &server.guard {
                greeting::name(server, guard, &mut stream, ConnProfile::FIRST).await?;
            }
            Ok(stream)
        };
        let timeout = op_timeout(&self.conn);
        let within = match &server.failover {
            Some(failover) => failover.open_within(Some(timeout)),
            None => timeout,
        };
        open_by(Some(Instant::now() + within), opening).await
    }

    async fn serve(&self, stream: Stream, attempts: &mut Attempts) -> Option<Disconnect> {
        self.lost_at.set(None);
        let mut connection = Connection::new(&self.conn, &self.pubsub, stream, attempts);
        connection.begin();
        poll_fn(|cx| connection.poll(cx)).await
    }

    fn on_close(&self) {
        self.conn.closed(None);
    }

    fn on_failure(&self, disconnect: &Disconnect, begun: Instant, attempts: &mut Attempts) {
        let (server, now) = (self.server(), Instant::now());
        let times = (begun, now);
        let failure = attempts.on_failure(server, disconnect, ConnProfile::FIRST, times);
        attempts.back_off(now);
        let subscriptions = if self.waits_for_primary(disconnect, now) {
            self.fail(self.conn.closed_while_waiting(), disconnect);
            self.conn.want_again(now)
        } else if self.lost_at.get().is_some() && !disconnect.tells_why::<P>() {
            let reply = server.lost_reply(UpstreamError::NoPrimary);
            self.fail_all(&Disconnect::NoPrimary(reply), attempts.retry_at(), now)
        } else {
            self.fail_all(disconnect, attempts.retry_at(), now)
        };
        if subscriptions > 0 && failure.is_first {
            server.lost_subscriptions(subscriptions);
        }
    }

    fn on_panic(&self, until: Instant) {
        let disconnect = Disconnect::Error(UpstreamError::Dropped);
        self.fail_all(&disconnect, Some(until), Instant::now());
    }
}

/// The timeout of a subscribe operation.
fn op_timeout<P: Protocol>(conn: &SubscriberConn<P>) -> Duration {
    conn.server.timeout.get().unwrap_or(REPLY_TIMEOUT)
}

/// An open connection.
struct Connection<'f, P: Protocol> {
    attempts: &'f mut Attempts,
    conn: &'f SubscriberConn<P>,
    pubsub: &'f Rc<PubSub<P>>,
    stream: Stream,
    input: ReadBuf,
    /// Known size of the incomplete frame.
    want: usize,
    /// A message whose fan-out is incomplete, and its bytes.
    fanout: Option<(Fanout, Bytes)>,
    /// The input must be scanned before more is read.
    has_input: bool,
    last_read: Instant,
    alarm: Alarm,
    /// The server has executed a command.
    answered: bool,
}

impl<'f, P: Protocol> Connection<'f, P> {
    fn new(
        conn: &'f SubscriberConn<P>,
        pubsub: &'f Rc<PubSub<P>>,
        stream: Stream,
        attempts: &'f mut Attempts,
    ) -> Self {
        Self {
            attempts,
            conn,
            pubsub,
            stream,
            input: ReadBuf::default(),
            want: 0,
            fanout: None,
            has_input: false,
            last_read: Instant::now(),
            alarm: Alarm::default(),
            answered: false,
        }
    }

    fn begin(&self) {
        for sent in self.conn.opened(self.last_read) {
            if let (Some(op), ConnCommand::Subscribe(channel)) = (&sent.op, &sent.what) {
                self.pubsub.is_obsolete(channel, op, self.last_read);
            }
        }
    }

    /// Advances as far as the socket allows. Ready when the connection has ended: `None` if nothing was lost.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Disconnect>> {
        self.conn.begin_turn(cx);
        let now = Instant::now();
        if let Poll::Ready(error) = self.poll_read(cx, now) {
            let harmless = error == UpstreamError::Closed && self.conn.is_idle();
            return Poll::Ready((!harmless).then_some(Disconnect::Error(error)));
        }
        let (conn, stream) = (self.conn, &mut self.stream);
        if let Poll::Ready(error) = poll_write_all(cx, |cx| conn.poll_write(stream, cx)) {
            return Poll::Ready(Some(Disconnect::Error(error)));
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
            if !self.continue_fanout(&mut budget, now) {
                yield_now(cx);
                return Poll::Pending;
            }
            let (read, mut filled) = if mem::take(&mut self.has_input) {
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
            self.last_read = now;
            let outcome = self.on_bytes(&mut filled, &mut budget, now);
            self.input.put_back(filled, scratch);
            if let Err(error) = outcome {
                return Poll::Ready(error);
            }
        }
        yield_now(cx);
        Poll::Pending
    }

    /// Continues an incomplete fan-out. Returns true if the next message may follow.
    fn continue_fanout(&mut self, budget: &mut FanoutBudget, now: Instant) -> bool {
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

    /// Handles every complete frame at the start of a batch, as far as the budget allows.
    fn on_bytes(
        &mut self,
        filled: &mut Filled,
        budget: &mut FanoutBudget,
        now: Instant,
    ) -> Result<(), UpstreamError> {
        self.want = 0;
        while !filled.bytes.is_empty() {
            if budget.is_used_up() || self.fanout.is_some() {
                self.has_input = true;
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
        let server = &self.conn.server;
        if server.guard.is_some() && !self.pubsub.delivers(server.id(), frame, now) {
            return filled.bytes.advance(len);
        }
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
        let sent = self.conn.take_front().ok_or(UpstreamError::BadReply)?;
        if !mem::replace(&mut self.answered, true) {
            self.attempts.on_reply(&self.conn.server);
        }
        match (&sent.op, &sent.what) {
            (Some(op), ConnCommand::Subscribe(channel)) => self.pubsub.confirmed(channel, op),
            (Some(op), _) => self.pubsub.acknowledged(op),
            (None, _) => {}
        }
        Ok(())
    }

    fn on_refused(&mut self, reply: Bytes) -> Result<(), UpstreamError> {
        if !self.answered && P::classify(&reply).is_max_clients() {
            return Err(UpstreamError::MaxClients);
        }
        let sent = self.conn.take_front().ok_or(UpstreamError::BadReply)?;
        match (sent.op, sent.what) {
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

    /// Sends a heartbeat to a quiet server, and fails operations that have timed out. Ready when the server does not
    /// reply.
    fn poll_clock(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let timeout = op_timeout(self.conn);
        if let Some(before) = now.checked_sub(timeout) {
            for op in self.conn.take_timed_out(before) {
                self.pubsub
                    .failed(&op, &Disconnect::Error(UpstreamError::TimedOut));
            }
        }
        let reply_due = match self.conn.front_since() {
            Some(since) => since.max(self.last_read) + REPLY_TIMEOUT,
            None if self.last_read + HEARTBEAT_AFTER <= now => {
                let result = self.conn.ask(ConnCommand::Heartbeat, None, now);
                debug_assert!(matches!(result, SendResult::Waits), "it is open");
                now + REPLY_TIMEOUT
            }
            None => self.last_read + HEARTBEAT_AFTER,
        };
        if self.conn.front_since().is_some() && reply_due <= now {
            return Poll::Ready(());
        }
        let op_due = self.conn.op_since().map(|since| since + timeout);
        let due = op_due.map_or(reply_due, |op_due| op_due.min(reply_due));
        self.alarm.arm(due, now, cx);
        Poll::Pending
    }
}
