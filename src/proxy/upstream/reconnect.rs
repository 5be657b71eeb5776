//! Keeps one connection to a server: opens it when it is needed, and again after it is lost.
//!
//! ```text
//! idle --needed--> connect, handshake --> serve --ended, nobody harmed--> idle
//!  ^                    |                   |
//!  +----- back off <----+-------------------+  a failure: reported once, and whoever waits is told
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

/// How long a driver that panicked is not started again.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// A connection that is opened again whenever it is lost.
pub(crate) trait Reconnect<P: Protocol>: 'static {
    /// The server at its other end.
    fn server(&self) -> &Rc<Server<P>>;

    /// Returns when a connection is needed, and may be opened.
    async fn wanted(&self, attempts: &Attempts);

    /// Connects and shakes hands.
    async fn open(&self) -> Result<Stream, Disconnect>;

    /// Serves over an open connection until that ends. `None` where nobody was harmed.
    async fn serve(&self, stream: Stream, attempts: &mut Attempts) -> Option<Disconnect>;

    /// The connection has ended, and nobody was harmed.
    fn on_close(&self);

    /// The connection was lost, or could not be opened since `begun`.
    fn on_failure(&self, disconnect: &Disconnect, begun: Instant, attempts: &mut Attempts);

    /// Its driver has panicked: whoever waits is told, and nothing is sent until `until`.
    fn on_panic(&self, until: Instant);
}

/// How connecting to a server goes.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    backoff: Backoff,
    /// The server has not answered since the last failure.
    failing: bool,
}

/// What is to be known of a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// It is the first since the server answered.
    pub(crate) is_first: bool,
    /// It counts towards ejection.
    pub(crate) is_counted: bool,
}

impl Attempts {
    /// The earliest time of the next one; none if it may be made at any time.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.backoff.retry_at().map(Instant::from_std)
    }

    /// The server has answered.
    pub(crate) fn on_reply<P: Protocol>(&mut self, server: &Server<P>) {
        if self.backoff.retry_at().is_some() {
            server.recovered();
        }
        self.backoff.on_success();
        self.failing = false;
        server.replied();
    }

    /// Counts a failure that harmed requests since `since`, and reports the first one.
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

    /// Puts off the next attempt, further with each failure in a row.
    pub(crate) fn back_off(&mut self, now: Instant) {
        self.backoff.on_failure(now.into_std(), fastrand::f64());
    }
}

/// Keeps a connection until the worker ends. A panic costs the requests that are in flight, not those that come later.
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
            // The runtime ends.
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
