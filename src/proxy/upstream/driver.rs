//! The tasks that drive server connections: shared ones, which are opened again when they are lost, and dedicated ones.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;

use tokio::time::Instant;

use crate::net::Stream;
use crate::protocol::PoolObserver as _;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::connect_guard::{ConnGauge, ConnectGuard};
use crate::proxy::upstream::connection::Connection;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::handshake::open;
use crate::proxy::upstream::reconnect::{Attempts, Reconnect, keep_connected};
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::context::WorkerContext;
use crate::stats::ServerMetric;

/// Drives a shared connection until its worker ends.
pub(crate) async fn drive<P: Protocol>(upstream: Rc<UpstreamConn<P>>, context: Rc<WorkerContext>) {
    let shared = SharedConn {
        upstream,
        context,
        interrupted: Cell::new(None),
    };
    keep_connected(Rc::new(shared)).await;
}

/// A connection that the sessions of a worker share.
struct SharedConn<P: Protocol> {
    upstream: Rc<UpstreamConn<P>>,
    context: Rc<WorkerContext>,
    /// When the request was queued whose server before the others have their turn.
const READS_IN_A_ROW: usize = 16;

/// How long a connection of another lane than the first is kept while nobody uses it. Opening it again costs the next
/// request a connect and a greeting: less than a millisecond in ten thousand.
pub(crate) const KEEP: Duration = Duration::from_secs(5);

/// Runs until its worker ends.
pub(crate) async fn drive<P: Protocol>(upstream: Rc<UpstreamConn<P>>, context: Rc<WorkerContext>) {
    let mut backoff = Backoff::default();
    let mut failing = false;
    loop {
        poll_fn(|cx| upstream.poll_wanted(cx)).await;
        let server = Rc::clone(&upstream.server);
        let begun = Instant::now();
        let mut since = None;
        let disconnect = match open(&upstream).await {
            Ok(stream) => {
                server.cells.bump(ServerMetric::ServerConnections);
                let mut connection = Connection::new(&upstream, &context, stream, &mut backoff);
                let disconnect = poll_fn(|cx| connection.poll(cx)).await;
                server.cells.drop_one(ServerMetric::ServerConnections);
                upstream.tx_support.forget();
                upstream.loaded_scripts.forget();
                since = connection.interrupted;
                failing &= !connection.replied;
                disconnect
            }
            Err(disconnect) => {
                server.cells.bump(ServerMetric::ConnectErrors);
                Some(disconnect)
            }
        };
        let Some(disconnect) = disconnect else {
            upstream.shrink();
            continue;
        };
        if let Disconnect::NoTransactions(_) = disconnect {
            // The server is well. Where no transaction is queued, the others go over a connection that is not asked.
            if upstream.has_batches() {
                upstream.fail_all(&disconnect, None);
            }
            continue;
        }
        let now = Instant::now();
        let since = since.or_else(|| upstream.front_since()).unwrap_or(begun);
        let first = !mem::replace(&mut failing, true);
        let counted = server.failed(&disconnect, upstream.profile, since, now, first);
        // Where a failure counts towards ejection, that is the pause between attempts.
        if !(counted && server.ejects) {
            backoff.on_failure(now.into_std(), fastrand::f64());
        }
        if backoff.retry_at().is_some_and(|at| at > now.into_std()) {
            server.cells.bump(ServerMetric::Backoffs);
        }
        upstream.fail_all(&disconnect, backoff.retry_at().map(Instant::from_std));
    }
}

/// Drives a connection that one client has for itself, once: what its server remembers is lost with it.
pub(crate) async fn drive_once<P: Protocol>(
    upstream: Rc<UpstreamConn<P>>,
    context: Rc<WorkerContext>,
    attempt: ConnectGuard,
) {
    poll_fn(|cx| upstream.poll_wanted(cx)).await;
    let server = Rc::clone(&upstream.server);
    let begun = Instant::now();
    let disconnect = match open(&upstream).await {
        Ok(stream) => {
            attempt.succeed();
            let _counted = ConnGauge::new(&server);
            let mut backoff = Backoff::default();
            let mut connection = Connection::new(&upstream, &context, stream, &mut backoff);
            let disconnect = poll_fn(|cx| connection.poll(cx)).await;
            match disconnect {
                // Only the clock tells of a server that hangs. That a server went all its clients see; one is enough to say so.
                Some(Disconnect::Error(UpstreamError::TimedOut)) => {
                    let disconnect = Disconnect::Error(UpstreamError::TimedOut);
                    server.failed(&disconnect, upstream.profile, begun, Instant::now(), true);
                    disconnect
                }
                disconnect => {
                    let error = disconnect
                        .as_ref()
                        .map_or(UpstreamError::Closed, Disconnect::fault);
                    if let Some(disconnect) = &disconnect {
                        server.count_disconnect(disconnect);
                    }
                    Disconnect::Refused(upstream.server.lost_reply(error))
                }
            }
        }
        Err(disconnect) => {
            server.cells.bump(ServerMetric::ConnectErrors);
            let now = Instant::now();
            let first = attempt.fail(disconnect.fault());
            match disconnect {
                // It has as many connections as it takes, or does not know this lane: those who share one fare well.
                Disconnect::Refused(_)
                | Disconnect::NoTransactions(_)
                | Disconnect::Error(UpstreamError::MaxClients) => {
                    server.count_disconnect(&disconnect);
                }
                Disconnect::Error(_) => {
                    server.failed(&disconnect, upstream.profile, begun, now, first);
                }
            }
            disconnect
        }
    };
    upstream.fail_for_good_with(&disconnect);
}

/// An open connection.
struct Connection<'u, P: Protocol> {
    upstream: &'u UpstreamConn<P>,
    context: &'u WorkerContext,
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
        upstream: &'u UpstreamConn<P>,
        context: &'u WorkerContext,
        stream: Stream,
        backoff: &'u mut Backoff,
    ) -> Self {
        Self {
            upstream,
            context,
            stream,
            backoff,
            input: ReadBuf::default(),
            scanner: P::ReplyScanner::default(),
            current: None,
            passed: 0,
            handed_bytes: 0,
            slow_from: Duration::MAX,
            alarm: None,
            keep: (upstream.profile != ConnProfile::FIRST && upstream.dedicated.is_none())
                .then_some(KEEP),
            used: Instant::now(),
            settled: false,
            held: false,
            interrupted: None,
            replied: false,
        }
    }

    /// Goes on as far as the socket lets it. Ready when the connection has ended: `None` where nobody was harmed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Disconnect>> {
        self.upstream.begin_turn(cx);
        let now = Instant::now();
        let mut disconnect = self.poll_read(cx, now);
        if disconnect.is_pending() {
            self.poll_shut(cx);
            disconnect = self
                .poll_write(cx)
                .map(|error| Some(Disconnect::Error(error)));
        }
        if disconnect.is_pending() {
            disconnect = self.poll_clock(cx, now);
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
        self.settled = true;
        disconnect
    }

    /// Reads before it writes: a connection that the server closed while it was idle is seen before anything is sent
    /// over it, and what is queued goes over the next one.
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
                // Whoever was in its queue has been told. That the proxy closes it is no failure of the server.
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

    /// How the loss of the connection ends it: unharmed where the server owed nothing, and did not hang up at once.
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
        self.slow_from = P::Observer::slow_from(&self.upstream.server.settings);
        while bytes.len() > self.passed {
            let Some(mut current) = self.current.take().or_else(|| self.upstream.take_front())
            else {
                let unasked = bytes.get(self.passed..).unwrap_or_default();
                outcome = Err(if P::classify(unasked).is_max_clients() {
                    UpstreamError::MaxClients
                } else {
                    UpstreamError::BadReply
                });
                break;
            };
            let rest = bytes.get(self.passed..).unwrap_or_default();
            match P::scan_reply(&mut self.scanner, rest, current.responder.expect()) {
                Ok(Passed::Whole { len, kind, hidden }) => {
                    let end = self.passed + len;
                    self.passed = 0;
                    self.note_reply(&current, end, kind, now);
                    let shown = if hidden { 0 } else { end };
                    let reply = bytes.get(..shown).unwrap_or_default();
                    current.responder.complete(Frame::Borrowed(reply));
                    bytes.advance(end);
                    replied = replied || kind != ReplyKind::ServerError;
                }
                Ok(Passed::Part { len }) => {
                    self.passed += len;
                    if self.passed >= STREAM_BYTES || self.handed_bytes > 0 {
                        let part = bytes.get(..self.passed).unwrap_or_default();
                        current.responder.part(part);
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
        if replied {
            self.replied = true;
            if self.backoff.retry_at().is_some() {
                self.upstream.server.recovered();
            }
            self.backoff.on_success();
            self.upstream.server.replied();
        }
        outcome
    }

    /// Counts a was cut off by the end of the last connection.
    interrupted: Cell<Option<Instant>>,
}

impl<P: Protocol> SharedConn<P> {
    /// Forgets what was known of the connection that has ended.
    fn forget(&self) {
        self.upstream.tx_support.forget();
        self.upstream.loaded_scripts.forget();
    }
}

impl<P: Protocol> Reconnect<P> for SharedConn<P> {
    fn server(&self) -> &Rc<Server<P>> {
        &self.upstream.server
    }

    /// Nothing is queued during the pause between attempts: requests fail at once.
    async fn wanted(&self, _: &Attempts) {
        poll_fn(|cx| self.upstream.poll_wanted(cx)).await;
    }

    async fn open(&self) -> Result<Stream, Disconnect> {
        open(&self.upstream).await
    }

    async fn serve(&self, stream: Stream, attempts: &mut Attempts) -> Option<Disconnect> {
        let mut connection = Connection::new(&self.upstream, &self.context, stream, attempts);
        let disconnect = poll_fn(|cx| connection.poll(cx)).await;
        self.interrupted.set(connection.interrupted);
        self.forget();
        disconnect
    }

    fn on_close(&self) {
        self.interrupted.set(None);
        self.upstream.shrink();
    }

    fn on_failure(&self, disconnect: &Disconnect, begun: Instant, attempts: &mut Attempts) {
        let (upstream, server) = (&self.upstream, self.server());
        let interrupted = self.interrupted.take();
        if let Disconnect::NoTransactions(_) = disconnect {
            // The server is well. Where no transaction is queued, the others go over a connection that is not asked.
            if upstream.has_batches() {
                upstream.fail_all(disconnect, None);
            }
            return;
        }
        let now = Instant::now();
        let since = interrupted.or_else(|| upstream.front_since());
        let times = (since.unwrap_or(begun), now);
        let failure = attempts.on_failure(server, disconnect, upstream.profile, times);
        // Where a failure counts towards ejection, that is the pause between attempts.
        if !(failure.is_counted && server.ejects) {
            attempts.back_off(now);
        }
        if attempts.retry_at().is_some_and(|at| at > now) {
            server.cells.bump(ServerMetric::Backoffs);
        }
        upstream.fail_all(disconnect, attempts.retry_at());
    }

    fn on_panic(&self, until: Instant) {
        self.interrupted.set(None);
        self.forget();
        let disconnect = Disconnect::Error(UpstreamError::Dropped);
        self.upstream.fail_all(&disconnect, Some(until));
    }
}

/// Fails a dedicated connection whose task has ended.
struct FailOnDrop<P: Protocol>(Rc<UpstreamConn<P>>);

impl<P: Protocol> Drop for FailOnDrop<P> {
    fn drop(&mut self) {
        if !self.0.is_lost() {
            self.0.fail_for_good(UpstreamError::Dropped);
        }
    }
}

/// Drives a dedicated connection, once: what its server remembers is lost with it.
pub(crate) async fn drive_once<P: Protocol>(
    upstream: Rc<UpstreamConn<P>>,
    context: Rc<WorkerContext>,
    attempt: ConnectGuard,
) {
    // Whatever becomes of this task, nobody waits for it without end.
    let _lost = FailOnDrop(Rc::clone(&upstream));
    poll_fn(|cx| upstream.poll_wanted(cx)).await;
    let server = Rc::clone(&upstream.server);
    let begun = Instant::now();
    let disconnect = match open(&upstream).await {
        Ok(stream) => {
            attempt.succeed();
            let _counted = ConnGauge::new(&server);
            let mut attempts = Attempts::default();
            let mut connection = Connection::new(&upstream, &context, stream, &mut attempts);
            let disconnect = poll_fn(|cx| connection.poll(cx)).await;
            match disconnect {
                // Only the clock tells of a server that hangs. That a server went all its clients see; one is enough to say so.
                Some(Disconnect::Error(UpstreamError::TimedOut)) => {
                    let disconnect = Disconnect::Error(UpstreamError::TimedOut);
                    server.failed(&disconnect, upstream.profile, begun, Instant::now(), true);
                    disconnect
                }
                disconnect => {
                    let error = disconnect
                        .as_ref()
                        .map_or(UpstreamError::Closed, Disconnect::fault);
                    if let Some(disconnect) = &disconnect {
                        server.count_disconnect(disconnect);
                    }
                    Disconnect::Refused(upstream.server.lost_reply(error))
                }
            }
        }
        Err(disconnect) => {
            server.cells.bump(ServerMetric::ConnectErrors);
            let now = Instant::now();
            let first = attempt.fail(disconnect.fault());
            match disconnect {
                // It has as many connections as it takes, or does not support this profile: those who share one fare well.
                Disconnect::Refused(_)
                | Disconnect::NoTransactions(_)
                | Disconnect::Error(UpstreamError::MaxClients) => {
                    server.count_disconnect(&disconnect);
                }
                Disconnect::Error(_) => {
                    server.failed(&disconnect, upstream.profile, begun, now, first);
                }
            }
            disconnect
        }
    };
    upstream.fail_for_good_with(&disconnect);
}
