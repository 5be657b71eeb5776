//! The places of a port: how many connections it has, and which one makes room for the next.
//!
//! A client that sends half a request, or does not read its reply, holds a place until a newer client needs it: the one
//! that has been silent longest is closed. The bytes of a request do not end a silence, or clients that send one now and
//! then would keep all places; those that a client reads do. A connection whose reply is being collected is not silent; the
//! proxy owes it that reply. Only `accept` and the listeners call this module.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// The silence from which a connection makes room. On a busy machine a request may be that late.
const SILENT_FROM: Duration = Duration::from_millis(500);

/// The connections of the port.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Vec<(Arc<Place>, AbortHandle)>,
    /// Notified when the proxy no longer owes a connection a reply.
    answered: Arc<Notify>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    activity: Mutex<Activity>,
    answered: Arc<Notify>,
}

/// The last byte to the client, and whether the proxy owes it a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Activity {
    is_owed: bool,
    last: Instant,
    /// From when the time of the client is limited: it was accepted, or its reply was complete.
    since: Instant,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Vec::new(),
            answered: Arc::default(),
        }
    }

    /// A place for a new connection, to be given to [`Self::take`] with its task.
    pub(super) fn place(&self) -> Arc<Place> {
        let now = Instant::now();
        Arc::new(Place {
            activity: Mutex::new(Activity {
                is_owed: false,
                last: now,
                since: now,
            }),
            answered: Arc::clone(&self.answered),
        })
    }

    /// Enters a new connection; if all places are taken, closes the one that has been silent longest.
    pub(super) fn take(&mut self, place: Arc<Place>, task: AbortHandle) {
        self.taken.retain(|(_, task)| !task.is_finished());
        if self.taken.len() >= self.most {
            let activities = self.taken.iter().map(|(place, _)| place.activity());
            let silent = activities.enumerate().min_by_key(|(_, activity)| *activity);
            if let Some((index, _)) = silent {
                self.taken.swap_remove(index).1.abort();
            }
        }
        self.taken.push((place, task));
    }

    /// Returns true if a new connection can have a place.
    pub(super) fn has_room(&self) -> bool {
        let now = Instant::now();
        let is_available = |(place, task): &(Arc<Place>, AbortHandle)| {
            task.is_finished() || place.activity().makes_room_at().is_some_and(|at| at <= now)
        };
        self.taken.len() < self.most || self.taken.iter().any(is_available)
    }

    /// Waits until there may be room.
    pub(super) fn may_have_room(&self) -> impl Future<Output = ()> + Send + use<> {
        let answered = Arc::clone(&self.answered);
        let activities = self.taken.iter().map(|(place, _)| place.activity());
        let now = Instant::now();
        let later = activities
            .filter_map(Activity::makes_room_at)
            .filter(|at| *at > now);
        let next = later.min();
        async move {
            tokio::select! {
                () = answered.notified() => {}
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            }
        }
    }
}

impl Activity {
    /// When the connection may make room for another; none while the proxy owes it a reply.
    fn makes_room_at(self) -> Option<Instant> {
        (!self.is_owed).then(|| self.last + SILENT_FROM)
    }
}

impl Place {
    /// Marks the time until the result is dropped as the proxy's own: it owes the client a reply.
    pub(super) fn owe(&self) -> Owed<'_> {
        self.set(true);
        Owed(self)
    }

    fn activity(&self) -> Activity {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the client has had so much time, without that in which the proxy owed it a reply.
    pub(super) async fn expired(&self, within: Duration) {
        loop {
            let Activity { is_owed, since, .. } = self.activity();
            let now = Instant::now();
            if is_owed {
                sleep_until(now + within).await;
            } else if now < since + within {
                sleep_until(since + within).await;
            } else {
                return;
            }
        }
    }

    fn set(&self, is_owed: bool) {
        let now = Instant::now();
        let now = Activity {
            is_owed,
            last: now,
            since: now,
        };
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn mark_active(&self) {
        let mut activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        activity.last = Instant::now();
    }
}

/// The time in which the proxy owes a client a reply.
#[derive(Debug)]
pub(super) struct Owed<'a>(&'a Place);

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.0.set(false);
        self.0.answered.notify_one();
    }
}

/// The stream of a connection; what the client takes of its reply ends the silence of its place.
#[derive(Debug)]
pub(super) struct PlacedStream<S> {
    stream: S,
    place: Arc<Place>,
}

impl<S> PlacedStream<S> {
    pub(super) fn new(stream: S, place: Arc<Place>) -> Self {
        Self { stream, place }
    }

    /// The stream, whose bytes are no more those of its place.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PlacedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PlacedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> PlacedStream<S> {
    fn written(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.place.mark_active();
        }
        polled
    }
}
