//! One client connection.
//!
//! Invariants: requests are taken in their order of arrival; both directions advance in the same poll; one write per
//! turn while the client accepts everything; at a limit the session stops reading, and still writes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::journal::EventKind;
use crate::net::Stream;
use crate::protocol::ClientState as _;
use crate::protocol::{ClientRecord, Protocol, Text};
use crate::proxy::client::hand_over::{Departure, UNREAD_MAX_BYTES};
use crate::proxy::client::input::Input;
use crate::proxy::client::lingering_close::LingeringClose;
use crate::proxy::client::origin::Origin;
use crate::proxy::client::pause::SessionEnd;
use crate::proxy::client::user_memory::UserMemory;
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::pool::LocalPool;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::replies::status::{CloseSignal, Status};
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::memory::{MemoryAccount, Pressure};
use crate::proxy::worker::yield_now::yield_now;
use crate::stats::PoolMetric;

/// Serves one client until it disconnects. A future for the worker's thread.
#[derive(Debug)]
pub struct Session<P: Protocol> {
    stream: Stream,
    /// The client's address, if a balancer has told it.
    told: Option<Box<SocketAddr>>,
    input: Input<P>,
    dispatcher: Dispatcher<P>,
    /// All requests are answered; further input is dropped, so that the last reply reaches the client.
    lingering: Option<Box<LingeringClose>>,
    /// The client is gone, and its blocking call is not finished.
    client_gone: Option<SessionEnd>,
    /// The client's buffers, as booked in the pool's memory.
    account: MemoryAccount,
    user_memory: UserMemory,
    /// Runs while the client is read slowly, since its pool buffers too much.
    throttle: Option<Pin<Box<Sleep>>>,
    /// Runs while a client reads nothing of its pending output.
    stall_timer: Option<Pin<Box<Sleep>>>,
    /// Set at the end if another process is to serve the client.
    departure: Option<Box<Departure>>,
}

impl<P: Protocol> Session<P> {
    /// Serves `stream`. `number` chooses among the connections to each server; `replies` may be kept to drain or kill
    /// the session.
    pub fn new(
        stream: Stream,
        pool: Rc<LocalPool<P>>,
        replies: Rc<ReplyQueue>,
        number: usize,
    ) -> Self {
        Self::from_origin(stream, &Origin::default(), pool, replies, number)
    }

    /// As [`Self::new`], for a client whose connection does not say where it comes from.
    pub fn from_origin(
        stream: Stream,
        origin: &Origin,
        pool: Rc<LocalPool<P>>,
        replies: Rc<ReplyQueue>,
        number: usize,
    ) -> Self {
        let info = origin.info(&stream, number);
        let mut input = Input::new(info.kill_switch.clone());
        let dispatcher = Dispatcher::new(pool, replies, info);
        if dispatcher.refuse_client() {
            input.end = Some(SessionEnd::Error);
        }
        Self::of(stream, origin, input, dispatcher)
    }

    /// As [`Self::new`], for a client that another process has handed over. `None` if its state is not possible here.
    pub fn arrived(
        stream: Stream,
        pool: Rc<LocalPool<P>>,
        replies: Rc<ReplyQueue>,
        number: usize,
        (origin, record, unread): (&Origin, &ClientRecord, &[u8]),
    ) -> Option<Self> {
        let info = origin.info(&stream, number);
        let input = Input::arrived(info.kill_switch.clone(), unread);
        let dispatcher = Dispatcher::arrived(pool, replies, info, record)?;
        Some(Self::of(stream, origin, input, dispatcher))
    }

    fn of(stream: Stream, origin: &Origin, input: Input<P>, dispatcher: Dispatcher<P>) -> Self {
        Self {
            stream,
            told: origin.told.map(Box::new),
            input,
            dispatcher,
            lingering: None,
            client_gone: None,
            account: MemoryAccount::default(),
            user_memory: UserMemory::default(),
            throttle: None,
            stall_timer: None,
            departure: None,
        }
    }

