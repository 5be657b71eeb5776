//! The tasks that drive server connections: shared ones, which reconnect, and dedicated ones, which do not.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::net::Stream;
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::connect_guard::{ConnGauge, ConnectGuard};
use crate::proxy::upstream::connection::Connection;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::failover::Failover;
use crate::proxy::upstream::guard::HELD_WITHIN;
use crate::proxy::upstream::handshake::open;
use crate::proxy::upstream::reconnect::{Attempts, Reconnect, keep_connected};
use crate::proxy::upstream::server::Server;
use crate::proxy::worker::context::WorkerContext;
use crate::stats::ServerMetric;

/// The pause before another connection, after one met a mark that its worker did not know; longer after each further one.
const MARK_PAUSE: Duration = Duration::from_millis(1);

/// The longest such pause, in units of the first.
const MARK_PAUSES_MAX: u32 = 50;

/// The time in which requests that waited for a connection to be opened learn that it could not be: they are offered again.
const WAITING_LEARN_WITHIN: Duration = Duration::from_millis(20);

/// The time for which requests for a server that had no primary for too long fail at once.
const NO_PRIMARY_FOR: Duration = Duration::from_millis(100);

/// Drives a shared connection until its worker ends.
pub(crate) async fn drive<P: Protocol>(upstream: Rc<UpstreamConn<P>>, context: Rc<WorkerContext>) {
    let shared = SharedConn {
        upstream,
        context,
        interrupted: Cell::new(None),
        unknown_marks: Cell::default(),
        was_open: Cell::default(),
        lost_at: Cell::default(),
    };
    keep_connected(Rc::new(shared)).await;
}

/// A connection that the sessions of a worker share.
struct SharedConn<P: Protocol> {
    upstream: Rc<UpstreamConn<P>>,
    context: Rc<WorkerContext>,
    /// When the request was queued whose reply the last disconnect cut off.
    interrupted: Cell<Option<Instant>>,
    /// Connections in a row that could not be used, since the mark of the server was not the known one, and when that began.
    unknown_marks: Cell<(u32, Option<Instant>)>,
    /// The last attempt has opened a connection.
    was_open: Cell<bool>,
    /// When it was lost, in a pool that waits for primaries.
    lost_at: Cell<Option<Instant>>,
}

impl<P: Protocol> SharedConn<P> {
    /// Forgets the state of the connection that has ended.
    fn forget(&self) {
        self.upstream.tx_support.forget();
        self.upstream.loaded_scripts.forget();
    }
}

impl<P: Protocol> SharedConn<P> {
    /// Keeps what was not sent, and those who wait, for another connection; or tells them that there is none.
    fn on_loss(
        &self,
        (failover, has_refused): (&Failover, bool),
        disconnect: &Disconnect,
        now: Instant,
    ) {
        let (upstream, server) = (&self.upstream, self.server());
        server.store.want_lookup(&server.shared);
        let is_server_overdue = if has_refused {
            failover.refuse(now)
        } else {
            failover.lose(now)
        };
        // Other connections to the server may work.
        let lost_at = self.lost_at.get().unwrap_or(now);
        self.lost_at.set(Some(lost_at));
        let is_overdue = is_server_overdue || failover.is_over(lost_at, now);
        upstream.fail_sent(disconnect);
        if is_overdue {
            let reply = server.lost_reply(UpstreamError::NoPrimary);
            let until = now + failover.pause() + NO_PRIMARY_FOR;
            upstream.fail_all(&Disconnect::NoPrimary(reply), Some(until));
        }
    }
}

impl<P: Protocol> Reconnect<P> for SharedConn<P> {
    fn server(&self) -> &Rc<Server<P>> {
        &self.upstream.server
    }

    /// Needs no timer: nothing is queued during the back-off, since requests fail at once.
    async fn wanted(&self, _: &Attempts) {
        poll_fn(|cx| self.upstream.poll_wanted(cx)).await;
        let (unknown, _) = self.unknown_marks.get();
        if unknown > 1 {
            sleep(MARK_PAUSE * unknown.min(MARK_PAUSES_MAX)).await;
        }
        let failover = self.server().failover.as_ref();
        if let Some(failover) = failover.filter(|failover| !failover.is_well()) {
            sleep(failover.pause()).await;
        }
    }

    async fn open(&self) -> Result<Stream, Disconnect> {
        open(&self.upstream).await
    }

    async fn serve(&self, stream: Stream, attempts: &mut Attempts) -> Option<Disconnect> {
        self.was_open.set(true);
        self.unknown_marks.take();
        if let Some(failover) = &self.server().failover {
            failover.find();
            if failover.is_well() {
                self.lost_at.set(None);
            }
        }
        let mut connection = Connection::new(&self.upstream, &self.context, stream, attempts);
        let disconnect = poll_fn(|cx| connection.poll(cx)).await;
        self.interrupted.set(connection.interrupted);
        self.upstream.forget_id();
        connection.close(disconnect.as_ref());
        self.forget();
        if !attempts.is_failing() {
            // It has served: its loss is another one.
            self.lost_at.set(None);
        }
        disconnect
    }

    fn on_close(&self) {
        self.interrupted.set(None);
        self.was_open.set(false);
        self.upstream.shrink();
    }

