//! Drives one server connection: connects on demand, greets, writes, scans replies, watches the clock.
//!
//! ```text
//! idle --wanted--> connecting --> greeting --> open --EOF while idle--> idle (no failure)
//!  ^                   |             |          |
//!  +---- back off <----+-------------+----------+  a failure: all that is queued is answered with it
//! ```
//!
//! An upstream is FIFO and its requests have one timeout, so only the deadline of the front request matters. In a lane that
//! is not the first, a connection that nobody uses goes back to idle after [`KEEP`]: whoever comes next opens it again.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::buf::{Frame, ReadBuf};
use crate::net::Stream;
use crate::protocol::{Fault, Lane, Passed, Protocol, ReplyKind};
use crate::proxy::pool::dedicated::{Attempt, Counted};
use crate::proxy::replies::queue::micros;
use crate::proxy::upstream::conn::{InFlight, Upstream};
use crate::proxy::upstream::disconnect::Loss;
use crate::proxy::upstream::handshake::open;
use crate::proxy::worker::context::Commons;
use crate::proxy::worker::yield_now::rest;
use crate::stats::ServerMetric;
use crate::topology::Backoff;

/// Bytes of an unfinished reply from which it is handed on as it arrives.
const STREAM_BYTES: usize = 4 << 10;

/// Queued bytes from which a write is not held back.
const HOLD_BYTES: usize = 1 << 10;

/// Reads in a row from one server before the others have their turn.
const READS_IN_A_ROW: usize = 16;

/// How long a connection of another lane than the first is kept while nobody uses it. Opening it again costs the next
/// request a connect and a greeting: less than a millisecond in ten thousand.
pub(crate) const KEEP: Duration = Duration::from_secs(5);

/// Runs until its worker ends.
pub(crate) async fn drive<P: Protocol>(upstream: Rc<Upstream<P>>, commons: Rc<Commons>) {
    let mut backoff = Backoff::default();
    let mut failing = false;
    loop {
        poll_fn(|cx| upstream.poll_wanted(cx)).await;
        let target = Rc::clone(&upstream.target);
        let begun = Instant::now();
        let mut since = None;
        let loss = match open(&upstream).await {
            Ok(stream) => {
                target.cells.bump(ServerMetric::ServerConnections);
                let mut connection = Connection::new(&upstream, &commons, stream, &mut backoff);
                let loss = poll_fn(|cx| connection.poll(cx)).await;
                target.cells.drop_one(ServerMetric::ServerConnections);
                upstream.trial.forget();
                upstream.lessons.forget();
                since = connection.interrupted;
                failing &= !connection.replied;
                loss
            }
            Err(loss) => {
                target.cells.bump(ServerMetric::ConnectErrors);
                Some(loss)
            }
        };
        let Some(loss) = loss else {
            upstream.slim();
            continue;
        };
        if let Loss::Untaken(_) = loss {
            // The server is well. Where no transaction is queued, the others go over a connection that is not asked.
            if upstream.has_blocks() {
                upstream.fail_all(&loss, None);
            }
            continue;
        }
        let now = Instant::now();
        let since = since.or_else(|| upstream.front_since()).unwrap_or(begun);
        let first = !mem::replace(&mut failing, true);
        let counted = target.failed(&loss, upstream.lane, since, now, first);
        // Where a failure counts towards ejection, that is the pause between attempts.
        if !(counted && target.ejects) {
            backoff.on_failure(now.into_std(), fastrand::f64());
        }
        if backoff.retry_at().is_some_and(|at| at > now.into_std()) {
            target.cells.bump(ServerMetric::Backoffs);
        }
        upstream.fail_all(&loss, backoff.retry_at().map(Instant::from_std));
    }
}

