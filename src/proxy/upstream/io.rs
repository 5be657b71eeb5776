//! Socket and timer helpers of the drivers of server connections.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::net::{Dial, Stream};
use crate::protocol::{Protocol, UpstreamError};
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::server::Server;
use crate::stats::ServerMetric;

/// Consecutive reads from one server before its driver yields.
pub(crate) const READS_IN_A_ROW: usize = 16;

/// Opens a socket to a server.
pub(crate) async fn connect<P: Protocol>(server: &Server<P>) -> Result<Stream, Disconnect> {
    server.cells.bump(ServerMetric::Connects);
    let (shared, keepalive) = (&server.shared, server.keepalive.get());
    let resolves = server.store.resolves() && shared.host().is_some();
    let known = shared.in_use().filter(|_| resolves);
    let dial = Dial {
        keepalive,
        tls: server.tls.as_deref(),
    };
    match Stream::connect(&shared.address, known, dial).await {
        Ok(stream) => {
            if let Some(address) = stream.peer_address()
                && resolves
            {
                shared.set_in_use(address);
            }
            Ok(stream)
        }
        Err(error) => {
            server.store.want_lookup(shared);
            Err(Disconnect::Error(UpstreamError::from(&error)))
        }
    }
}

/// Waits for a connection to open, until `deadline` at the latest.
pub(crate) async fn open_by(
    deadline: Option<Instant>,
    opening: impl Future<Output = Result<Stream, Disconnect>>,
) -> Result<Stream, Disconnect> {
    match deadline {
        Some(deadline) => timeout_at(deadline, opening)
            .await
            .unwrap_or(Err(Disconnect::Error(UpstreamError::TimedOut))),
        None => opening.await,
    }
}

/// Writes until the socket accepts no more or nothing is left. Ready when it fails.
#[inline]
pub(crate) fn poll_write_all(
    cx: &mut Context<'_>,
    mut write: impl FnMut(&mut Context<'_>) -> Poll<io::Result<usize>>,
) -> Poll<UpstreamError> {
    loop {
        match write(cx) {
            Poll::Ready(Ok(0)) | Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(UpstreamError::from(&error)),
        }
    }
}

/// A timer that wakes a task at a moving deadline.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Has the task polled at `deadline`, which is not past, or earlier. Armed for an earlier one, it fires early and
    /// is reset then: never once per request or message.
    pub(crate) fn arm(&mut self, deadline: Instant, now: Instant, cx: &mut Context<'_>) {
        let is_armed = |set: &Pin<Box<Sleep>>| now < set.deadline() && set.deadline() <= deadline;
        if self.0.as_ref().is_some_and(is_armed) {
            return;
        }
        let alarm = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        alarm.as_mut().reset(deadline);
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
