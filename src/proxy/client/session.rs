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
use crate::protocol::{Arrival, Protocol, Scan};
use crate::proxy::client::lingering_close::Farewell;
use crate::proxy::dispatch::{Dispatcher, Next};
use crate::proxy::pool::LocalPool;
use crate::proxy::replies::queue::{Pipeline, Status, Told};
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::park_delay::LastRead;
use crate::proxy::worker::yield_now::rest;
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
    phase: Phase,
    /// The client is gone, and something is still to be done for it.
    left: Option<End>,
    last_read: LastRead,
    /// Why input is not looked at although there may be some.
    held_up: Option<HeldUp>,
    /// The proxy is leaving: what was read is still taken, and no more.
    reads_no_more: bool,
    /// Runs while a client takes nothing of what it is owed.
    patience: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Phase {
    /// Takes requests.
    Open,
    /// Takes no more requests; ends when all is answered.
    Closing(End),
    /// All is answered; what the client still sends is dropped, so that the last reply reaches it.
    Farewell(Box<Farewell>, End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldUp {
    /// The client has as much in flight, or is owed as much, as it may.
    Limit,
    /// It had its turn.
    Turn,
    /// Its server has too much queued, and wakes the session when there is room.
    Server,
    /// The next request must not overtake those in flight.
    Fence,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
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
        pipeline: Rc<Pipeline>,
        number: usize,
    ) -> Self {
        let arrival = Arrival {
            peer: stream.peer(),
            local: stream.local(),
            session: number,
        };
        Self {
            stream,
            input: ReadBuf::default(),
            scanner: P::RequestScanner::default(),
            scanned: None,
            want: 0,
            dispatcher: Dispatcher::new(pool, pipeline, arrival),
            phase: Phase::Open,
            left: None,
            last_read: LastRead::default(),
            held_up: None,
            reads_no_more: false,
            patience: None,
        }
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.dispatcher.pipeline.begin_turn(cx);
        if let Err(end) = self.poll_input(cx) {
            // What was answered before is still the client's, which may only have ended what it says.
            let _ = self.dispatcher.is_unanswered() && self.poll_output(cx).is_ok();
            return Poll::Ready(end);
        }
        let Ok(written) = self.poll_output(cx) else {
            return Poll::Ready(End::Error);
        };
        let status = self.dispatcher.pipeline.status();
        if self.dispatcher.is_waiting() {
            let is_paid = status.owed_bytes == 0 && status.told != Some(Told::Overdrawn);
            if self.dispatcher.look_after(cx, is_paid) {
                // What it held up goes on.
                rest(cx);
            }
        }
        match status.told {
            Some(Told::Kill) => return Poll::Ready(End::Error),
            Some(Told::Overdrawn) => {
                return self.give_up(PoolMetric::SlowClientClosed, "is owed more than the limit");
            }
            Some(Told::Slow) => {
                let why = "does not keep up with its subscriptions";
                return self.give_up(PoolMetric::SlowSubscriberClosed, why);
            }
            Some(Told::Drain) => {
                self.reads_no_more = true;
                self.dispatcher.end_wait();
                if self.is_open() && self.held_up.is_none() && !self.dispatcher.is_waiting() {
                    self.phase = Phase::Closing(End::Drained);
                }
            }
            None => {}
        }
        if !self.is_open() {
            self.dispatcher.unsubscribe();
        }
        if status.cut && status.out_bytes == 0 {
            return Poll::Ready(End::Error);
        }
        if status.in_flight == 0 && status.owed_bytes == 0 {
            match self.phase {
                Phase::Closing(End::Eof) => return Poll::Ready(End::Eof),
                Phase::Closing(end) => {
                    let farewell = Box::new(Farewell::new(self.flow().linger));
                    self.phase = Phase::Farewell(farewell, end);
                }
                Phase::Open | Phase::Farewell(..) => {}
            }
        }
        if let Phase::Farewell(farewell, end) = &mut self.phase {
            let end = *end;
            return farewell.poll(&mut self.stream, cx).map(|()| end);
        }
        let may_go_on = match self.held_up {
            Some(HeldUp::Turn) => true,
            Some(HeldUp::Limit) => self.may_take(status),
            Some(HeldUp::Fence) => !self.is_fenced(status),
            Some(HeldUp::Server) | None => false,
        };
        if may_go_on {
            // What was written made room; the others have their turn first.
            rest(cx);
        }
        self.poll_patience(cx, status, written)
    }

    /// Whether nothing may be taken before what is in flight is answered.
    fn is_fenced(&self, status: Status) -> bool {
        status.in_flight > 0 || self.dispatcher.is_waiting()
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Reads and takes requests until nothing more is there or a limit is reached.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..self.flow().reads_in_a_row {
            if !self.is_open() {
                return Ok(());
            }
            let status = self.dispatcher.pipeline.status();
            if status.cut || matches!(status.told, Some(Told::Overdrawn | Told::Slow)) {
                return Ok(());
            }
            if self.dispatcher.is_waiting()
                || self.held_up == Some(HeldUp::Fence) && status.in_flight > 0
            {
                return self.read_ahead(cx);
            }
            if !self.may_take(status) {
                self.held_up = Some(HeldUp::Limit);
                return Ok(());
            }
            if self.held_up.take().is_some() && !self.input.is_empty() {
                let filled = self.input.take();
                self.on_bytes(cx, filled, Instant::now());
                if self.held_up.is_some() {
                    return Ok(());
                }
                if self.dispatcher.is_waiting() {
                    // From now on the end of what the client says is the end of its wait.
                    continue;
                }
            }
            if self.reads_no_more {
                return Ok(());
            }
            let pool = &self.dispatcher.pool;
            let scratch = &pool.commons.scratch;
            match self
                .input
                .poll_fill(&mut self.stream, cx, scratch, self.want)
            {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(End::Error),
                Poll::Ready(Ok((0, filled))) => {
                    self.input.put_back(filled, scratch);
                    self.phase = Phase::Closing(End::Eof);
                }
                Poll::Ready(Ok((read, filled))) => {
                    pool.cells.add(PoolMetric::ClientBytesIn, read as u64);
                    let now = Instant::now();
                    pool.commons.pace.on_read(&mut self.last_read, now);
                    self.on_bytes(cx, filled, now);
                    if self.held_up.is_some() {
                        return Ok(());
                    }
                }
            }
        }
        self.held_up = Some(HeldUp::Turn);
        Ok(())
    }

    /// Reads, up to a bound, what is not to be taken yet: a client that leaves meanwhile is not to be missed.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let pool = &self.dispatcher.pool;
        let scratch = &pool.commons.scratch;
        let is_blocked = self.dispatcher.is_blocked();
        if self.reads_no_more && !self.dispatcher.is_waiting() {
            return Ok(());
        }
        if is_blocked && self.input.len() >= pool.flow.read_ahead_bytes {
            let is_gone = self.stream.is_hung_up(cx);
            return (!is_gone).then_some(()).ok_or(End::Eof);
        }
        while self.input.len() < pool.flow.read_ahead_bytes {
            match self.input.poll_fill(&mut self.stream, cx, scratch, 0) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Err(End::Error),
                Poll::Ready(Ok((read, filled))) => {
                    self.input.put_back(filled, scratch);
                    pool.cells.add(PoolMetric::ClientBytesIn, read as u64);
                    self.held_up = Some(HeldUp::Fence);
                    match read {
                        // As in Redis, a client that waits and says no more is gone.
                        0 if is_blocked => return Err(End::Eof),
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
            Some(expected_bytes) if self.dispatcher.pool.commons.pace.is_shared() => {
                (flow.shared_in_flight, expected_bytes)
            }
            Some(expected_bytes) => (flow.in_flight, expected_bytes),
            None => (flow.first_in_flight, 0),
        };
        status.in_flight < in_flight
            && status.owed_bytes.saturating_add(expected_bytes) < flow.owed_bytes
    }

    /// Takes every whole request at the start of a batch, as far as the limits let it.
    fn on_bytes(&mut self, cx: &mut Context<'_>, mut filled: Filled, now: Instant) {
        self.dispatcher.pool.refresh(now);
        let begun_bytes = self.dispatcher.pipeline.status().out_bytes;
        self.want = 0;
        while !filled.bytes.is_empty() && self.is_open() {
            let limits = &self.dispatcher.pool.limits;
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
                    let status = self.dispatcher.pipeline.status();
                    self.held_up = if !self.may_take(status) {
                        Some(HeldUp::Limit)
                    } else if status.out_bytes > begun_bytes + self.flow().turn_bytes {
                        Some(HeldUp::Turn)
                    } else {
                        self.take(cx, found, &mut filled, len, now)
                    };
                    if self.held_up.is_some() {
                        self.scanned = Some((*found, len));
                        break;
                    }
                }
                Err(error) => {
                    self.held_up = self.refuse(&error);
                    break;
                }
            }
        }
        if !self.is_open() {
            filled.bytes.clear();
        }
        self.input
            .put_back(filled, &self.dispatcher.pool.commons.scratch);
    }

    /// Offers the request of `len` bytes at the start of a batch, and consumes it if it is taken.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        found: &P::Request,
        filled: &mut Filled,
        len: usize,
        now: Instant,
    ) -> Option<HeldUp> {
        let mut expanded = BytesMut::new();
        let frame = filled.bytes.get(..len).unwrap_or_default();
        let next = match P::expand(found, frame, &mut expanded) {
            Ok(true) => self.offer_expanded(&expanded, now),
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
    fn offer_expanded(&mut self, frame: &[u8], now: Instant) -> Next<P> {
        let limits = &self.dispatcher.pool.limits;
        match P::scan_request(&mut P::RequestScanner::default(), frame, limits) {
            Ok(Scan::Complete { found, .. }) => {
                self.dispatcher
                    .dispatch(&found, Frame::Borrowed(frame), now)
            }
            Ok(Scan::Partial { .. }) => Next::Close,
            Err(error) => self.refuse(&error).map_or(Next::Close, |_| Next::Fenced),
        }
    }

    fn on_next(&mut self, cx: &Context<'_>, next: Next<P>) -> Option<HeldUp> {
        match next {
            Next::Continue => None,
            Next::Close => {
                if self.is_open() {
                    self.phase = Phase::Closing(End::Eof);
                }
                None
            }
            Next::Stalled(upstream) => {
                upstream.wait_for_room(cx.waker());
                Some(HeldUp::Server)
            }
            Next::Fenced => Some(HeldUp::Fence),
        }
    }

    /// Answers bytes whose framing is lost, and takes no more; but not yet if the client waits.
    fn refuse(&mut self, error: &P::ScanError) -> Option<HeldUp> {
        if self.dispatcher.is_waiting() {
            self.scanner = P::RequestScanner::default();
            return Some(HeldUp::Fence);
        }
        self.dispatcher.pool.cells.bump(PoolMetric::ProtocolErrors);
        let mut reply = BytesMut::new();
        P::write_scan_error(error, &mut reply);
        self.dispatcher.tell(&reply);
        self.phase = Phase::Closing(End::Error);
        None
    }

    /// Writes until the client takes no more. Returns the bytes that went.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let mut written = 0;
        loop {
            match self.dispatcher.pipeline.poll_write(&mut self.stream, cx) {
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(Ok(some)) => written += some,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        let cells = &self.dispatcher.pool.cells;
        cells.add(PoolMetric::ClientBytesOut, written as u64);
        Ok(written)
    }

    /// Gives up a client that is over its limit and takes nothing of what it could have.
    fn poll_patience(&mut self, cx: &mut Context<'_>, status: Status, written: usize) -> Poll<End> {
        let is_patient = status.owed_bytes < self.flow().owed_bytes || status.out_bytes == 0;
        if is_patient || written > 0 {
            self.patience = None;
        }
        if is_patient {
            return Poll::Pending;
        }
        let patience = self.flow().owed_patience;
        let alarm = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        if alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let why = "takes nothing of what it is owed";
        self.give_up(PoolMetric::SlowClientClosed, why)
    }

    fn give_up(&self, metric: PoolMetric, why: &'static str) -> Poll<End> {
        let pool = &self.dispatcher.pool;
        pool.cells.bump(metric);
        let (pool, client) = (&*pool.name, self.stream.peer());
        tracing::warn!(pool, client, why, "client closed");
        Poll::Ready(End::Error)
    }

    fn flow(&self) -> &FlowLimits {
        &self.dispatcher.pool.flow
    }
}

impl<P: Protocol> Future for Session<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let session = self.get_mut();
        let end = match session.left {
            Some(end) => end,
            None => ready!(session.poll_session(cx)),
        };
        if session.dispatcher.is_waiting() {
            session.left = Some(end);
            ready!(session.dispatcher.poll_leave(cx));
        }
        let cells = &session.dispatcher.pool.cells;
        match end {
            End::Eof => cells.bump(PoolMetric::ClientEof),
            End::Error => cells.bump(PoolMetric::ClientErr),
            End::Drained => {}
        }
        Poll::Ready(())
    }
}

impl<P: Protocol> Drop for Session<P> {
    fn drop(&mut self) {
        self.dispatcher.pipeline.abandon();
        self.dispatcher.unsubscribe();
    }
}
