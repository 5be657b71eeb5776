//! One open connection to a server: writes requests, scans replies, enforces timeouts.
//!
//! A connection is FIFO and its requests have one timeout, so only the deadline of the front request matters. In a
//! profile that is not the first, an unused connection is closed after [`KEEP`]: the next request reopens it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::buf::{Frame, ReadBuf};
use crate::net::Stream;
use crate::protocol::Connections as _;
use crate::protocol::{
    ConnProfile, Effect, ErrorCode, Passed, Protocol, ReplyClass, ReplyKind, UpstreamError,
};
use crate::proxy::upstream::abandoned::{SentCloses, abandon, is_given_up};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::in_flight::InFlight;
use crate::proxy::upstream::io::{Alarm, READS_IN_A_ROW, poll_write_all};
use crate::proxy::upstream::reconnect::Attempts;
use crate::proxy::upstream::refusals::Refusals;
use crate::proxy::upstream::wait_sampler::{PER_SAMPLE, WaitSampler};
use crate::proxy::worker::context::WorkerContext;
use crate::proxy::worker::yield_now::yield_now;
use crate::stats::{Latency, ServerMetric};

/// Size from which an incomplete reply is passed on as it arrives.
const STREAM_BYTES: usize = 4 << 10;

/// Queued bytes from which a write is not delayed.
const HOLD_BYTES: usize = 1 << 10;

/// Idle timeout of a connection of another profile than the first. Reopening it costs the next request a connect and a
/// handshake: less than a millisecond in ten thousand.
pub(crate) const KEEP: Duration = Duration::from_secs(5);

/// An open connection.
pub(crate) struct Connection<'u, P: Protocol> {
    upstream: &'u UpstreamConn<P>,
    context: &'u WorkerContext,
    stream: Stream,
    attempts: &'u mut Attempts,
    input: ReadBuf,
    scanner: P::ReplyScanner,
    /// The request whose reply is incomplete.
    current: Option<InFlight<P>>,
    /// Bytes at the start of the input that are scanned and not yet passed on.
    passed: usize,
    /// Bytes of the incomplete reply that are passed on.
    handed_bytes: usize,
    wait_sampler: WaitSampler,
    /// Latency from which a request is slow; reloaded for each batch.
    slow_from: Duration,
    /// Fires at the deadline of a request that was once the front.
    alarm: Alarm,
    /// Idle timeout; `None` for no limit.
    keep: Option<Duration>,
    /// The time of the last read.
    used: Instant,
    /// A whole poll has passed: queued requests are not carried over from a connection that never worked, or a server
    /// that closes every connection would be reconnected to without end.
    settled: bool,
    /// The pending write was delayed already.
    delayed: bool,
    closes: SentCloses,
    /// The requests that the server refuses: nothing more is sent then, and the connection ends when all is answered.
    refusals: Refusals<P>,
    /// When the request was queued whose reply the disconnect cut off.
    pub(crate) interrupted: Option<Instant>,
}

impl<'u, P: Protocol> Connection<'u, P> {
    pub(crate) fn new(
        upstream: &'u UpstreamConn<P>,
        context: &'u WorkerContext,
        stream: Stream,
        attempts: &'u mut Attempts,
    ) -> Self {
        Self {
            upstream,
            context,
            stream,
            attempts,
            input: ReadBuf::default(),
            scanner: P::ReplyScanner::default(),
            current: None,
            passed: 0,
            handed_bytes: 0,
            wait_sampler: WaitSampler::default(),
            slow_from: Duration::MAX,
            alarm: Alarm::default(),
            keep: (upstream.profile != ConnProfile::FIRST && upstream.dedicated.is_none())
                .then_some(KEEP),
            used: Instant::now(),
            settled: false,
            delayed: false,
            closes: SentCloses::default(),
            refusals: Refusals::new(upstream),
            interrupted: None,
        }
    }

