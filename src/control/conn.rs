//! A connection of the control thread to a server or a sentinel: RESP2, one question at a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::net::tls::TlsConnector;
use crate::net::{Dial, ServerAddr, Stream};
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::{ErrorAuthor, ReplyScanner};
use crate::protocol::{Passed, UpstreamError};

/// The longest reply to a question.
const REPLY_MAX_BYTES: usize = 4 << 20;

/// The reason why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Connection(UpstreamError),
    /// An error reply.
    #[error("it said '{0}'")]
    Refused(String),
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self::Connection(error)
    }
}

impl Failure {
    pub(super) fn refused(reply: &[u8]) -> Self {
        let line = reply.get(1..).unwrap_or_default().trim_ascii_end();
        Self::Refused(line.escape_ascii().to_string())
    }
}

/// The request of a password, or of a user and a password.
pub(super) fn auth(text: &[u8]) -> Vec<&[u8]> {
    let words = text.splitn(2, |byte| *byte == b' ');
    [&b"AUTH"[..]].into_iter().chain(words).collect()
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    stream: Stream,
    received: BytesMut,
    patience: Duration,
}

impl Conn {
    /// Connects, and authenticates with this request if there is one. Each step may take `patience`.
    pub(super) async fn open(
        (address, tls): (&ServerAddr, Option<&TlsConnector>),
        auth: &[&[u8]],
        patience: Duration,
    ) -> Result<Self, Failure> {
        let dial = Dial {
            keepalive: true,
            tls,
        };
        let stream = timeout(patience, Stream::connect(address, None, dial)).await;
        let stream = stream.map_err(|_| UpstreamError::TimedOut)?;
        let mut conn = Self {
            stream: stream.map_err(|error| UpstreamError::from(&error))?,
            received: BytesMut::new(),
            patience,
        };
        if !auth.is_empty() {
            conn.ask(auth).await?;
        }
        Ok(conn)
    }

    /// Asks one question; an error reply is an error.
    pub(super) async fn ask(&mut self, words: &[&[u8]]) -> Result<Bytes, Failure> {
        self.send(words).await?;
        let reply = self.reply().await?;
        if inspect::is_error(&reply) {
            return Err(Failure::refused(&reply));
        }
        Ok(reply)
    }

    /// Sends a request whose replies [`Self::reply`] or [`Self::next`] returns.
    pub(super) async fn send(&mut self, words: &[&[u8]]) -> Result<(), Failure> {
        let mut request = BytesMut::new();
        write_request(words, &mut request);
        self.write(&request).await
    }

    /// Sends requests that are written already.
    pub(super) async fn write(&mut self, requests: &[u8]) -> Result<(), Failure> {
        let written = timeout(self.patience, self.stream.write_all(requests)).await;
        let written = written.map_err(|_| UpstreamError::TimedOut)?;
        written.map_err(|error| UpstreamError::from(&error))?;
        Ok(())
    }

    /// The next reply, which may be an error.
    pub(super) async fn reply(&mut self) -> Result<Bytes, Failure> {
        let reply = timeout(self.patience, self.next()).await;
        Ok(reply.unwrap_or(Err(UpstreamError::TimedOut))?)
    }

    /// The next reply or message, however late it comes. Cancel safe: what has arrived is kept.
    pub(super) async fn next(&mut self) -> Result<Bytes, UpstreamError> {
        loop {
            if let Some(reply) = self.take()? {
                return Ok(reply);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(UpstreamError::Closed),
                Ok(_) => {}
                Err(error) => return Err(UpstreamError::from(&error)),
            }
        }
    }

    /// A reply or message that has arrived.
    pub(super) fn take(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        if let Some(len) = first_len(&self.received)? {
            return Ok(Some(self.received.split_to(len).freeze()));
        }
        if self.received.len() > REPLY_MAX_BYTES {
            return Err(UpstreamError::BadReply);
        }
        Ok(None)
    }
}

/// The length of the first whole reply.
pub(super) fn first_len(received: &[u8]) -> Result<Option<usize>, UpstreamError> {
    let mut scanner = ReplyScanner::default();
    let mut passed = 0;
    while let Some(rest) = received.get(passed..).filter(|rest| !rest.is_empty()) {
        match scanner.scan(rest, ErrorAuthor::Server) {
            Ok(Passed::Whole { len, .. }) => return Ok(Some(passed + len)),
            Ok(Passed::Part { len: 0 }) => return Ok(None),
            Ok(Passed::Part { len }) => passed += len,
            Err(_) => return Err(UpstreamError::BadReply),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_is_a_password_or_a_user_and_a_password() {
        assert_eq!(auth(b"secret"), [&b"AUTH"[..], b"secret"]);
        assert_eq!(auth(b"me my secret"), [&b"AUTH"[..], b"me", b"my secret"]);
    }
}
