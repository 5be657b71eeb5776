//! The requests of one client connection, as they are read and dispatched.
//!
//! Invariant: requests are taken in their order of arrival. At a limit nothing is read, and [`ReadPause`] holds the
//! reason.

use std::mem;
use std::ops::ControlFlow::Break;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use crate::buf::{Filled, Frame, ReadBuf, SHARE_BYTES};
use crate::net::Stream;
use crate::protocol::{ClientState as _, ErrorReplies as _};
use crate::protocol::{KillSwitch, Protocol, Scan};
use crate::proxy::client::client_hello;
use crate::proxy::client::hand_over::UNREAD_MAX_BYTES;
use crate::proxy::client::pause::{ReadPause, SessionEnd};
use crate::proxy::client::reply_flow::ReplyFlow;
use crate::proxy::client::turn_budget::TurnBudget;
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::forward::Dispatched;
use crate::proxy::replies::status::{CloseSignal, Status};
use crate::proxy::worker::memory::LARGE_BYTES;
use crate::proxy::worker::park_delay::ServeStamp;
use crate::stats::{CommandId, PoolMetric, RefusalReason};

/// Input of a client that is not yet taken.
#[derive(Debug)]
pub(crate) struct Input<P: Protocol> {
    bytes: ReadBuf,
    scanner: P::RequestScanner,
    /// The request at the start of the bytes, with its length, if the scanner is past it and it was not taken.
    scanned: Option<(P::Request, usize)>,
    /// Known size of the incomplete request.
    want: usize,
    budget: TurnBudget,
    replies: ReplyFlow,
    last_served: ServeStamp,
    kill_switch: KillSwitch,
    /// The reason why input is not taken although there may be some.
    pub(crate) pause: Option<ReadPause>,
    /// The session is draining: requests that were read are still taken, and no more.
    pub(crate) draining: bool,
    /// Nothing is taken as long as the client is to leave for another process.
    is_stopped: bool,
    /// Nothing was read.
    is_new: bool,
    /// The reason why no more requests are taken, once that is so.
    pub(crate) end: Option<SessionEnd>,
}

/// What was read ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadAhead {
    Nothing,
    Some,
    /// The end of the client's input, perhaps behind more of it.
    Eof,
}

impl<P: Protocol> Input<P> {
    pub(crate) fn new(kill_switch: KillSwitch) -> Self {
        Self {
            bytes: ReadBuf::default(),
            scanner: P::RequestScanner::default(),
            scanned: None,
            want: 0,
            budget: TurnBudget::default(),
            replies: ReplyFlow::default(),
            last_served: ServeStamp::default(),
            kill_switch,
            pause: None,
            draining: false,
            is_stopped: false,
            is_new: true,
            end: None,
        }
    }

    /// The input of a client that another process has handed over, which has read these bytes.
    pub(crate) fn arrived(kill_switch: KillSwitch, unread: &[u8]) -> Self {
        Self {
            bytes: ReadBuf::keeping(unread),
            pause: (!unread.is_empty()).then_some(ReadPause::Budget),
            is_new: false,
            ..Self::new(kill_switch)
        }
    }

    /// Takes all that was read and not taken.
    pub(crate) fn take_unread(&mut self) -> BytesMut {
        self.bytes.take().bytes
    }

    /// Returns true if nothing more is taken because of this signal.
    #[cold]
    fn is_stopped_by(&mut self, signal: CloseSignal, dispatcher: &mut Dispatcher<P>) -> bool {
        match signal {
            CloseSignal::Drain => false,
            CloseSignal::CheckUser => true,
            CloseSignal::HandOver
                if !dispatcher.may_leave() || self.bytes.len() > UNREAD_MAX_BYTES =>
            {
                // It leaves after the request that lets it.
                self.budget.begin(1);
                self.is_stopped = false;
                false
            }
            _ => {
                self.is_stopped = true;
                true
            }
        }
    }

    /// Bytes that are read and not taken.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Lets other clients have the large replies that this one was to have next.
    pub(crate) fn release(&mut self, dispatcher: &Dispatcher<P>) {
        self.replies.release(dispatcher);
    }

    /// Returns true as long as requests are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Returns true if the pause is over; other tasks run first.
    pub(crate) fn may_resume(&self, dispatcher: &Dispatcher<P>, status: Status) -> bool {
        let is_leaving = || status.close_signal == Some(CloseSignal::HandOver);
        match self.pause {
            Some(_) if self.is_stopped && is_leaving() => false,
            Some(ReadPause::Budget) => true,
            Some(ReadPause::Limit) => ReplyFlow::may_take(dispatcher, status),
            Some(ReadPause::LargeReplies) => status.in_flight == 0 && !self.replies.is_waiting(),
            Some(ReadPause::Fence) => status.in_flight == 0 && !dispatcher.is_waiting(),
            Some(ReadPause::Backpressure) | None => false,
        }
    }

