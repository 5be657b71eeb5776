//! One client connection.
//!
//! Invariants: requests are taken in the order in which they came; both directions advance in the same poll; one
//! write a turn while the client accepts everything; at a limit the session stops reading, and still writes.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::time::{Instant, Sleep, sleep};

use crate::buf::{Filled, Frame, ReadBuf, SHARE_BYTES};
use crate::net::Stream;
use crate::protocol::{ConnInfo, KillSwitch, Protocol, Scan};
use crate::proxy::client::lingering_close::LingeringClose;
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::forward::Dispatched;
use crate::proxy::pool::LocalPool;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::{CloseSignal, Status};
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::park_delay::ReadStamp;
use crate::proxy::worker::yield_now::yield_now;
use crate::stats::PoolMetric;

/// Serves one client until it leaves. A future for the worker's thread.
#[derive(Debug)]
pub struct Session<P: Protocol> {
    stream: Stream,
    input: ReadBuf,
    scanner: P::RequestScanner,
    /// The request at the start of the input, with its length, if it was scanned and not taken. The scanner is past it.
    scanned: Option<(P::Request, usize)>,
    /// Bytes that the request under way is known to have.
    want: usize,
    dispatcher: Dispatcher<P>,
    kill_switch: KillSwitch,
    phase: Phase,
    /// The client is gone, and something is still to be done for it.
    client_gone: Option<SessionEnd>,
    last_read: ReadStamp,
    /// Why input is not looked at although there may be some.
    read_pause: Option<ReadPause>,
    /// The proxy is leaving: what was read is still taken, and no more.
    draining: bool,
    /// Runs while a client takes nothing of what it is owed.
    stall_timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Phase {
    /// Takes requests.
    Open,
    /// Takes no more requests; ends when all is answered.
    Closing(SessionEnd),
    /// All is answered; what the client still sends is dropped, so that the last reply reaches it.
    LingeringClose(Box<LingeringClose>, SessionEnd),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadPause {
    /// The client has as much in flight, or is owed as much, as it may.
    Limit,
    /// It had its turn.
    Budget,
    /// Its server has too much queued, and wakes the session when there is room.
    Backpressure,
    /// The next request must not overtake those in flight.
    Fence,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionEnd {
    /// The client left, or asked to.
    Eof,
    /// The proxy is leaving.
    Drained,
    /// Anything else.
    Error,
}

impl<P: Protocol> Session<P> {
    /// Serves `stream`. `number` chooses among the connections to each server; `pipeline` may be kept to drain or kill
    /// the session.
    pub fn new(
        stream: Stream,
        pool: Rc<LocalPool<P>>,
        replies: Rc<ReplyQueue>,
        number: usize,
    ) -> Self {
        let kill_switch = KillSwitch::default();
        let arrival = ConnInfo {
            peer: stream.peer(),
            local: stream.local(),
            session: number,
            kill_switch: kill_switch.clone(),
        };
        Self {
            stream,
            input: ReadBuf::default(),
            scanner: P::RequestScanner::default(),
            scanned: None,
            want: 0,
            dispatcher: Dispatcher::new(pool, replies, arrival),
            kill_switch,
            phase: Phase::Open,
            client_gone: None,
            last_read: ReadStamp::default(),
            read_pause: None,
            draining: false,
            stall_timer: None,
        }
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        self.dispatcher.forwarder.replies.begin_turn(cx);
        if let Err(end) = self.poll_input(cx) {
            // What was answered before is still the client's, which may only have ended what it says.
            let _ = self.dispatcher.is_unanswered() && self.poll_output(cx).is_ok();
            return Poll::Ready(end);
        }
        let Ok(written) = self.poll_output(cx) else {
            return Poll::Ready(SessionEnd::Error);
        };
        let status = self.dispatcher.forwarder.replies.status();
        if self.dispatcher.is_waiting() {
            let is_paid =
                status.pending_bytes == 0 && status.close_signal != Some(CloseSignal::OutputLimit);
            if self.dispatcher.poll_blocked(cx, is_paid) {
                // What it held up goes on.
                yield_now(cx);
            }
        }
        match status.close_signal {
            Some(CloseSignal::Kill) => return Poll::Ready(SessionEnd::Error),
            Some(CloseSignal::OutputLimit) => {
                return self.close_slow(
                    PoolMetric::SlowClientClosed,
                    "pending output exceeds the limit",
                );
            }
            Some(CloseSignal::SlowSubscriber) => {
                let why = "pending messages exceed pubsub_buffer_limit";
                return self.close_slow(PoolMetric::SlowSubscriberClosed, why);
            }
            Some(CloseSignal::Drain) => {
                self.draining = true;
                self.dispatcher.end_wait();
                if self.is_open() && self.read_pause.is_none() && !self.dispatcher.is_waiting() {
                    self.phase = Phase::Closing(SessionEnd::Drained);
                }
            }
            None => {}
        }
        if !self.is_open() {
            self.dispatcher.unsubscribe();
        }
        if status.cut && status.out_bytes == 0 {
            return Poll::Ready(SessionEnd::Error);
        }
        if status.in_flight == 0 && status.pending_bytes == 0 {
            match self.phase {
                Phase::Closing(SessionEnd::Eof) => return Poll::Ready(SessionEnd::Eof),
                Phase::Closing(end) => {
                    let farewell = Box::new(LingeringClose::new(self.flow().linger));
                    self.phase = Phase::LingeringClose(farewell, end);
                }
                Phase::Open | Phase::LingeringClose(..) => {}
            }
        }
        if let Phase::LingeringClose(farewell, end) = &mut self.phase {
            let end = *end;
            return farewell.poll(&mut self.stream, cx).map(|()| end);
        }
        let may_go_on = match self.read_pause {
            Some(ReadPause::Budget) => true,
            Some(ReadPause::Limit) => self.may_take(status),
            Some(ReadPause::Fence) => !self.is_fenced(status),
            Some(ReadPause::Backpressure) | None => false,
        };
        if may_go_on {
            // What was written made room; the others have their turn first.
            yield_now(cx);
        }
        self.poll_stall(cx, status, written)
    }

    /// Whether nothing may be taken before what is in flight is answered.
    fn is_fenced(&self, status: Status) -> bool {
        status.in_flight > 0 || self.dispatcher.is_waiting()
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Reads and takes requests until nothing more is there or a limit is reached.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        for _ in 0..self.flow().reads_in_a_row {
            if !self.is_open() {
                return Ok(());
            }
            let status = self.dispatcher.forwarder.replies.status();
            if status.cut
                || matches!(
                    status.close_signal,
                    Some(CloseSignal::OutputLimit | CloseSignal::SlowSubscriber)
                )
            {
                return Ok(());
            }
            if self.dispatcher.is_waiting()
                || self.read_pause == Some(ReadPause::Fence) && status.in_flight > 0
            {
                return self.read_ahead(cx);
            }
            if !self.may_take(status) {
                self.read_pause = Some(ReadPause::Limit);
                return Ok(());
            }
            if self.read_pause.take().is_some() && !self.input.is_empty() {
                let filled = self.input.take();
                self.on_bytes(cx, filled, Instant::now());
                if self.read_pause.is_some() {
                    return Ok(());
                }
                if self.dispatcher.is_waiting() {
                    // From now on the end of what the client says is the end of its wait.
                    continue;
                }
            }
            if self.draining {
                return Ok(());
            }
            let pool = &self.dispatcher.forwarder.pool;
            let scratch = &pool.context.scratch;
            match self
                .input
                .poll_fill(&mut self.stream, cx, scratch, self.want)
            {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(SessionEnd::Error),
                Poll::Ready(Ok((0, filled))) => {
                    self.input.put_back(filled, scratch);
                    self.phase = Phase::Closing(SessionEnd::Eof);
                }
                Poll::Ready(Ok((read, filled))) => {
                    pool.cells.add(PoolMetric::ClientBytesIn, read as u64);
                    let now = Instant::now();
                    pool.context.load.on_read(&mut self.last_read, now);
                    self.on_bytes(cx, filled, now);
                    if self.read_pause.is_some() {
                        return Ok(());
                    }
                }
            }
        }
        self.read_pause = Some(ReadPause::Budget);
        Ok(())
    }

    /// Reads, up to a bound, what is not to be taken yet: a client that leaves meanwhile is not to be missed.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        let pool = &self.dispatcher.forwarder.pool;
        let scratch = &pool.context.scratch;
        let is_blocked = self.dispatcher.is_blocked();
        if self.draining && !self.dispatcher.is_waiting() {
            return Ok(());
        }
        if is_blocked && self.input.len() >= pool.flow.read_ahead_bytes {
            let is_gone = self.stream.is_hung_up(cx);
            return (!is_gone).then_some(()).ok_or(SessionEnd::Eof);
        }
        while self.input.len() < pool.flow.read_ahead_bytes {
            match self.input.poll_fill(&mut self.stream, cx, scratch, 0) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Err(SessionEnd::Error),
                Poll::Ready(Ok((read, filled))) => {
                    self.input.put_back(filled, scratch);
                    pool.cells.add(PoolMetric::ClientBytesIn, read as u64);
                    self.read_pause = Some(ReadPause::Fence);
                    match read {
                        // As in Redis, a client that waits and says no more is gone.
                        0 if is_blocked => return Err(SessionEnd::Eof),
                        // The end is read once more when what lies before it is taken.
                        0 => break,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn may_take(&self, status: Status) -> bool {
        let flow = self.flow();
        let (in_flight, expected_bytes) = match status.expected_bytes {
            Some(expected_bytes) if self.dispatcher.forwarder.pool.context.load.is_shared() => {
                (flow.shared_in_flight, expected_bytes)
            }
            Some(expected_bytes) => (flow.in_flight, expected_bytes),
            None => (flow.first_in_flight, 0),
        };
        status.in_flight < in_flight
            && status.pending_bytes.saturating_add(expected_bytes) < flow.pending_bytes
    }

    /// Takes every whole request at the start of a batch, as far as the limits let it.
    fn on_bytes(&mut self, cx: &mut Context<'_>, mut filled: Filled, now: Instant) {
        if self.kill_switch.is_killed() {
            self.dispatcher.forwarder.replies.kill();
            self.phase = Phase::Closing(SessionEnd::Error);
        }
        self.dispatcher.forwarder.backends.refresh(now);
        let begun_bytes = self.dispatcher.forwarder.replies.status().out_bytes;
        self.want = 0;
        while !filled.bytes.is_empty() && self.is_open() {
            let limits = &self.dispatcher.forwarder.pool.limits;
            let scan = match self.scanned.take() {
                Some((found, len)) => Ok(Scan::Complete { found, len }),
                None => P::scan_request(&mut self.scanner, &filled.bytes, limits),
            };
            match scan {
                Ok(Scan::Partial { want }) => {
                    self.want = want;
                    break;
                }
                // In place: it is large, and was written a moment ago.
                Ok(Scan::Complete { ref found, len }) => {
                    let status = self.dispatcher.forwarder.replies.status();
                    self.read_pause = if !self.may_take(status) {
                        Some(ReadPause::Limit)
                    } else if status.out_bytes > begun_bytes + self.flow().turn_bytes {
                        Some(ReadPause::Budget)
                    } else {
                        self.take(cx, found, &mut filled, len, now)
                    };
                    if self.read_pause.is_some() {
                        self.scanned = Some((*found, len));
                        break;
                    }
                }
                Err(error) => {
                    self.read_pause = self.refuse(&error);
                    break;
                }
            }
        }
        if !self.is_open() {
            filled.bytes.clear();
        }
        self.input
            .put_back(filled, &self.dispatcher.forwarder.pool.context.scratch);
    }

    /// Offers the request of `len` bytes at the start of a batch, and consumes it if it is taken.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        found: &P::Request,
        filled: &mut Filled,
        len: usize,
        now: Instant,
    ) -> Option<ReadPause> {
        let mut expanded = BytesMut::new();
        let frame = filled.bytes.get(..len).unwrap_or_default();
        let next = match P::canonicalize(found, frame, &mut expanded) {
            Ok(true) => self.offer_canonical(&expanded, now),
            Ok(false) if filled.owned && len >= SHARE_BYTES => {
                let shared = filled.bytes.split_to(len).freeze();
                let frame = Frame::Shared(shared.clone());
                let next = self.dispatcher.dispatch(found, frame, now);
                // It is offered again later where it was not taken: for that, it lies in front of the rest.
                let rest = mem::take(&mut filled.bytes);
                filled.bytes = if next.is_taken() {
                    rest
                } else {
                    let mut whole = BytesMut::from(shared);
                    whole.unsplit(rest);
                    whole
                };
                return self.on_next(cx, next);
            }
            Ok(false) => self.dispatcher.dispatch(found, Frame::Borrowed(frame), now),
            Err(error) => return self.refuse(&error),
        };
        if next.is_taken() {
            filled.bytes.advance(len);
        }
        self.on_next(cx, next)
    }

    /// Offers a request that came in a shorthand, in its canonical form.
    fn offer_canonical(&mut self, frame: &[u8], now: Instant) -> Dispatched<P> {
        let limits = &self.dispatcher.forwarder.pool.limits;
        match P::scan_request(&mut P::RequestScanner::default(), frame, limits) {
            Ok(Scan::Complete { found, .. }) => {
                self.dispatcher
                    .dispatch(&found, Frame::Borrowed(frame), now)
            }
            Ok(Scan::Partial { .. }) => Dispatched::Close,
            Err(error) => self
                .refuse(&error)
                .map_or(Dispatched::Close, |_| Dispatched::Fence),
        }
    }

    fn on_next(&mut self, cx: &Context<'_>, next: Dispatched<P>) -> Option<ReadPause> {
        match next {
            Dispatched::Taken => None,
            Dispatched::Close => {
                if self.is_open() {
                    self.phase = Phase::Closing(SessionEnd::Eof);
                }
                None
            }
            Dispatched::Backpressure(upstream) => {
                upstream.wait_for_room(cx.waker());
                Some(ReadPause::Backpressure)
            }
            Dispatched::Fence => Some(ReadPause::Fence),
        }
    }

    /// Answers bytes whose framing is lost, and takes no more; but not yet if the client waits.
    fn refuse(&mut self, error: &P::ScanError) -> Option<ReadPause> {
        if self.dispatcher.is_waiting() {
            self.scanner = P::RequestScanner::default();
            return Some(ReadPause::Fence);
        }
        self.dispatcher
            .forwarder
            .pool
            .cells
            .bump(PoolMetric::ProtocolErrors);
        let mut reply = BytesMut::new();
        P::write_scan_error(error, &mut reply);
        self.dispatcher.forwarder.reply(&reply);
        self.phase = Phase::Closing(SessionEnd::Error);
        None
    }

    /// Writes until the client takes no more. Returns the bytes that went.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let mut written = 0;
        loop {
            match self
                .dispatcher
                .forwarder
                .replies
                .poll_write(&mut self.stream, cx)
            {
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(Ok(some)) => written += some,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        let cells = &self.dispatcher.forwarder.pool.cells;
        cells.add(PoolMetric::ClientBytesOut, written as u64);
        Ok(written)
    }

    /// Gives up a client that is over its limit and takes nothing of what it could have.
    fn poll_stall(
        &mut self,
        cx: &mut Context<'_>,
        status: Status,
        written: usize,
    ) -> Poll<SessionEnd> {
        let is_patient = status.pending_bytes < self.flow().pending_bytes || status.out_bytes == 0;
        if is_patient || written > 0 {
            self.stall_timer = None;
        }
        if is_patient {
            return Poll::Pending;
        }
        let patience = self.flow().stall_timeout;
        let alarm = self
            .stall_timer
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        if alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let why = "pending output is not read";
        self.close_slow(PoolMetric::SlowClientClosed, why)
    }

    fn close_slow(&self, metric: PoolMetric, why: &'static str) -> Poll<SessionEnd> {
        let pool = &self.dispatcher.forwarder.pool;
        pool.cells.bump(metric);
        let (pool, client) = (&*pool.name, self.stream.peer());
        tracing::warn!(pool, client, reason = why, "client closed");
        Poll::Ready(SessionEnd::Error)
    }

    fn flow(&self) -> &FlowLimits {
        &self.dispatcher.forwarder.pool.flow
    }
}

impl<P: Protocol> Future for Session<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let session = self.get_mut();
        let end = match session.client_gone {
            Some(end) => end,
            None => ready!(session.poll_session(cx)),
        };
        if session.dispatcher.is_waiting() {
            session.client_gone = Some(end);
            ready!(session.dispatcher.poll_orphaned(cx));
        }
        let cells = &session.dispatcher.forwarder.pool.cells;
        match end {
            SessionEnd::Eof => cells.bump(PoolMetric::ClientEof),
            SessionEnd::Error => cells.bump(PoolMetric::ClientErr),
            SessionEnd::Drained => {}
        }
        Poll::Ready(())
    }
}

impl<P: Protocol> Drop for Session<P> {
    fn drop(&mut self) {
        self.dispatcher.forwarder.replies.detach();
        self.dispatcher.unsubscribe();
    }
}