    /// Advances as far as the socket allows. Ready when the connection has ended: `None` if no request was lost.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Disconnect>> {
        self.upstream.begin_turn(cx);
        let now = Instant::now();
        let may_send = self.closes.send(self.upstream, cx, now);
        let mut disconnect = self.poll_read(cx, now);
        if disconnect.is_pending() {
            self.poll_shut(cx);
            if may_send {
                disconnect = self
                    .poll_write(cx, now)
                    .map(|error| Some(Disconnect::Error(error)));
            }
        }
        if disconnect.is_pending() {
            disconnect = self.poll_clock(cx, now);
        }
        if disconnect.is_pending() && self.is_refused() {
            disconnect = Poll::Ready(Some(Disconnect::Error(UpstreamError::NoPrimary)));
        }
        if let Poll::Ready(disconnect) = &disconnect
            && let Some(current) = self.current.take()
        {
            self.interrupted = Some(current.since);
            let error = match disconnect {
                Some(Disconnect::Error(error)) => *error,
                _ => UpstreamError::Closed,
            };
            if self.upstream.dedicated.is_some() && error != UpstreamError::TimedOut {
                current
                    .responder
                    .fail_with(error, &self.upstream.server.lost_reply(error));
            } else {
                current.responder.fail(error);
            }
        }
        if disconnect.is_ready() {
            self.refusals.hand_over(self.upstream);
        }
        self.settled = true;
        disconnect
    }

    /// Returns true if the server has refused requests, and answered all that was sent.
    fn is_refused(&self) -> bool {
        self.refusals.has_refused() && self.current.is_none() && self.upstream.is_idle()
    }

    /// Closes the connection, after this disconnect. If the server may execute requests that were sent, it is abandoned,
    /// before their clients learn of the disconnect.
    pub(crate) fn close(self, disconnect: Option<&Disconnect>) {
        let is_given_up =
            matches!(disconnect, Some(Disconnect::Error(error)) if is_given_up(*error));
        if is_given_up && (self.interrupted.is_some() || !self.upstream.nothing_sent()) {
            abandon(&self.upstream.server, self.stream);
        }
    }

    /// Reads. This precedes the write: a connection that the server closed while it was idle is detected before
    /// anything is sent over it, and queued requests use the next one.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Option<Disconnect>> {
        for _ in 0..READS_IN_A_ROW {
            let filled = self
                .input
                .poll_fill(&mut self.stream, cx, &self.context.scratch, 0);
            let (read, mut filled) = match filled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(filled)) => filled,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(self.lost(UpstreamError::from(&error)));
                }
            };
            if read == 0 {
                self.input.put_back(filled, &self.context.scratch);
                return Poll::Ready(self.lost(UpstreamError::Closed));
            }
            self.note_read(now);
            let outcome = self.on_bytes(&mut filled.bytes, now);
            self.input.put_back(filled, &self.context.scratch);
            if self.upstream.tx_support.take_desynced() {
                // The requests in its queue have failed already. That the proxy closes it is no failure of the server.
                return Poll::Ready(None);
            }
            if let Err(error) = outcome {
                return Poll::Ready(Some(Disconnect::Error(error)));
            }
        }
        yield_now(cx);
        Poll::Pending
    }

    fn note_read(&self, now: Instant) {
        let since = match &self.current {
            Some(current) => current.responder.is_timed().then_some(current.since),
            None => self.upstream.front_timed_since(),
        };
        if let Some(since) = since {
            let waited = now.saturating_duration_since(since);
            self.context.load.on_server_read(waited);
        }
    }

    /// The outcome of a lost connection: `None` if no reply was pending, and the server did not close it at once.
    fn lost(&self, error: UpstreamError) -> Option<Disconnect> {
        if self.settled && self.current.is_none() && self.upstream.nothing_sent() {
            self.upstream.server.cells.bump(ServerMetric::ServerEof);
            None
        } else {
            Some(Disconnect::Error(error))
        }
    }

    fn on_bytes(&mut self, bytes: &mut BytesMut, now: Instant) -> Result<(), UpstreamError> {
        let mut replied = false;
        let mut outcome = Ok(());
        self.used = now;
        self.slow_from = self.upstream.slow_from();
        while bytes.len() > self.passed {
            let Some(mut current) = self.current.take().or_else(|| self.upstream.take_front())
            else {
                let unsolicited = bytes.get(self.passed..).unwrap_or_default();
                outcome = Err(if P::classify(unsolicited).is_max_clients() {
                    UpstreamError::MaxClients
                } else {
                    UpstreamError::BadReply
                });
                break;
            };
            let rest = bytes.get(self.passed..).unwrap_or_default();
            match P::scan_reply(&mut self.scanner, rest, current.responder.expect()) {
                Ok(Passed::Whole {
                    len,
                    kind,
                    hidden_bytes,
                }) => {
                    let end = self.passed + len;
                    self.passed = 0;
                    self.note_reply(&current, end, kind, now);
                    if kind != ReplyKind::Value {
                        self.note_error(&current, bytes.get(..end).unwrap_or_default());
                    }
                    let hidden_bytes = usize::try_from(hidden_bytes).unwrap_or(usize::MAX);
                    let shown = end.saturating_sub(hidden_bytes);
                    let reply = bytes.get(..shown).unwrap_or_default();
                    if self.refusals.are_possible {
                        self.refusals.complete(self.upstream, current, reply, kind);
                    } else {
                        if kind != ReplyKind::Value {
                            current.responder.note_error(reply);
                        }
                        current.responder.complete(Frame::Borrowed(reply));
                    }
                    bytes.advance(end);
                    replied = replied || kind != ReplyKind::ServerError;
                }
                Ok(Passed::Part { len }) => {
                    self.passed += len;
                    if self.passed >= STREAM_BYTES || self.handed_bytes > 0 {
                        let part = bytes.get(..self.passed).unwrap_or_default();
                        self.refusals.part(self.upstream, &mut current, part);
                        self.handed_bytes += self.passed;
                        bytes.advance(self.passed);
                        self.passed = 0;
                    }
                    self.current = Some(current);
                    break;
                }
                Err(_) => {
                    current.responder.fail(UpstreamError::BadReply);
                    outcome = Err(UpstreamError::BadReply);
                    break;
                }
            }
        }
        if self.refusals.are_possible {
            self.refusals.book(self.upstream, self.current.is_none());
        }
        if replied && self.refusals.is_empty() {
            self.attempts.on_reply(&self.upstream.server);
        }
        outcome
    }

    /// Counts a complete reply, of which the last `end` bytes are still in the input.
    fn note_reply(&mut self, request: &InFlight<P>, end: usize, kind: ReplyKind, now: Instant) {
        let server = &self.upstream.server;
        let cells = &server.cells;
        let bytes = self.handed_bytes + end;
        cells.bump(ServerMetric::Responses);
        cells.add(ServerMetric::ResponseBytes, bytes as u64);
        self.handed_bytes = 0;
        self.upstream.observe_sizes(request, bytes, now);
        let took = now.saturating_duration_since(request.since);
        if request.responder.is_timed() {
            let latency = Latency::of(took);
            cells.latency.record(latency);
            request.responder.note_latency(latency);
            let replies = cells.get(ServerMetric::Responses);
            if replies.is_multiple_of(PER_SAMPLE) {
                request.responder.sample(now);
            }
            if took >= self.slow_from {
                self.upstream.observe_slow(request, now);
            }
        }
        if kind != ReplyKind::Value {
            cells.bump(ServerMetric::ReplyErrors);
        }
        if kind == ReplyKind::ServerError {
            server.server_error(request.since, now);
        }
    }

    /// Has the name of a server looked up that has become a replica, and notes that it refuses requests.
    #[cold]
    fn note_error(&self, request: &InFlight<P>, reply: &[u8]) {
        let server = &self.upstream.server;
        if P::classify(reply) == ReplyClass::Error(ErrorCode::ReadOnly) {
            server.store.want_lookup(&server.shared);
        }
        if let Some(failover) = &server.failover
            && P::Stateful::effect(&[], request.responder.expect(), reply) == Effect::Refused
        {
            failover.note_refusal();
        }
    }

    /// Shuts down the write side of a connection whose client is gone.
    fn poll_shut(&mut self, cx: &mut Context<'_>) {
        if let Some(dedicated) = self.upstream.dedicated.as_deref()
            && dedicated.is_shut.take()
        {
            // The server's EOF ends the connection, whatever the result.
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<UpstreamError> {
        let upstream = self.upstream;
        let has_sent_all = || upstream.queue.borrow().has_sent_all();
        if has_sent_all() {
            self.delayed = false;
            // What was kept may have been answered.
            upstream.book();
            return Poll::Pending;
        }
        if self.waits_for_more(cx) {
            return Poll::Pending;
        }
        self.wait_sampler.on_write(upstream, now);
        let stream = &mut self.stream;
        let at = (now, self.current.as_ref().map_or(0, |current| current.len));
        poll_write_all(cx, |cx| {
            if has_sent_all() {
                return Poll::Ready(Ok(0));
            }
            upstream.poll_write(stream, cx, at)
        })
    }

    /// Delays a small write until the runtime has polled the sockets once more, so that the requests of sessions that
    /// have become ready meanwhile join it. No timer is involved: it costs only that one poll, and nothing with a
    /// single client.
    fn waits_for_more(&mut self, cx: &mut Context<'_>) -> bool {
        let queued_bytes = self.upstream.queued_bytes();
        let may_hold = self.context.load.is_shared() && queued_bytes <= HOLD_BYTES;
        if self.delayed || queued_bytes == 0 || !may_hold {
            self.delayed = false;
            return false;
        }
        self.delayed = true;
        yield_now(cx);
        true
    }

    /// The deadline of the next reply.
    fn deadline(&self) -> Option<Instant> {
        let dedicated = self.upstream.dedicated.as_deref();
        let deadline = dedicated.and_then(|dedicated| dedicated.deadline.get());
        let Some(timeout) = self.upstream.server.timeout.get() else {
            return deadline;
        };
        let since = match &self.current {
            Some(current) => current.responder.is_timed().then_some(current.since),
            None => self.upstream.front_timed_since(),
        };
        let timed = since.map(|since| since + timeout);
        deadline.into_iter().chain(timed).min()
    }

    /// The time at which it is closed as unused. Requests queued by then use the next one.
    fn end_of_use(&self) -> Option<Instant> {
        let keep = self.keep?;
        let is_unused =
            self.current.is_none() && self.upstream.is_idle() && self.upstream.nothing_sent();
        is_unused.then(|| self.used + keep)
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Option<Disconnect>> {
        let (deadline, disconnect) = match self.deadline() {
            Some(deadline) => (deadline, Some(Disconnect::Error(UpstreamError::TimedOut))),
            None => match self.end_of_use() {
                Some(end) => (end, None),
                None => return Poll::Pending,
            },
        };
        if deadline <= now {
            return Poll::Ready(disconnect);
        }
        self.alarm.arm(deadline, now, cx);
        Poll::Pending
    }
}
