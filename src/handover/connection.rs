//! A connection on which messages travel in frames, each with bytes and a descriptor if it has any.
//!
//! ```text
//! length of the JSON (4 bytes, big endian), length of the bytes (4), number of descriptors (1: 0 or 1), JSON, bytes
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::HandoverError;
use crate::net::passing;

/// The length of the head of a frame.
const HEAD_BYTES: usize = 9;
/// The longest JSON: a client may have very many subscriptions.
const JSON_MAX_BYTES: usize = 64 << 20;
/// The most bytes of one client.
const BYTES_MAX: usize = 64 << 20;
/// The size of one read.
const READ_BYTES: usize = 64 << 10;

/// A connection to the other process.
#[derive(Debug)]
pub struct Connection {
    /// Its sending half.
    pub sender: Sender,
    /// Its receiving half.
    pub receiver: Receiver,
}

/// Sends frames. A clone sends on the same connection, but not in the middle of a frame of the other.
#[derive(Debug, Clone)]
pub struct Sender(Arc<UnixStream>);

/// Receives frames.
#[derive(Debug)]
pub struct Receiver {
    stream: Arc<UnixStream>,
    received: BytesMut,
    descriptors: VecDeque<OwnedFd>,
}

/// A message, and what came with it.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub message: M,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its descriptor.
    pub descriptor: Option<OwnedFd>,
}

impl Connection {
    /// A connection over this stream.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        let stream = Arc::new(stream);
        Self {
            sender: Sender(Arc::clone(&stream)),
            receiver: Receiver {
                stream,
                received: BytesMut::new(),
                descriptors: VecDeque::new(),
            },
        }
    }

    /// The id of the other process, as the system knows it.
    #[must_use]
    pub fn peer_pid(&self) -> Option<u32> {
        let peer = self.receiver.stream.peer_cred().ok()?;
        peer.pid().and_then(|pid| u32::try_from(pid).ok())
    }
}

/// The bytes of a frame.
pub(super) fn frame(
    message: &impl Serialize,
    bytes: &[u8],
    has_descriptor: bool,
) -> Result<BytesMut, HandoverError> {
    let json = serde_json::to_vec(message);
    let json = json.map_err(|error| HandoverError::Malformed(error.to_string()))?;
    let too_long = |_| HandoverError::Malformed("a message is too long".to_owned());
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + json.len() + bytes.len());
    frame.put_u32(u32::try_from(json.len()).map_err(too_long)?);
    frame.put_u32(u32::try_from(bytes.len()).map_err(too_long)?);
    frame.put_u8(u8::from(has_descriptor));
    frame.extend_from_slice(&json);
    frame.extend_from_slice(bytes);
    Ok(frame)
}

impl Sender {
    /// Sends a message, with bytes and a descriptor.
    pub async fn send_with(
        &self,
        message: &impl Serialize,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), HandoverError> {
        let frame = frame(message, bytes, descriptor.is_some())?;
        let sent = passing::send(&self.0, &frame, descriptor).await;
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => HandoverError::Gone,
            _ => HandoverError::Io(error),
        })
    }

    /// Sends a message.
    pub async fn send(&self, message: &impl Serialize) -> Result<(), HandoverError> {
        self.send_with(message, &[], None).await
    }
}

impl Receiver {
    /// Receives a message. Cancel safe.
    pub async fn receive<M: DeserializeOwned>(&mut self) -> Result<Received<M>, HandoverError> {
        let mut read = vec![0; READ_BYTES];
        loop {
            if let Some(complete) = self.take()? {
                return Ok(complete);
            }
            let len = passing::receive(&self.stream, &mut read, &mut self.descriptors).await;
            match len {
                Ok(0) => return Err(HandoverError::Gone),
                Ok(len) => self
                    .received
                    .extend_from_slice(read.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(HandoverError::Gone);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives a message within that time. Cancel safe.
    pub async fn receive_within<M: DeserializeOwned>(
        &mut self,
        within: Duration,
    ) -> Result<M, HandoverError> {
        let received = timeout(within, self.receive()).await;
        let received = received.map_err(|_| HandoverError::Late { within })?;
        received.map(|received| received.message)
    }

    /// Takes a message that is complete.
    fn take<M: DeserializeOwned>(&mut self) -> Result<Option<Received<M>>, HandoverError> {
        let mut head = self.received.get(..HEAD_BYTES).unwrap_or_default();
        if head.is_empty() {
            return Ok(None);
        }
        let length = |head: &mut &[u8]| usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        let (json_len, bytes_len) = (length(&mut head), length(&mut head));
        let descriptors = head.get_u8();
        if json_len > JSON_MAX_BYTES || bytes_len > BYTES_MAX || descriptors > 1 {
            return Err(HandoverError::Malformed("the head of a frame".to_owned()));
        }
        if self.received.len() < HEAD_BYTES + json_len + bytes_len {
            return Ok(None);
        }
        self.received.advance(HEAD_BYTES);
        let json = self.received.split_to(json_len);
        let bytes = self.received.split_to(bytes_len).freeze();
        let message = serde_json::from_slice(&json)
            .map_err(|error| HandoverError::Malformed(error.to_string()))?;
        let descriptor = if descriptors == 0 {
            None
        } else {
            let missing = || HandoverError::Malformed("a descriptor is missing".to_owned());
            Some(self.descriptors.pop_front().ok_or_else(missing)?)
        };
        Ok(Some(Received {
            message,
            bytes,
            descriptor,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn messages_arrive_in_order_with_what_they_carry() {
        let (near, far) = UnixStream::pair().unwrap();
        let (near, mut far) = (Connection::new(near), Connection::new(far));
        let (_, pipe) = io::pipe().unwrap();
        let long = vec![7; 1 << 20];
        let send = async {
            near.sender.send(&"first").await.unwrap();
            let descriptor = Some(pipe.as_fd());
            let sent = near.sender.send_with(&"second", &long, descriptor);
            sent.await.unwrap();
            near.sender.send(&"third").await.unwrap();
        };
        let receive = async {
            let mut received = Vec::new();
            for _ in 0..3 {
                let Received {
                    message,
                    bytes,
                    descriptor,
                } = far.receiver.receive::<String>().await.unwrap();
                received.push((message, bytes.len(), descriptor.is_some()));
            }
            received
        };
        let ((), received) = tokio::join!(send, receive);
        let expected = [
            ("first", 0, false),
            ("second", 1 << 20, true),
            ("third", 0, false),
        ];
        let received = received.iter();
        let received: Vec<_> = received
            .map(|(text, len, has)| (text.as_str(), *len, *has))
            .collect();
        assert_eq!(received, expected);
        drop(near);
        let end = far.receiver.receive::<String>().await.unwrap_err();
        assert!(matches!(end, HandoverError::Gone), "{end}");
    }

    #[tokio::test]
    async fn malformed_frames_are_refused() {
        let heads: [&[u8]; 3] = [
            &[0xff, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 2, 0, 0, 0, 0, 2, b'"', b'"'],
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, b'{'],
        ];
        for head in heads {
            let (near, far) = UnixStream::pair().unwrap();
            passing::send(&near, head, None).await.unwrap();
            let mut far = Connection::new(far);
            let error = far.receiver.receive::<String>().await.unwrap_err();
            assert!(matches!(error, HandoverError::Malformed(_)), "{error}");
        }
    }
}