    fn on_failure(&self, disconnect: &Disconnect, begun: Instant, attempts: &mut Attempts) {
        let (upstream, server) = (&self.upstream, self.server());
        let interrupted = self.interrupted.take();
        let was_open = self.was_open.take();
        if let Disconnect::NoTransactions(_) = disconnect {
            // The server is healthy. If no transaction is queued, the other requests use a connection that is not
            // probed.
            if upstream.has_batches() {
                upstream.fail_all(disconnect, None);
            } else {
                upstream.wake_waiting();
            }
            return;
        }
        if let Disconnect::Moving = disconnect {
            let now = Instant::now();
            let (unknown, since) = self.unknown_marks.get();
            let since = since.unwrap_or(now);
            self.unknown_marks.set((unknown + 1, Some(since)));
            if now.saturating_duration_since(since) >= HELD_WITHIN {
                upstream.fail_all(disconnect, Some(now + WAITING_LEARN_WITHIN));
            } else {
                // What waits asks again, and goes where its keys are by then.
                upstream.wake_waiting();
            }
            return;
        }
        let now = Instant::now();
        let since = interrupted.or_else(|| upstream.front_since());
        let times = (since.unwrap_or(begun), now);
        let failure = attempts.on_failure(server, disconnect, upstream.profile, times);
        if let Some(failover) = &server.failover
            && !disconnect.tells_why::<P>()
        {
            let is_refusal = matches!(disconnect, Disconnect::Error(UpstreamError::NoPrimary));
            return self.on_loss((failover, is_refusal && was_open), disconnect, now);
        }
        // If a failure counts towards ejection, the ejection is the pause between attempts.
        if !(failure.is_counted && server.store.ejects()) {
            attempts.back_off(now);
        }
        if attempts.retry_at().is_some_and(|at| at > now) {
            server.cells.bump(ServerMetric::Backoffs);
        }
        let retry_at = attempts.retry_at();
        let until = if server.greets() && !was_open {
            retry_at.max(Some(now + WAITING_LEARN_WITHIN))
        } else {
            retry_at
        };
        upstream.fail_all(disconnect, until);
    }

    fn on_panic(&self, until: Instant) {
        self.interrupted.set(None);
        self.upstream.forget_id();
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

/// Drives a dedicated connection, once: its server-side state is lost with it.
pub(crate) async fn drive_once<P: Protocol>(
    upstream: Rc<UpstreamConn<P>>,
    context: Rc<WorkerContext>,
    attempt: ConnectGuard,
) {
    // However this task ends, its requests are answered.
    let _lost = FailOnDrop(Rc::clone(&upstream));
    poll_fn(|cx| upstream.poll_wanted(cx)).await;
    let server = Rc::clone(&upstream.server);
    let begun = Instant::now();
    let mut unknown = 0;
    let opened = loop {
        match open(&upstream).await {
            // The worker adopts the news meanwhile.
            Err(Disconnect::Moving) if !upstream.is_lost() && begun.elapsed() < HELD_WITHIN => {
                unknown = (unknown + 1).min(MARK_PAUSES_MAX);
                sleep(MARK_PAUSE * unknown).await;
            }
            Err(disconnect)
                if !upstream.is_lost()
                    && !disconnect.tells_why::<P>()
                    && server.waits_for_primary(begun)
                    && !opens_once(&upstream) =>
            {
                if let Some(failover) = &server.failover {
                    failover.turn(begun).await;
                }
            }
            opened => break opened,
        }
    };
    let disconnect = match opened {
        Ok(stream) => {
            attempt.succeed();
            if let Some(failover) = &server.failover {
                failover.find();
            }
            let _counted = ConnGauge::new(&server);
            let mut attempts = Attempts::default();
            let mut connection = Connection::new(&upstream, &context, stream, &mut attempts);
            let disconnect = poll_fn(|cx| connection.poll(cx)).await;
            upstream.forget_id();
            connection.close(disconnect.as_ref());
            match disconnect {
                // Only a timeout reveals a server that hangs. A server that closes is noticed on all connections; one
                // report is enough.
                Some(Disconnect::Error(UpstreamError::TimedOut)) => {
                    let disconnect = Disconnect::Error(UpstreamError::TimedOut);
                    server.failed(&disconnect, upstream.profile, begun, Instant::now(), true);
                    disconnect
                }
                disconnect => {
                    let error = disconnect
                        .as_ref()
                        .map_or(UpstreamError::Closed, Disconnect::fault::<P>);
                    if let Some(disconnect) = &disconnect {
                        server.count_disconnect(disconnect);
                    }
                    Disconnect::Refused(upstream.server.lost_reply(error))
                }
            }
        }
        Err(mut disconnect) => {
            server.cells.bump(ServerMetric::ConnectErrors);
            let now = Instant::now();
            let first = attempt.fail(disconnect.fault::<P>());
            match disconnect {
                // It is at its maximum of connections, or does not support this profile: shared connections are not
                // affected.
                Disconnect::Moving => {
                    server.count_disconnect(&disconnect);
                    // A client that is blocked would ask again, without an end.
                    disconnect =
                        Disconnect::Refused(Server::<P>::error_reply(UpstreamError::Moving));
                }
                Disconnect::Refused(_)
                | Disconnect::NoPrimary(_)
                | Disconnect::NoTransactions(_)
                | Disconnect::Error(UpstreamError::MaxClients) => {
                    server.count_disconnect(&disconnect);
                }
                Disconnect::Error(_) => {
                    server.failed(&disconnect, upstream.profile, begun, now, first);
                    if server.failover.is_some() && !disconnect.tells_why::<P>() {
                        disconnect =
                            Disconnect::NoPrimary(server.lost_reply(UpstreamError::NoPrimary));
                    }
                }
            }
            disconnect
        }
    };
    upstream.fail_for_good_with(&disconnect);
}

/// Returns true if the client of a dedicated connection waits for a primary itself.
fn opens_once<P: Protocol>(upstream: &UpstreamConn<P>) -> bool {
    let dedicated = upstream.dedicated.as_deref();
    dedicated.is_some_and(|dedicated| dedicated.opens_once.get())
}