    /// Makes the subscriptions of a client that has arrived. `done` gets true if all are made.
    pub fn resubscribe(&mut self, record: &ClientRecord, done: oneshot::Sender<bool>) {
        self.dispatcher.resubscribe(record, done);
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        self.dispatcher.forwarder.replies.begin_turn(cx);
        if !self.may_read(cx) {
            // Only output is written meanwhile.
        } else if let Err(end) = self.input.poll(&mut self.stream, &mut self.dispatcher, cx) {
            if self.dispatcher.is_unanswered() {
                // Earlier replies are still written to the client, which may only have shut down its sending side.
                drop(self.poll_output(cx));
            }
            return Poll::Ready(end);
        }
        let Ok(written) = self.poll_output(cx) else {
            return Poll::Ready(SessionEnd::Error);
        };
        let status = self.dispatcher.forwarder.replies.status();
        if self.dispatcher.is_waiting() {
            let leaves = status.close_signal == Some(CloseSignal::HandOver);
            self.dispatcher.set_leaving(leaves);
            let is_flushed =
                status.pending_bytes == 0 && status.close_signal != Some(CloseSignal::OutputLimit);
            if self.dispatcher.poll_blocked(cx, is_flushed) {
                // The requests that waited for it go on.
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
                let why = if self.monitors() {
                    "it does not keep up with MONITOR: its lines exceed pubsub_buffer_limit, or 4 MiB wait for its worker"
                } else {
                    "pending messages exceed pubsub_buffer_limit"
                };
                return self.close_slow(PoolMetric::SlowSubscriberClosed, why);
            }
            Some(CloseSignal::Drain) => {
                self.input.draining = true;
                self.dispatcher.end_wait();
                if self.input.pause.is_none() && !self.dispatcher.is_waiting() {
                    self.input.end.get_or_insert(SessionEnd::Drained);
                }
            }
            Some(CloseSignal::HandOver) if self.monitors() => {
                let why = "MONITOR does not move to another process in an upgrade";
                return self.close(why);
            }
            // The keys of its connection stay here.
            Some(CloseSignal::HandOver) if self.stream.is_tls() => {
                self.dispatcher.forwarder.replies.drain();
            }
            Some(CloseSignal::HandOver) if self.depart() => {
                return Poll::Ready(SessionEnd::HandedOver);
            }
            Some(CloseSignal::CheckUser) => {
                self.dispatcher.forwarder.replies.user_checked();
                if !self.dispatcher.may_stay_subscribed() {
                    return Poll::Ready(SessionEnd::Error);
                }
                // Nothing was read meanwhile.
                yield_now(cx);
            }
            Some(CloseSignal::HandOver) | None => {}
        }
        if !self.input.is_open() {
            self.dispatcher.unsubscribe();
        }
        if status.cut && status.out_bytes == 0 {
            return Poll::Ready(SessionEnd::Error);
        }
        if let Some(end) = self.input.end
            && status.in_flight == 0
            && status.pending_bytes == 0
        {
            if end == SessionEnd::Eof && self.lingering.is_none() {
                return Poll::Ready(end);
            }
            let linger = self.flow().linger;
            let lingering = self
                .lingering
                .get_or_insert_with(|| Box::new(LingeringClose::new(linger)));
            return lingering.poll(&mut self.stream, cx).map(|()| end);
        }
        if let Some(end) = self.poll_memory(cx, status) {
            return Poll::Ready(end);
        }
        if self.throttle.is_none() && self.input.may_resume(&self.dispatcher, status) {
            // The write made room; other tasks run first.
            yield_now(cx);
        }
        self.poll_stall(cx, status, written)
    }

    /// Leaves for another process, if nothing keeps the client here.
    #[cold]
    fn depart(&mut self) -> bool {
        let status = self.dispatcher.forwarder.replies.status();
        let is_settled = self.input.is_open()
            && !status.cut
            && status.pending_bytes == 0
            && self.input.buffered_bytes() <= UNREAD_MAX_BYTES;
        if !is_settled {
            return false;
        }
        // Without a descriptor it stays.
        let Ok(socket) = self.stream.as_fd().try_clone_to_owned() else {
            return false;
        };
        let mut record = self.dispatcher.record();
        if let Some(told) = &self.told {
            record.peer = Text::from(told.to_string().as_bytes());
        }
        let Some(waits) = self.dispatcher.leave(status.in_flight) else {
            return false;
        };
        let unread = self.input.take_unread();
        self.departure = Some(Box::new(Departure {
            socket,
            record,
            unread: [&waits[..], &unread[..]].concat().into(),
        }));
        true
    }