    /// Reads and takes requests until no input is left or a limit is reached.
    pub(crate) fn poll(
        &mut self,
        stream: &mut Stream,
        dispatcher: &mut Dispatcher<P>,
        cx: &mut Context<'_>,
    ) -> Result<(), SessionEnd> {
        let fw = &dispatcher.forwarder;
        let flow = fw.pool.flow;
        self.budget.begin(flow.turn_requests);
        fw.local_budget.set(flow.turn_local_requests);
        self.replies.begin_turn(dispatcher);
        for _ in 0..flow.reads_in_a_row {
            if !self.is_open() {
                return Ok(());
            }
            let status = dispatcher.forwarder.replies.status();
            if status.cut
                || status
                    .close_signal
                    .is_some_and(|signal| self.is_stopped_by(signal, dispatcher))
            {
                return Ok(());
            }
            if dispatcher.is_waiting()
                || self.pause == Some(ReadPause::Fence) && status.in_flight > 0
            {
                return self.read_ahead(stream, dispatcher, cx);
            }
            if !ReplyFlow::may_take(dispatcher, status) {
                self.pause = Some(ReadPause::Limit);
                return self.read_unread(stream, dispatcher, status, cx);
            }
            if self.pause.take().is_some() && !self.bytes.is_empty() {
                let (filled, now) = (self.bytes.take(), Instant::now());
                let load = &dispatcher.forwarder.pool.context.load;
                load.on_resume(&mut self.last_served, now);
                self.on_bytes(dispatcher, cx, filled, now);
                if self.pause.is_some() {
                    return Ok(());
                }
                if dispatcher.is_waiting() {
                    // From now on EOF from the client ends its wait.
                    continue;
                }
            }
            if self.draining {
                return Ok(());
            }
            let pool = &dispatcher.forwarder.pool;
            let scratch = &pool.context.scratch;
            match self.bytes.poll_fill(stream, cx, scratch, self.want) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(SessionEnd::Error),
                Poll::Ready(Ok((0, filled))) => {
                    self.bytes.put_back(filled, scratch);
                    self.end = Some(SessionEnd::Eof);
                }
                Poll::Ready(Ok((read, filled))) => {
                    pool.cells.add(PoolMetric::ClientBytesIn, read as u64);
                    if mem::take(&mut self.is_new) && client_hello::begins(&filled.bytes) {
                        // Whatever a reply says, it cannot read it.
                        client_hello::note(stream, pool);
                        return Err(SessionEnd::Error);
                    }
                    let now = Instant::now();
                    pool.context.load.on_read(&mut self.last_served, now);
                    dispatcher.on_read();
                    self.on_bytes(dispatcher, cx, filled, now);
                    if self.pause.is_some() {
                        return Ok(());
                    }
                }
            }
        }
        self.pause = Some(ReadPause::Budget);
        Ok(())
    }

    /// Reads ahead, up to a bound: a client that disconnects meanwhile must be detected.
    fn read_ahead(
        &mut self,
        stream: &mut Stream,
        dispatcher: &Dispatcher<P>,
        cx: &mut Context<'_>,
    ) -> Result<(), SessionEnd> {
        let pool = &dispatcher.forwarder.pool;
        let is_blocked = dispatcher.is_blocked();
        if self.draining && !dispatcher.is_waiting() {
            return Ok(());
        }
        if is_blocked && self.bytes.len() >= pool.flow.read_ahead_bytes {
            let is_gone = stream.is_hung_up(cx);
            return (!is_gone).then_some(()).ok_or(SessionEnd::Eof);
        }
        let most_bytes = pool.flow.read_ahead_bytes;
        match self.fill(stream, dispatcher, cx, most_bytes)? {
            ReadAhead::Nothing => {}
            // As in Redis, a blocked client that sends EOF is gone.
            ReadAhead::Eof if is_blocked => return Err(SessionEnd::Eof),
            ReadAhead::Some | ReadAhead::Eof => self.pause = Some(ReadPause::Fence),
        }
        Ok(())
    }

    /// Reads ahead from a client that does not read: it may send all its requests before it reads the replies. What is read
    /// counts towards the limit of its pending output.
    fn read_unread(
        &mut self,
        stream: &mut Stream,
        dispatcher: &Dispatcher<P>,
        status: Status,
        cx: &mut Context<'_>,
    ) -> Result<(), SessionEnd> {
        let flow = &dispatcher.forwarder.pool.flow;
        if status.out_bytes < flow.unread_bytes || self.draining {
            return Ok(());
        }
        let most_bytes = flow.pending_bytes.saturating_sub(status.pending_bytes);
        self.fill(stream, dispatcher, cx, most_bytes).map(drop)
    }

    /// Reads behind the input that is not taken, until that has `most_bytes` or nothing more has arrived. EOF is read once
    /// more when the requests before it are taken.
    fn fill(
        &mut self,
        stream: &mut Stream,
        dispatcher: &Dispatcher<P>,
        cx: &mut Context<'_>,
        most_bytes: usize,
    ) -> Result<ReadAhead, SessionEnd> {
        let pool = &dispatcher.forwarder.pool;
        let scratch = &pool.context.scratch;
        let mut found = ReadAhead::Nothing;
        while self.bytes.len() < most_bytes {
            match self.bytes.poll_fill(stream, cx, scratch, 0) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Err(SessionEnd::Error),
                Poll::Ready(Ok((read, filled))) => {
                    self.bytes.put_back(filled, scratch);
                    pool.cells.add(PoolMetric::ClientBytesIn, read as u64);
                    if read == 0 {
                        return Ok(ReadAhead::Eof);
                    }
                    found = ReadAhead::Some;
                }
            }
        }
        Ok(found)
    }

    /// Takes every complete request at the start of a batch, as far as the limits allow.
    fn on_bytes(
        &mut self,
        dispatcher: &mut Dispatcher<P>,
        cx: &mut Context<'_>,
        mut filled: Filled,
        now: Instant,
    ) {
        if self.kill_switch.is_killed() {
            dispatcher.forwarder.replies.kill();
            self.end = Some(SessionEnd::Error);
        }
        let may_take = dispatcher.forwarder.begin_batch(now);
        if !may_take {
            self.pause = Some(ReadPause::Fence);
        }
        let fw = &dispatcher.forwarder;
        if fw.pool.is_metered.get() {
            self.budget.ask_quotas();
        }
        let most_bytes = fw.replies.status().out_bytes + fw.pool.flow.turn_bytes;
        self.want = 0;
        while may_take && !filled.bytes.is_empty() && self.is_open() {
            let fw = &dispatcher.forwarder;
            let limits = P::Clients::limits(&fw.client, &fw.pool.limits);
            let scan = match self.scanned.take() {
                Some((found, len)) => Ok(Scan::Complete { found, len }),
                None => P::scan_request(&mut self.scanner, &filled.bytes, limits),
            };
            match scan {
                Ok(Scan::Partial { want }) => {
                    if want > LARGE_BYTES && self.want <= LARGE_BYTES && fw.refuses_large() {
                        self.pause = self.refuse_large(dispatcher);
                    } else {
                        self.want = want;
                    }
                    break;
                }
                // Used in place: it is large, and was written a moment ago.
                Ok(Scan::Complete { ref found, len }) => {
                    let status = dispatcher.forwarder.replies.status();
                    self.pause = if !ReplyFlow::may_take(dispatcher, status) {
                        Some(ReadPause::Limit)
                    } else if !self.replies.may_expect(dispatcher, status, cx, now) {
                        Some(ReadPause::LargeReplies)
                    } else if dispatcher.forwarder.local_budget.get() == 0
                        || status.out_bytes > most_bytes
                    {
                        Some(ReadPause::Budget)
                    } else if self.budget.is_spent()
                        && let request = (found, &mut filled.bytes, len)
                        && let Break(pause) = self.budget.meter(dispatcher, request, now)
                    {
                        pause
                    } else {
                        self.take(dispatcher, cx, found, &mut filled, len, now)
                    };
                    if self.pause.is_some() {
                        self.budget.keep_admitted();
                        self.scanned = Some((*found, len));
                        break;
                    }
                    self.budget.spend();
                }
                Err(error) => {
                    self.pause = self.refuse(dispatcher, &error);
                    break;
                }
            }
        }
        dispatcher.forwarder.end_batch();
        if !self.is_open() {
            filled.bytes.clear();
        }
        self.bytes
            .put_back(filled, &dispatcher.forwarder.pool.context.scratch);
    }

    /// Offers the request of `len` bytes at the start of a batch, and consumes it if it is taken.
    fn take(
        &mut self,
        dispatcher: &mut Dispatcher<P>,
        cx: &mut Context<'_>,
        found: &P::Request,
        filled: &mut Filled,
        len: usize,
        now: Instant,
    ) -> Option<ReadPause> {
        let mut expanded = BytesMut::new();
        let frame = filled.bytes.get(..len).unwrap_or_default();
        let next = match P::canonicalize(found, frame, &mut expanded) {
            Ok(true) => self.offer_canonical(dispatcher, &expanded, now),
            Ok(false) if filled.owned && len >= SHARE_BYTES => {
                let shared = filled.bytes.split_to(len).freeze();
                let frame = Frame::Shared(shared.clone());
                let next = dispatcher.offer(found, frame, &shared, now);
                // If it was not taken, it is offered again later: for that, it is put before the rest.
                let rest = mem::take(&mut filled.bytes);
                filled.bytes = if next.is_taken() {
                    rest
                } else {
                    let mut whole = BytesMut::from(shared);
                    whole.unsplit(rest);
                    whole
                };
                return self.on_next(dispatcher, cx, next);
            }
            Ok(false) => dispatcher.offer(found, Frame::Borrowed(frame), frame, now),
            Err(error) => return self.refuse(dispatcher, &error),
        };
        if next.is_taken() {
            filled.bytes.advance(len);
        }
        self.on_next(dispatcher, cx, next)
    }

    /// Offers a request in its canonical form.
    fn offer_canonical(
        &mut self,
        dispatcher: &mut Dispatcher<P>,
        frame: &[u8],
        now: Instant,
    ) -> Dispatched<P> {
        let limits = &dispatcher.forwarder.pool.limits;
        match P::scan_request(&mut P::RequestScanner::default(), frame, limits) {
            Ok(Scan::Complete { found, .. }) => {
                dispatcher.offer(&found, Frame::Borrowed(frame), frame, now)
            }
            Ok(Scan::Partial { .. }) => Dispatched::Close,
            Err(error) => self
                .refuse(dispatcher, &error)
                .map_or(Dispatched::Close, |_| Dispatched::Fence),
        }
    }

    fn on_next(
        &mut self,
        dispatcher: &Dispatcher<P>,
        cx: &Context<'_>,
        next: Dispatched<P>,
    ) -> Option<ReadPause> {
        match next {
            Dispatched::Taken => None,
            Dispatched::Close => {
                if self.is_open() {
                    self.end = Some(SessionEnd::Eof);
                }
                None
            }
            Dispatched::Backpressure(upstream) => {
                upstream.wait_for_room(cx.waker());
                Some(ReadPause::Backpressure)
            }
            Dispatched::Waits => Some(ReadPause::Backpressure),
            Dispatched::Held => {
                let backends = &dispatcher.forwarder.pool.backends;
                backends.wait_for_change(cx.waker());
                Some(ReadPause::Backpressure)
            }
            Dispatched::Fence => Some(ReadPause::Fence),
        }
    }

    /// Refuses a large request, since the memory of the pool, or of the user, is nearly used up. Its rest cannot be skipped without reading it, so
    /// the connection is closed.
    #[cold]
    fn refuse_large(&mut self, dispatcher: &Dispatcher<P>) -> Option<ReadPause> {
        let counted = (PoolMetric::MemoryRefused, RefusalReason::MemoryLimit);
        let write = |out: &mut BytesMut| dispatcher.forwarder.write_over_memory(out);
        self.end_with(dispatcher, counted, write)
    }

    /// Replies to a framing error.
    fn refuse(&mut self, dispatcher: &Dispatcher<P>, error: &P::ScanError) -> Option<ReadPause> {
        let counted = (PoolMetric::ProtocolErrors, RefusalReason::Protocol);
        let write = |out: &mut BytesMut| P::Errors::write_scan_error(error, out);
        self.end_with(dispatcher, counted, write)
    }

    /// Replies with an error, and takes no more requests; but not yet if the client is blocked.
    fn end_with(
        &mut self,
        dispatcher: &Dispatcher<P>,
        (metric, reason): (PoolMetric, RefusalReason),
        write: impl FnOnce(&mut BytesMut),
    ) -> Option<ReadPause> {
        if dispatcher.is_waiting() {
            self.scanner = P::RequestScanner::default();
            return Some(ReadPause::Fence);
        }
        let fw = &dispatcher.forwarder;
        fw.pool.cells.bump(metric);
        let mut reply = BytesMut::new();
        write(&mut reply);
        fw.command.set(CommandId::NONE);
        fw.note_refusal(&[], &reply, reason);
        fw.reply(Frame::Borrowed(&reply));
        self.end = Some(SessionEnd::Error);
        None
    }
}
