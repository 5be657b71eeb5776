//! A connection to a server that waits for each reply: `verify` has one of them to each server, and one thread.

use std::io;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::net::{ConnectError, ServerAddr};
use crate::protocol::Passed;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::error_line::ErrorAuthor;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::resp::reply::ReplyScanner;
use crate::text::Printable;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longer than any command takes that is sent here, on a server that also works for others.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// The cause of a failure of one server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It is silent.
    #[error("no reply within {} s", REPLY_WITHIN.as_secs())]
    TimedOut,
    /// It has closed the connection.
    #[error("closed by the server")]
    Closed,
    /// A failure of the socket.
    #[error(transparent)]
    Io(io::Error),
    /// Something other than a reply.
    #[error("malformed reply")]
    BadReply,
    /// An error reply.
    #[error("{command} is answered with '{}'", Printable(reply))]
    Refused {
        /// The command.
        command: String,
        /// The line of the reply.
        reply: String,
    },
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    output: BytesMut,
    input: BytesMut,
    /// The selected database.
    database: u32,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    /// Connects, and authenticates if there is a password.
    pub(super) fn open(address: &ServerAddr, password: Option<&[u8]>) -> Result<Self, ServerError> {
        let mut connection = Self {
            stream: connect(address)?,
            output: BytesMut::new(),
            input: BytesMut::new(),
            database: 0,
        };
        if let Some(password) = password {
            connection.call(&[b"AUTH", password])?;
        }
        Ok(connection)
    }

    /// Selects a database for the requests that follow.
    pub(super) fn select(&mut self, database: u32) -> Result<(), ServerError> {
        if self.database != database {
            self.call(&[b"SELECT", database.to_string().as_bytes()])?;
            self.database = database;
        }
        Ok(())
    }

    /// Sends one request; an error reply is an error.
    pub(super) fn call(&mut self, words: &[&[u8]]) -> Result<Bytes, ServerError> {
        self.queue(words);
        let reply = self.replies(1)?.pop().ok_or(ServerError::BadReply)?;
        if inspect::is_error(&reply) {
            return Err(refused(words, &reply));
        }
        Ok(reply)
    }

    /// Sends a request for each key, `words` with the key behind them; returns their replies, of which some may be errors.
    pub(super) fn call_each<'k>(
        &mut self,
        words: &[&[u8]],
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Vec<Bytes>, ServerError> {
        let mut count = 0;
        let mut request = words.to_vec();
        for key in keys {
            request.push(key);
            self.queue(&request);
            request.pop();
            count += 1;
        }
        self.replies(count)
    }

    fn queue(&mut self, words: &[&[u8]]) {
        write_request(words, &mut self.output);
    }

    /// Sends what is queued and waits for that many replies. They are short, so the server never waits for this side to
    /// read while it sends.
    fn replies(&mut self, count: usize) -> Result<Vec<Bytes>, ServerError> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        (0..count).map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> Result<Bytes, ServerError> {
        let mut scanner = ReplyScanner::default();
        let mut at = 0;
        loop {
            let rest = self.input.get(at..).unwrap_or_default();
            match scanner.scan(rest, ErrorAuthor::Server) {
                Ok(Passed::Whole { len, .. }) => {
                    return Ok(self.input.split_to(at + len).freeze());
                }
                Ok(Passed::Part { len }) => at += len,
                Err(_) => return Err(ServerError::BadReply),
            }
            let mut piece = [0; 16 << 10];
            let len = self.stream.read(&mut piece)?;
            if len == 0 {
                return Err(ServerError::Closed);
            }
            self.input
                .extend_from_slice(piece.get(..len).unwrap_or_default());
        }
    }
}

/// The error of a request that is answered with an error.
pub(super) fn refused(words: &[&[u8]], reply: &[u8]) -> ServerError {
    let line = reply.get(1..).unwrap_or_default().trim_ascii_end();
    ServerError::Refused {
        command: words
            .first()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .unwrap_or_default(),
        reply: String::from_utf8_lossy(line).into_owned(),
    }
}

fn connect(address: &ServerAddr) -> Result<Stream, ServerError> {
    match address {
        ServerAddr::Tcp { host, port } => {
            let found = (host.as_str(), *port)
                .to_socket_addrs()
                .map_err(ConnectError::Resolve)?;
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in found {
                match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        stream.set_read_timeout(Some(REPLY_WITHIN))?;
                        stream.set_write_timeout(Some(REPLY_WITHIN))?;
                        return Ok(Stream::Tcp(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(ConnectError::Connect(last).into())
        }
        ServerAddr::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(ConnectError::Connect)?;
            stream.set_read_timeout(Some(REPLY_WITHIN))?;
            stream.set_write_timeout(Some(REPLY_WITHIN))?;
            Ok(Stream::Unix(stream))
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}
