//! The connection.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::net::ServerAddr;
use crate::protocol::Passed;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::error_line::ErrorAuthor;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::resp::reply::ReplyScanner;
use crate::redis_client::ConnectOptions;
use crate::redis_client::error::{ServerError, refused};
use crate::redis_client::info::Info;
use crate::redis_client::socket::Socket;

const PIECE_BYTES: usize = 64 << 10;

/// A connection to one server.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    reply_within: Duration,
    /// Requests that are not sent yet.
    output: BytesMut,
    /// Received, and not yet split into replies.
    input: BytesMut,
    /// The part of `input` that belongs to the first reply, already scanned.
    scanned: usize,
    scanner: ReplyScanner,
    /// The first reply is a push.
    is_push: bool,
    /// Requests that were queued and whose replies are still to come.
    awaited: usize,
    /// Replies since the last [`Self::finish`].
    replies: Vec<Bytes>,
    pushes: VecDeque<Bytes>,
    piece: Box<[u8]>,
    /// The selected database.
    database: u32,
}

impl Connection {
    /// Connects, and sends what the options ask for.
    pub fn open(address: &ServerAddr, options: &ConnectOptions<'_>) -> Result<Self, ServerError> {
        let mut connection = Self {
            socket: Socket::connect(address, options.tls, options.connect_within)?,
            reply_within: options.reply_within,
            output: BytesMut::new(),
            input: BytesMut::new(),
            scanned: 0,
            scanner: ReplyScanner::default(),
            is_push: false,
            awaited: 0,
            replies: Vec::new(),
            pushes: VecDeque::new(),
            piece: vec![0; PIECE_BYTES].into_boxed_slice(),
            database: 0,
        };
        if let Some(auth) = options.auth {
            connection.call(&auth.words())?;
        }
        if options.is_resp3 {
            connection.call(&[b"HELLO", b"3"])?;
        }
        if let Some(name) = options.name {
            connection.call(&[b"CLIENT", b"SETNAME", name.as_bytes()])?;
        }
        Ok(connection)
    }

    /// Selects a database for the requests that follow. Nothing may be queued or awaited.
    pub fn select(&mut self, database: u32) -> Result<(), ServerError> {
        if self.database != database {
            self.call(&[b"SELECT", database.to_string().as_bytes()])?;
            self.database = database;
        }
        Ok(())
    }

    /// Sends one request; an error reply is an error.
    pub fn call(&mut self, words: &[&[u8]]) -> Result<Bytes, ServerError> {
        self.queue(words);
        let reply = self.finish()?.pop().ok_or(ServerError::BadReply)?;
        if inspect::is_error(&reply) {
            return Err(refused(words, &reply));
        }
        Ok(reply)
    }

    /// Sends a request for each key, `words` with the key behind them; returns their replies, of which some may be errors.
    pub fn call_each<'k>(
        &mut self,
        words: &[&[u8]],
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Vec<Bytes>, ServerError> {
        let mut request = words.to_vec();
        for key in keys {
            request.push(key);
            self.queue(&request);
            request.pop();
        }
        self.finish()
    }

    /// The next page of a scan of the selected database: the cursor of the page after it, which is `0` at the end, and
    /// about `count` keys, of which some may have come before.
    pub fn scan(&mut self, cursor: &[u8], count: u32) -> Result<(Bytes, Vec<Bytes>), ServerError> {
        let reply = self.call(&[b"SCAN", cursor, b"COUNT", count.to_string().as_bytes()])?;
        read_scan(&reply).ok_or(ServerError::BadReply)
    }

    /// The server's INFO.
    pub fn info(&mut self) -> Result<Info, ServerError> {
        let reply = self.call(&[b"INFO"])?;
        Info::of_reply(&reply).ok_or(ServerError::BadReply)
    }

    /// Adds a request to those that [`Self::start`] or [`Self::finish`] sends.
    pub fn queue(&mut self, words: &[&[u8]]) {
        write_request(words, &mut self.output);
        self.awaited += 1;
    }

    /// Adds `count` requests that are written already.
    pub fn queue_written(&mut self, requests: &[u8], count: usize) {
        self.output.extend_from_slice(requests);
        self.awaited += count;
    }