    /// Writes until the client accepts no more. Returns the number of bytes written.
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
        let fw = &self.dispatcher.forwarder;
        fw.pool
            .cells
            .add(PoolMetric::ClientBytesOut, written as u64);
        if written > 0 {
            fw.replies.note_written();
            if fw.pool.is_metered.get() {
                fw.charge_output(written);
            }
        }
        Ok(written)
    }

    /// Closes a client that is over its limit and reads nothing of its output.
    fn poll_stall(
        &mut self,
        cx: &mut Context<'_>,
        status: Status,
        written: usize,
    ) -> Poll<SessionEnd> {
        let held_bytes = status.pending_bytes + self.input.buffered_bytes();
        let is_within = held_bytes < self.flow().pending_bytes || status.out_bytes == 0;
        if is_within || written > 0 {
            self.stall_timer = None;
        }
        if is_within {
            return Poll::Pending;
        }
        let timeout = self.flow().stall_timeout;
        let alarm = self
            .stall_timer
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        if alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let why = "pending output is not read";
        self.close_slow(PoolMetric::SlowClientClosed, why)
    }

    /// Returns true unless the client is read slowly, and its next turn has not come.
    fn may_read(&mut self, cx: &mut Context<'_>) -> bool {
        let is_over = self
            .throttle
            .as_mut()
            .is_none_or(|sleep| sleep.as_mut().poll(cx).is_ready());
        if is_over {
            self.throttle = None;
        }
        is_over
    }

    /// Books what the client holds. Returns the end of the session if the pool's memory limit closes it.
    fn poll_memory(&mut self, cx: &mut Context<'_>, status: Status) -> Option<SessionEnd> {
        let held_bytes = status.pending_bytes
            + self.input.buffered_bytes()
            + self.dispatcher.transaction_bytes();
        let fw = &self.dispatcher.forwarder;
        let of_pool = fw.pool.memory.book(&self.account, held_bytes);
        let tenant = || P::Clients::tenant(&fw.client);
        let of_user = self.user_memory.book(tenant, held_bytes);
        match of_pool.max(of_user) {
            Pressure::None => {
                if self.throttle.take().is_some() {
                    // What arrived meanwhile has not been read.
                    yield_now(cx);
                }
            }
            Pressure::Throttled if self.throttle.is_none() => {
                let pause = self.flow().throttle_pause;
                let mut sleep = Box::pin(sleep(pause));
                if sleep.as_mut().poll(cx).is_pending() {
                    self.throttle = Some(sleep);
                }
            }
            Pressure::Throttled => {}
            Pressure::Closed => {
                let why = if of_user == Pressure::Closed {
                    fw.count_over_memory();
                    "its user is over its quota of memory (user_quotas), and this client holds most"
                } else {
                    "memory_limit is reached, and this client holds most"
                };
                if let Poll::Ready(end) = self.close_slow(PoolMetric::MemoryClosed, why) {
                    return Some(end);
                }
            }
        }
        None
    }

    /// Returns true if it is a client of MONITOR.
    fn monitors(&self) -> bool {
        P::Clients::is_monitor(&self.dispatcher.forwarder.client)
    }

    fn close_slow(&self, metric: PoolMetric, why: &'static str) -> Poll<SessionEnd> {
        self.dispatcher.forwarder.pool.cells.bump(metric);
        self.close(why)
    }

    fn close(&self, why: &'static str) -> Poll<SessionEnd> {
        let pool = &self.dispatcher.forwarder.pool;
        let journal = pool.backends.journal();
        let told = self.told.as_ref().map(ToString::to_string);
        let client = told.unwrap_or_else(|| self.stream.peer());
        let pool = &*pool.name;
        tracing::warn!(pool, client, reason = why, "client closed");
        journal.record_client(EventKind::ClientsClosed, &client, why);
        Poll::Ready(SessionEnd::Error)
    }

    fn flow(&self) -> &FlowLimits {
        &self.dispatcher.forwarder.pool.flow
    }
}

impl<P: Protocol> Future for Session<P> {
    /// Set if another process is to serve the client.
    type Output = Option<Box<Departure>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
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
            SessionEnd::Eof => {
                cells.bump(PoolMetric::ClientEof);
                session.stream.say_end(cx);
            }
            SessionEnd::Error => cells.bump(PoolMetric::ClientErr),
            SessionEnd::Drained | SessionEnd::HandedOver => {}
        }
        Poll::Ready(session.departure.take())
    }
}

impl<P: Protocol> Drop for Session<P> {
    fn drop(&mut self) {
        self.dispatcher.forwarder.replies.detach();
        self.dispatcher.unsubscribe();
        self.input.release(&self.dispatcher);
        let memory = &self.dispatcher.forwarder.pool.memory;
        let _ = memory.book(&self.account, 0);
    }
}