/// Drives a connection that one client has for itself, once: what its server remembers is lost with it.
pub(crate) async fn drive_once<P: Protocol>(
    upstream: Rc<Upstream<P>>,
    commons: Rc<Commons>,
    attempt: Attempt<P>,
) {
    poll_fn(|cx| upstream.poll_wanted(cx)).await;
    let target = Rc::clone(&upstream.target);
    let begun = Instant::now();
    let loss = match open(&upstream).await {
        Ok(stream) => {
            attempt.succeed();
            let _counted = Counted::new(&target);
            let mut backoff = Backoff::default();
            let mut connection = Connection::new(&upstream, &commons, stream, &mut backoff);
            let loss = poll_fn(|cx| connection.poll(cx)).await;
            match loss {
                // Only the clock tells of a server that hangs. That a server went all its clients see; one is enough to say so.
                Some(Loss::Fault(Fault::TimedOut)) => {
                    let loss = Loss::Fault(Fault::TimedOut);
                    target.failed(&loss, upstream.lane, begun, Instant::now(), true);
                    loss
                }
                loss => {
                    let fault = loss.as_ref().map_or(Fault::Closed, Loss::fault);
                    if let Some(loss) = &loss {
                        target.count_loss(loss);
                    }
                    Loss::Reply(lost(&upstream, fault))
                }
            }
        }
        Err(loss) => {
            target.cells.bump(ServerMetric::ConnectErrors);
            let now = Instant::now();
            let first = attempt.fail(loss.fault());
            match loss {
                // It has as many connections as it takes, or does not know this lane: those who share one fare well.
                Loss::Reply(_) | Loss::Untaken(_) | Loss::Fault(Fault::TurnedAway) => {
                    target.count_loss(&loss);
                }
                Loss::Fault(_) => drop(target.failed(&loss, upstream.lane, begun, now, first)),
            }
            loss
        }
    };
    upstream.lose_with(&loss);
}

/// What the client of a connection that it had for itself reads when that is lost.
fn lost<P: Protocol>(upstream: &Upstream<P>, fault: Fault) -> Bytes {
    let mut text = BytesMut::new();
    P::write_lost(&upstream.target.name, fault, P::GREETING, &mut text);
    text.freeze()
}

/// An open connection.
struct Connection<'u, P: Protocol> {
    upstream: &'u Upstream<P>,
    commons: &'u Commons,
    stream: Stream,
    backoff: &'u mut Backoff,
    input: ReadBuf,
    scanner: P::ReplyScanner,
    /// The request whose reply is under way.
    current: Option<InFlight<P>>,
    /// Bytes at the start of the input that the scanner has passed and that are not yet handed on.
    passed: usize,
    /// Bytes of the reply under way that are handed on.
    handed_bytes: usize,
    /// From which time on a request is slow; read anew for each batch.
    slow_from: Duration,
    /// Rings at the deadline of a request that was once the front; none before the first.
    alarm: Option<Pin<Box<Sleep>>>,
    /// How long it is kept while nobody uses it; `None` is for ever.
    keep: Option<Duration>,
    /// When something came last.
    used: Instant,
    /// Whether a whole turn has passed: queued requests are not carried over from a connection that never worked,
    /// or a server that hangs up on everyone would be called again without end.
    settled: bool,
    /// Whether the write that is due was held back already.
    held: bool,
    /// When the request was queued whose reply was cut off by the end of the connection.
    interrupted: Option<Instant>,
    /// Whether the server has answered over this connection.
    replied: bool,
}

impl<'u, P: Protocol> Connection<'u, P> {
    fn new(
        upstream: &'u Upstream<P>,
        commons: &'u Commons,
        stream: Stream,
        backoff: &'u mut Backoff,
    ) -> Self {
        Self {
            upstream,
            commons,
            stream,
            backoff,
            input: ReadBuf::default(),
            scanner: P::ReplyScanner::default(),
            current: None,
            passed: 0,
            handed_bytes: 0,
            slow_from: Duration::MAX,
            alarm: None,
            keep: (upstream.lane != Lane::FIRST && upstream.exclusive.is_none()).then_some(KEEP),
            used: Instant::now(),
            settled: false,
            held: false,
            interrupted: None,
            replied: false,
        }
    }

