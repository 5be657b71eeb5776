//! Buffers of bytes read from a socket.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// The maximum size of one read of a worker, unless a large frame is incomplete.
const SCRATCH_BYTES: usize = 128 << 10;

/// The largest remainder that is copied back to the scratch, where the next read appends to it.
const COPY_BACK_BYTES: usize = 24 << 10;

/// The capacity that a connection without a remainder keeps for its next one.
const KEEP_BYTES: usize = 4 << 10;

/// Capacity for a whole frame is reserved at once if it is at most this many times what has been received of it.
const ANNOUNCED_MOST: usize = 64;

/// The factor by which a buffer grows for a frame of which less has been received.
const GROWTH: usize = 8;

/// The read buffer that all sockets of one worker share.
///
/// It is taken for the duration of one batch and put back, so no borrow of it can outlive a call.
#[derive(Default)]
pub struct Scratch(Cell<BytesMut>);

/// The bytes that a connection keeps between two reads: the beginning of an incomplete frame.
#[derive(Debug, Default)]
pub struct ReadBuf {
    kept: BytesMut,
}

/// A batch of bytes to scan; goes back with [`ReadBuf::put_back`].
#[derive(Debug)]
pub struct Filled {
    /// The kept bytes, and those read behind them.
    pub bytes: BytesMut,
    /// Set if `bytes` is this connection's own allocation, from which frames may be split off.
    pub owned: bool,
}

impl ReadBuf {
    /// A buffer that keeps these bytes.
    #[must_use]
    pub fn keeping(bytes: &[u8]) -> Self {
        Self {
            kept: BytesMut::from(bytes),
        }
    }

    /// The number of kept bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Returns true if nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Takes the kept bytes, without reading.
    pub fn take(&mut self) -> Filled {
        Filled {
            bytes: std::mem::take(&mut self.kept),
            owned: true,
        }
    }

    /// Reads once behind the kept bytes. `want` is the known length of the incomplete frame.
    ///
    /// Returns the batch and the number of bytes read; zero is the end of the stream.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        want: usize,
    ) -> Poll<io::Result<(usize, Filled)>> {
        if self.kept.len() > COPY_BACK_BYTES {
            // Existing capacity is used up first: growing near the end of a frame would move all of it.
            if self.kept.len() == self.kept.capacity() {
                self.grow(want);
            }
            let read = ready!(poll_read_buf(Pin::new(io), cx, &mut self.kept))?;
            return Poll::Ready(Ok((read, self.take())));
        }
        let mut bytes = scratch.0.take();
        bytes.clear();
        bytes.reserve(SCRATCH_BYTES);
        bytes.put_slice(&self.kept);
        match poll_read_buf(Pin::new(io), cx, &mut bytes) {
            Poll::Ready(Ok(read)) => {
                self.kept.clear();
                Poll::Ready(Ok((
                    read,
                    Filled {
                        bytes,
                        owned: false,
                    },
                )))
            }
            Poll::Ready(Err(error)) => {
                scratch.0.set(bytes);
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                scratch.0.set(bytes);
                Poll::Pending
            }
        }
    }

    /// Reserves capacity for the rest of a frame of `want` bytes.
    ///
    /// Capacity for the whole frame is reserved once a part of it has been received, and in steps before: a length that
    /// a client announces costs no memory until the bytes are sent, and a large frame is hardly ever moved.
    fn grow(&mut self, want: usize) {
        let here = self.kept.len();
        let whole = if want / ANNOUNCED_MOST <= here {
            want
        } else {
            here * GROWTH
        };
        let room = whole.max(SCRATCH_BYTES).saturating_sub(here);
        self.kept.reserve(room.max(COPY_BACK_BYTES));
    }

    /// Keeps the rest of a batch, and returns the scratch to the worker.
    pub fn put_back(&mut self, filled: Filled, scratch: &Scratch) {
        let Filled { bytes, owned } = filled;
        if !owned {
            if !bytes.is_empty() {
                self.kept.extend_from_slice(&bytes);
            } else if self.kept.capacity() > KEEP_BYTES {
                self.kept = BytesMut::new();
            }
            scratch.0.set(bytes);
        } else if bytes.is_empty() {
            self.kept = BytesMut::new();
        } else if bytes.len() <= COPY_BACK_BYTES {
            // The rest must not keep the allocation of a large frame that was split off.
            self.kept = BytesMut::from(&bytes[..]);
        } else {
            self.kept = bytes;
        }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Buf;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn partial_input_is_kept_for_the_next_read() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let (scratch, mut buf) = (Scratch::default(), ReadBuf::default());
        for size in [10, COPY_BACK_BYTES, COPY_BACK_BYTES + 1, SCRATCH_BYTES * 2] {
            let sent: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
            far.write_all(&sent).await.unwrap();
            let mut got = Vec::new();
            while got.len() + buf.len() < sent.len() {
                let (_, mut filled) = poll_fn(|cx| buf.poll_fill(&mut near, cx, &scratch, size))
                    .await
                    .unwrap();
                if filled.bytes.len() == sent.len() - got.len() {
                    got.extend_from_slice(&filled.bytes);
                    filled.bytes.advance(filled.bytes.len());
                } else {
                    got.push(filled.bytes[0]);
                    filled.bytes.advance(1);
                }
                buf.put_back(filled, &scratch);
            }
            assert_eq!(got, sent);
            assert!(buf.is_empty());
        }
    }

    #[tokio::test]
    async fn large_frame_reserves_little_more_than_its_size() {
        const FRAME_BYTES: usize = 40 << 20;
        let (mut near, mut far) = tokio::io::duplex(10_000);
        let write = async move { far.write_all(&vec![7; FRAME_BYTES]).await.unwrap() };
        let read = async {
            let (scratch, mut buf) = (Scratch::default(), ReadBuf::default());
            let mut most = 0;
            while buf.len() < FRAME_BYTES {
                let fill = poll_fn(|cx| buf.poll_fill(&mut near, cx, &scratch, FRAME_BYTES));
                let (_, filled) = fill.await.unwrap();
                buf.put_back(filled, &scratch);
                most = most.max(buf.kept.capacity());
            }
            most
        };
        let ((), most) = tokio::join!(write, read);
        assert!(most < FRAME_BYTES / 8 * 9, "{most} bytes of room");
    }

    #[tokio::test]
    async fn idle_connection_keeps_no_large_buffer() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let (scratch, mut buf) = (Scratch::default(), ReadBuf::default());
        far.write_all(&vec![7; SCRATCH_BYTES]).await.unwrap();
        for _ in 0..3 {
            let Some(Ok((_, filled))) =
                futures_now(|cx| buf.poll_fill(&mut near, cx, &scratch, SCRATCH_BYTES)).await
            else {
                break;
            };
            buf.put_back(filled, &scratch);
        }
        let mut filled = buf.take();
        filled.bytes.advance(filled.bytes.len());
        buf.put_back(filled, &scratch);
        assert!(buf.kept.capacity() <= KEEP_BYTES);
    }

    async fn futures_now<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        poll_fn(|cx| match poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