    /// The bytes of requests that are not sent yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.output.len()
    }

    /// Sends as much of what is queued as the system takes at once, and waits for nothing.
    pub fn start(&mut self) -> Result<(), ServerError> {
        self.send().map(|_| ())
    }

    /// Sends the rest of what is queued, waits for all replies, and returns them in the order of the requests. Some may
    /// be errors.
    pub fn finish(&mut self) -> Result<Vec<Bytes>, ServerError> {
        while self.awaited > 0 || !self.output.is_empty() {
            let has_sent = self.send()?;
            let has_received = self.receive()?;
            if self.awaited == 0 && self.output.is_empty() {
                break;
            }
            if !has_sent && !has_received {
                let within = self.reply_within;
                if !self.socket.wait(!self.output.is_empty(), within)? {
                    return Err(ServerError::TimedOut(within));
                }
            }
        }
        Ok(mem::take(&mut self.replies))
    }

    /// Subscribes to a channel over RESP3, in which a push confirms it. The connection then is of the class `pubsub`,
    /// whose output the server limits, and may send any request. Nothing may be queued or awaited.
    pub fn subscribe(&mut self, channel: &[u8]) -> Result<(), ServerError> {
        let words: &[&[u8]] = &[b"SUBSCRIBE", channel];
        self.queue(words);
        let deadline = Instant::now() + self.reply_within;
        let mut seen = self.pushes.len();
        loop {
            self.send()?;
            self.receive()?;
            // Only a refusal is a reply.
            if let Some(reply) = self.replies.pop() {
                return Err(refused(words, &reply));
            }
            while let Some(push) = self.pushes.get(seen) {
                if push_kind(push) == Some(b"subscribe") {
                    self.pushes.remove(seen);
                    self.awaited -= 1;
                    return Ok(());
                }
                seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.socket.wait(!self.output.is_empty(), left)? {
                return Err(ServerError::TimedOut(self.reply_within));
            }
        }
    }

    /// The oldest push that was received, and not taken yet: an array reply, whose first element is its kind.
    pub fn take_push(&mut self) -> Option<Bytes> {
        self.pushes.pop_front()
    }

    /// Receives what has arrived, and waits for nothing.
    pub fn poll(&mut self) -> Result<(), ServerError> {
        self.send()?;
        self.receive().map(|_| ())
    }

    /// Waits for a push until then; returns true if one can be taken.
    pub fn wait_push(&mut self, deadline: Instant) -> Result<bool, ServerError> {
        loop {
            self.poll()?;
            if !self.pushes.is_empty() {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.socket.wait(!self.output.is_empty(), left)?;
        }
    }

    /// Returns true if something was sent.
    fn send(&mut self) -> Result<bool, ServerError> {
        let mut has_sent = false;
        while !self.output.is_empty() {
            match self.socket.write(&self.output)? {
                Some(0) => return Err(ServerError::Closed),
                Some(len) => self.output.advance(len),
                None => break,
            }
            has_sent = true;
        }
        Ok(has_sent)
    }

    /// Receives what is there; returns true if there was something.
    fn receive(&mut self) -> Result<bool, ServerError> {
        let mut has_received = false;
        while let Some(len) = self.socket.read(&mut self.piece)? {
            if len == 0 {
                return Err(ServerError::Closed);
            }
            has_received = true;
            let received = self.piece.get(..len).unwrap_or_default();
            self.input.extend_from_slice(received);
            self.split()?;
            // The system has no more; reading until it says so would be one call more.
            if len < self.piece.len() {
                break;
            }
        }
        Ok(has_received)
    }

    /// Splits what was received into replies and pushes.
    fn split(&mut self) -> Result<(), ServerError> {
        while self.scanned < self.input.len() {
            // A push has the form of an array, and becomes one: the scanner knows replies only.
            if let (0, Some(first @ b'>')) = (self.scanned, self.input.first_mut()) {
                *first = b'*';
                self.is_push = true;
            }
            let rest = self.input.get(self.scanned..).unwrap_or_default();
            match self.scanner.scan(rest, ErrorAuthor::Server) {
                Ok(Passed::Whole { len, .. }) => {
                    let reply = self.input.split_to(self.scanned + len).freeze();
                    self.scanned = 0;
                    if mem::take(&mut self.is_push) {
                        self.pushes.push_back(reply);
                    } else {
                        self.awaited = self.awaited.checked_sub(1).ok_or(ServerError::BadReply)?;
                        self.replies.push(reply);
                    }
                }
                Ok(Passed::Part { len: 0 }) => return Ok(()),
                Ok(Passed::Part { len }) => self.scanned += len,
                Err(_) => return Err(ServerError::BadReply),
            }
        }
        Ok(())
    }
}

/// The cursor and the keys of a reply to SCAN.
fn read_scan(reply: &Bytes) -> Option<(Bytes, Vec<Bytes>)> {
    let mut elements = inspect::elements(reply)?;
    let cursor = inspect::bulk(elements.next()?)?;
    let keys = inspect::elements(elements.next()?)?;
    let keys: Option<_> = keys
        .map(|key| Some(reply.slice_ref(inspect::bulk(key)?)))
        .collect();
    Some((reply.slice_ref(cursor), keys?))
}

/// The kind of a push, such as `invalidate`.
fn push_kind(push: &[u8]) -> Option<&[u8]> {
    inspect::bulk(inspect::elements(push)?.next()?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::thread;

    use super::*;

    /// A connection to a server that does `serve`.
    fn connected(serve: impl FnOnce(TcpStream) + Send + 'static) -> Connection {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        Connection::open(&address, &ConnectOptions::default()).unwrap()
    }

    fn split(pieces: &'static [&'static [u8]]) -> Connection {
        connected(move |mut peer| {
            for piece in pieces {
                peer.write_all(piece).unwrap();
                peer.flush().unwrap();
            }
            // Until the other side has gone.
            let _ = peer.read_to_end(&mut Vec::new());
        })
    }

    #[test]
    fn large_requests_and_replies_do_not_block_each_other() {
        const EACH: usize = 4 << 20;
        // It answers each request before it reads the next, so it reads nothing while its replies are not read.
        let mut connection = connected(|mut peer| {
            let mut request = vec![0; EACH + "*2\r\n$4\r\nECHO\r\n$4194304\r\n\r\n".len()];
            for _ in 0..8 {
                peer.read_exact(&mut request).unwrap();
                peer.write_all(b"$4194304\r\n").unwrap();
                peer.write_all(request.get(request.len() - EACH - 2..).unwrap())
                    .unwrap();
            }
        });
        let values: Vec<_> = (0..8).map(|byte| vec![byte; EACH]).collect();
        for value in &values {
            connection.queue(&[b"ECHO", value]);
        }
        let replies = connection.finish().unwrap();
        let replies: Vec<_> = replies
            .iter()
            .map(|reply| inspect::bulk(reply).unwrap())
            .collect();
        assert!(replies == values);
    }

    #[test]
    fn pushes_are_collected_apart_from_replies() {
        let mut connection = split(&[
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n+ON",
            b"E\r\n",
            b">",
            b"2\r\n$10\r\ninvalidate\r\n_\r\n",
            b"$2\r\n>\n\r\n",
        ]);
        connection.queue(&[b"GET", b"one"]);
        connection.queue(&[b"GET", b"two"]);
        let replies = connection.finish().unwrap();
        assert_eq!(replies, [&b"+ONE\r\n"[..], b"$2\r\n>\n\r\n"]);
        let pushes: Vec<_> = std::iter::from_fn(|| connection.take_push()).collect();
        assert_eq!(
            pushes,
            [
                &b"*2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"[..],
                b"*2\r\n$10\r\ninvalidate\r\n_\r\n"
            ]
        );
    }

    #[test]
    fn wait_for_a_push_ends_at_its_deadline() {
        let mut connection = split(&[]);
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!connection.wait_push(deadline).unwrap());
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn subscription_is_confirmed_by_a_push_or_refused_by_a_reply() {
        let mut confirmed = split(&[
            b">2\r\n$10\r\ninvalidate\r\n_\r\n",
            b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        ]);
        confirmed.subscribe(b"c").unwrap();
        assert!(confirmed.take_push().is_some() && confirmed.take_push().is_none());
        let refused = split(&[b"-NOPERM no\r\n"]).subscribe(b"c").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "SUBSCRIBE is answered with 'NOPERM no'"
        );
    }

    #[test]
    fn reply_that_nobody_asked_for_is_malformed() {
        let mut connection = split(&[b"+ONE\r\n+TWO\r\n"]);
        connection.queue(&[b"PING"]);
        let mut asked = || {
            connection.finish()?;
            connection.wait_push(Instant::now() + Duration::from_secs(5))
        };
        assert!(matches!(asked(), Err(ServerError::BadReply)));
    }
}