    /// Goes on as far as the socket lets it. Ready when the connection has ended: `None` where nobody was harmed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Loss>> {
        self.upstream.begin_turn(cx);
        let now = Instant::now();
        let mut loss = self.poll_read(cx, now);
        if loss.is_pending() {
            self.poll_shut(cx);
            loss = self.poll_write(cx).map(|fault| Some(Loss::Fault(fault)));
        }
        if loss.is_pending() {
            loss = self.poll_clock(cx, now);
        }
        if let Poll::Ready(loss) = &loss
            && let Some(current) = self.current.take()
        {
            self.interrupted = Some(current.since);
            let fault = match loss {
                Some(Loss::Fault(fault)) => *fault,
                _ => Fault::Closed,
            };
            if self.upstream.exclusive.is_some() && fault != Fault::TimedOut {
                current.ticket.fail_with(fault, &lost(self.upstream, fault));
            } else {
                current.ticket.fail(fault);
            }
        }
        self.settled = true;
        loss
    }

    /// Reads before it writes: a connection that the server closed while it was idle is seen before anything is sent
    /// over it, and what is queued goes over the next one.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Option<Loss>> {
        for _ in 0..READS_IN_A_ROW {
            let filled = self
                .input
                .poll_fill(&mut self.stream, cx, &self.commons.scratch, 0);
            let (read, mut filled) = match filled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(filled)) => filled,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(self.lost(Fault::from(&error)));
                }
            };
            if read == 0 {
                self.input.put_back(filled, &self.commons.scratch);
                return Poll::Ready(self.lost(Fault::Closed));
            }
            self.note_read(now);
            let outcome = self.on_bytes(&mut filled.bytes, now);
            self.input.put_back(filled, &self.commons.scratch);
            if self.upstream.trial.take_spoiled() {
                // Whoever was in its queue has been told. That the proxy closes it is no failure of the server.
                return Poll::Ready(None);
            }
            if let Err(fault) = outcome {
                return Poll::Ready(Some(Loss::Fault(fault)));
            }
        }
        rest(cx);
        Poll::Pending
    }

    fn note_read(&self, now: Instant) {
        let since = match &self.current {
            Some(current) => current.ticket.is_timed().then_some(current.since),
            None => self.upstream.front_timed_since(),
        };
        if let Some(since) = since {
            let waited = now.saturating_duration_since(since);
            self.commons.pace.on_server_read(waited);
        }
    }

    /// How the loss of the connection ends it: unharmed where the server owed nothing, and did not hang up at once.
    fn lost(&self, fault: Fault) -> Option<Loss> {
        if self.settled && self.current.is_none() && self.upstream.is_untouched() {
            self.upstream.target.cells.bump(ServerMetric::ServerEof);
            None
        } else {
            Some(Loss::Fault(fault))
        }
    }

    fn on_bytes(&mut self, bytes: &mut BytesMut, now: Instant) -> Result<(), Fault> {
        let mut replied = false;
        let mut outcome = Ok(());
        self.used = now;
        self.slow_from = P::slow_from(&self.upstream.target.settings);
        while bytes.len() > self.passed {
            let Some(mut current) = self.current.take().or_else(|| self.upstream.take_front())
            else {
                let unasked = bytes.get(self.passed..).unwrap_or_default();
                outcome = Err(if P::turns_away(unasked) {
                    Fault::TurnedAway
                } else {
                    Fault::BadReply
                });
                break;
            };
            let rest = bytes.get(self.passed..).unwrap_or_default();
            match P::scan_reply(&mut self.scanner, rest, current.ticket.expect()) {
                Ok(Passed::Whole { len, kind, hidden }) => {
                    let end = self.passed + len;
                    self.passed = 0;
                    self.note_reply(&current, end, kind, now);
                    let shown = if hidden { 0 } else { end };
                    let reply = bytes.get(..shown).unwrap_or_default();
                    current.ticket.complete(Frame::Borrowed(reply));
                    bytes.advance(end);
                    replied = replied || kind != ReplyKind::Troubled;
                }
                Ok(Passed::Part { len }) => {
                    self.passed += len;
                    if self.passed >= STREAM_BYTES || self.handed_bytes > 0 {
                        let part = bytes.get(..self.passed).unwrap_or_default();
                        current.ticket.part(part);
                        self.handed_bytes += self.passed;
                        bytes.advance(self.passed);
                        self.passed = 0;
                    }
                    self.current = Some(current);
                    break;
                }
                Err(_) => {
                    current.ticket.fail(Fault::BadReply);
                    outcome = Err(Fault::BadReply);
                    break;
                }
            }
        }
        if replied {
            self.replied = true;
            if self.backoff.retry_at().is_some() {
                self.upstream.target.recovered();
            }
            self.backoff.on_success();
            self.upstream.target.replied();
        }
        outcome
    }

    /// Counts a whole reply, of which the last `end` bytes are still here.
    fn note_reply(&mut self, request: &InFlight<P>, end: usize, kind: ReplyKind, now: Instant) {
        let target = &self.upstream.target;
        let cells = &target.cells;
        cells.bump(ServerMetric::Responses);
        cells.add(
            ServerMetric::ResponseBytes,
            (self.handed_bytes + end) as u64,
        );
        self.handed_bytes = 0;
        let took = now.saturating_duration_since(request.since);
        if request.ticket.is_timed() {
            cells.latency.record(micros(took));
            request.ticket.note_latency(took);
            if took >= self.slow_from {
                request.ticket.note_slow(&target.settings, took);
            }
        }
        if kind != ReplyKind::Value {
            cells.bump(ServerMetric::ReplyErrors);
        }
        if kind == ReplyKind::Troubled {
            target.troubled(request.since, now);
        }
    }

    /// Shuts the write side of a connection whose client has left.
    fn poll_shut(&mut self, cx: &mut Context<'_>) {
        if let Some(exclusive) = self.upstream.exclusive.as_deref()
            && exclusive.is_shut.take()
        {
            // The server's end of file says when it is done, however this went.
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if self.waits_for_more(cx) {
            return Poll::Pending;
        }
        loop {
            match self.upstream.poll_write(&mut self.stream, cx) {
                Poll::Ready(Ok(0)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Fault::from(&error)),
            }
        }
    }

    /// Holds a small write back until the scheduler has looked at the sockets once more, so that the requests of
    /// sessions that have become ready meanwhile go with it. No clock is involved: that one look is all it costs, and a
    /// client that is alone is spared it.
    fn waits_for_more(&mut self, cx: &mut Context<'_>) -> bool {
        let queued_bytes = self.upstream.queued_bytes();
        let may_hold = self.commons.pace.is_shared() && queued_bytes <= HOLD_BYTES;
        if self.held || queued_bytes == 0 || !may_hold {
            self.held = false;
            return false;
        }
        self.held = true;
        rest(cx);
        true
    }

    /// When the server must have answered the request that is next.
    fn deadline(&self) -> Option<Instant> {
        let exclusive = self.upstream.exclusive.as_deref();
        let ends_at = exclusive.and_then(|exclusive| exclusive.ends_at.get());
        let Some(timeout) = self.upstream.target.timeout else {
            return ends_at;
        };
        let since = match &self.current {
            Some(current) => current.ticket.is_timed().then_some(current.since),
            None => self.upstream.front_timed_since(),
        };
        let timed = since.map(|since| since + timeout);
        ends_at.into_iter().chain(timed).min()
    }

    /// When it is closed since nobody uses it. What is queued by then goes over the next one.
    fn end_of_use(&self) -> Option<Instant> {
        let keep = self.keep?;
        let is_unused =
            self.current.is_none() && self.upstream.is_quiet() && self.upstream.is_untouched();
        is_unused.then(|| self.used + keep)
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Option<Loss>> {
        let (deadline, loss) = match self.deadline() {
            Some(deadline) => (deadline, Some(Loss::Fault(Fault::TimedOut))),
            None => match self.end_of_use() {
                Some(end) => (end, None),
                None => return Poll::Pending,
            },
        };
        if deadline <= now {
            return Poll::Ready(loss);
        }
        // Armed for an earlier request, the alarm rings early and is set anew then: never once per request.
        if self
            .alarm
            .as_ref()
            .is_none_or(|alarm| alarm.deadline() <= now || alarm.deadline() > deadline)
        {
            let alarm = self
                .alarm
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            alarm.as_mut().reset(deadline);
            if alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

/// The words of a server that refused the greeting, for the log.
pub(crate) fn words(reply: &Bytes) -> String {
    String::from_utf8_lossy(reply).trim().to_owned()
}
