//! Keeps one connection to a server: opens it on demand, and reopens it after a disconnect.
//!
//! ```text
//! idle --needed--> connect, handshake --> serve --ended, no request lost--> idle
//!  ^                    |                   |
//!  +----- back off <----+-------------------+  a failure: logged once, and pending requests fail
//! ```

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::net::Stream;
use crate::protocol::{ConnProfile, Protocol};
use crate::proxy::upstream::connect_guard::ConnGauge;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::server::Server;
use crate::stats::ServerMetric;
use crate::topology::Backoff;

/// Delay before a driver that panicked is restarted.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// A connection that is reopened after each disconnect.
pub(crate) trait Reconnect<P: Protocol>: 'static {
    /// The server of the connection.
    fn server(&self) -> &Rc<Server<P>>;

    /// Completes when a connection is needed, and may be opened.
    async fn wanted(&self, attempts: &Attempts);

    /// Connects and performs the handshake.
    async fn open(&self) -> Result<Stream, Disconnect>;

    /// Serves over an open connection until it ends. `None` if no request was lost.
    async fn serve(&self, stream: Stream, attempts: &mut Attempts) -> Option<Disconnect>;

    /// Called when the connection has ended without a lost request.
    fn on_close(&self);

    /// Called when the connection was lost, or could not be opened since `begun`.
    fn on_failure(&self, disconnect: &Disconnect, begun: Instant, attempts: &mut Attempts);

    /// Called when the driver has panicked: pending requests fail, and nothing is sent until `until`.
    fn on_panic(&self, until: Instant);
}

/// The state of the connection attempts to a server.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    backoff: Backoff,
    /// The server has not replied since the last failure.
    failing: bool,
}

/// The classification of a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// It is the first since the server replied.
    pub(crate) is_first: bool,
    /// It counts towards ejection.
    pub(crate) is_counted: bool,
}

impl Attempts {
    /// The earliest time of the next attempt; `None` if it may start at any time.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.backoff.retry_at().map(Instant::from_std)
    }

    /// Resets the back-off: the server has replied.
    pub(crate) fn on_reply<P: Protocol>(&mut self, server: &Server<P>) {
        let has_failed_over = self.failing && server.failover.is_some();
        if self.backoff.retry_at().is_some() || has_failed_over {
            server.recovered();
        }
        self.backoff.on_success();
        self.failing = false;
        if let Some(failover) = &server.failover {
            failover.serve();
        }
        server.replied();
    }

    /// Returns true if the server has not replied since the last failure.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Counts a failure that affected requests since `since`, and logs the first one.
    pub(crate) fn on_failure<P: Protocol>(
        &mut self,
        server: &Server<P>,
        disconnect: &Disconnect,
        profile: ConnProfile,
        (since, now): (Instant, Instant),
    ) -> Failure {
        let is_first = !mem::replace(&mut self.failing, true);
        let is_counted = server.failed(disconnect, profile, since, now, is_first);
        Failure {
            is_first,
            is_counted,
        }
    }

    /// Delays the next attempt, longer with each failure in a row.
    pub(crate) fn back_off(&mut self, now: Instant) {
        self.backoff.on_failure(now.into_std(), fastrand::f64());
    }
}

/// Keeps a connection until the worker ends. A panic fails the requests in flight, not later ones.
pub(crate) async fn keep_connected<P: Protocol>(conn: Rc<impl Reconnect<P>>) {
    loop {
        let conn_of_task = Rc::clone(&conn);
        let task = spawn_local(async move { reconnect(&*conn_of_task).await });
        match AbortOnDropHandle::new(task).await {
            Err(error) if error.is_panic() => {
                conn.server().driver_panicked();
                conn.on_panic(Instant::now() + PANIC_PAUSE);
                sleep(PANIC_PAUSE).await;
            }
            // The runtime shuts down.
            Ok(()) | Err(_) => return,
        }
    }
}

async fn reconnect<P: Protocol>(conn: &impl Reconnect<P>) {
    let mut attempts = Attempts::default();
    loop {
        conn.wanted(&attempts).await;
        let begun = Instant::now();
        let disconnect = match conn.open().await {
            Ok(stream) => {
                let _open = ConnGauge::new(conn.server());
                conn.serve(stream, &mut attempts).await
            }
            Err(disconnect) => {
                conn.server().cells.bump(ServerMetric::ConnectErrors);
                Some(disconnect)
            }
        };
        match disconnect {
            None => conn.on_close(),
            Some(disconnect) => conn.on_failure(&disconnect, begun, &mut attempts),
        }
    }
}
