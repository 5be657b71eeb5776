//! The request of a new process to take over an old one, on its admin socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::connection::{Connection, frame};
use super::error::HandoverError;
use super::message::FromNew;

/// The path of the request.
pub const TAKE_OVER_PATH: &str = "/take-over";
/// The protocol that the connection switches to.
pub const TAKE_OVER_PROTOCOL: &str = "ringroad-take-over";

/// The time limit for each read and write.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The maximum length of the head of the response.
const HEAD_MAX_BYTES: usize = 4 << 10;

/// A connection to an old process that waits for what the new one says.
#[derive(Debug)]
pub struct TakeOver {
    path: PathBuf,
    stream: UnixStream,
}

/// The refusal of an admin socket.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl TakeOver {
    /// Connects to the admin socket at `path`.
    pub fn request(path: &Path) -> Result<Self, HandoverError> {
        let no_proxy = |error| HandoverError::NoProxy {
            path: path.display().to_string(),
            error,
        };
        let mut stream = UnixStream::connect(path).map_err(no_proxy)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        let request = format!(
            "POST {TAKE_OVER_PATH} HTTP/1.1\r\nHost: ringroad\r\nContent-Length: 0\r\n\
             Connection: upgrade\r\nUpgrade: {TAKE_OVER_PROTOCOL}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let head = read_head(&mut stream)?;
        if head.starts_with("HTTP/1.1 101 ") {
            let path = path.to_owned();
            return Ok(Self { path, stream });
        }
        let mut body = String::new();
        // What is missing of the reason is no other error.
        let _ = stream.read_to_string(&mut body);
        let reason = match serde_json::from_str::<Refusal>(&body) {
            Ok(refusal) => refusal.error,
            Err(_) => head.lines().next().unwrap_or_default().to_owned(),
        };
        Err(HandoverError::Refused {
            path: path.display().to_string(),
            reason,
        })
    }

    /// The path of the admin socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the old process why this one cannot serve.
    pub fn fail(mut self, reason: &str) {
        let reason = reason.trim_end().to_owned();
        if let Ok(frame) = frame(&FromNew::Failed { reason }, &[], false) {
            // If it has gone, nobody wants to know.
            let _ = self.stream.write_all(&frame);
        }
    }

    /// The connection. Must be called within a runtime.
    pub fn into_connection(self) -> Result<Connection, HandoverError> {
        self.stream.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(self.stream)?;
        Ok(Connection::new(stream))
    }
}

/// Reads the head of the response, and nothing behind it: the next bytes may come with descriptors.
fn read_head(stream: &mut UnixStream) -> Result<String, HandoverError> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 || head.len() == HEAD_MAX_BYTES {
            return Err(HandoverError::Gone);
        }
        head.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
