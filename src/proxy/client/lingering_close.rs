//! The end of a connection whose client may still be sending.
//!
//! Closing a socket with unread bytes resets it, and the last reply would be lost. So the proxy's side is shut down,
//! and the client's input is dropped for a bounded time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::net::Stream;

/// Bytes of input that are dropped before the connection is closed anyway.
const DROPPED_BYTES: usize = 4 << 20;

/// A connection that is being closed.
#[derive(Debug)]
pub(crate) struct LingeringClose {
    stall_timer: Pin<Box<Sleep>>,
    dropped: usize,
    shut: bool,
}

impl LingeringClose {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            stall_timer: Box::pin(sleep(timeout)),
            dropped: 0,
            shut: false,
        }
    }

    /// Ready when the client has closed too, or the timeout has passed.
    pub(crate) fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shut {
            match Pin::new(&mut *stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                // The last word of TLS waits for room in the socket.
                Poll::Pending => return self.stall_timer.as_mut().poll(cx),
            }
        }
        let mut bytes = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && self.dropped < DROPPED_BYTES => {
                    self.dropped += buf.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        ready!(self.stall_timer.as_mut().poll(cx));
        Poll::Ready(())
    }
}
