//! A client that returns raw bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{PATIENCE, resp, show, text};

/// One connection, and the bytes that it has received but not yet consumed.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The reason for a missing reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The peer closed, by FIN or by RST.
    Closed,
    /// Nothing was received in time.
    Silent,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Sets how long [`Self::try_reply`] waits from now on.
    /// Its own address, as the other side sees it.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub(crate) fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("cannot send {}: {error}", show(bytes)));
    }

    /// As [`Self::send`], but a closed connection is no failure.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends in pieces of one to `most_bytes` bytes.
    pub(crate) fn send_in_pieces(
        &mut self,
        bytes: &[u8],
        most_bytes: usize,
        random: &mut fastrand::Rng,
    ) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(random.usize(1..=most_bytes).min(rest.len()));
            self.send(piece);
            rest = after;
        }
    }

    /// Sets how long [`Self::try_send`] waits from now on.
    pub(crate) fn set_write_patience(&self, patience: Duration) {
        self.stream.set_write_timeout(Some(patience)).unwrap();
    }

    /// Shuts down the write side.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Returns true if the peer's system has all that was sent before [`Self::half_close`], and the end of it: this end
    /// of the connection is neither established nor waits for that to be confirmed (`/proc/net/tcp`).
    pub(crate) fn end_has_arrived(&self) -> bool {
        let port = format!(":{:04X}", self.stream.local_addr().unwrap().port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        !table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let is_this = words.next().is_some_and(|local| local.ends_with(&port));
            is_this && matches!(words.nth(1), Some("01" | "04"))
        })
    }

    /// As [`Self::half_close`], but a closed connection is no failure.
    pub(crate) fn half_close_quietly(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// The bytes of the next reply.
    pub(crate) fn reply(&mut self) -> Vec<u8> {
        self.try_reply().unwrap_or_else(|ended| {
            panic!("no reply: {ended:?}, with only {}", show(&self.received))
        })
    }

    pub(crate) fn try_reply(&mut self) -> Result<Vec<u8>, Ended> {
        self.try_cut(resp::reply_len)
    }

    /// The bytes of the next reply of memcached.
    pub(crate) fn answer(&mut self) -> Vec<u8> {
        self.try_answer().unwrap_or_else(|ended| {
            panic!("no answer: {ended:?}, with only {}", show(&self.received))
        })
    }

    pub(crate) fn try_answer(&mut self) -> Result<Vec<u8>, Ended> {
        self.try_cut(text::answer_len)
    }

    /// Sends a one-line request to memcached and returns the reply: `say("get key")`.
    pub(crate) fn say(&mut self, line: &str) -> Vec<u8> {
        self.send(format!("{line}\r\n").as_bytes());
        self.answer()
    }

    /// Sends each left side verbatim, and fails unless exactly the bytes on the right come back.
    pub(crate) fn chat(&mut self, conversation: &[(&str, &str)]) {
        for (sent, expected) in conversation {
            self.send(sent.as_bytes());
            self.expect(sent, expected.as_bytes());
        }
    }

    /// Fails unless the next bytes are exactly these; `context` names the request.
    pub(crate) fn expect(&mut self, context: &str, expected: &[u8]) {
        while self.received.len() < expected.len() && expected.starts_with(&self.received) {
            if let Err(ended) = self.receive() {
                panic!(
                    "{ended:?} after {}, where {} was expected, to {}",
                    show(&self.received),
                    show(expected),
                    show(context.as_bytes())
                );
            }
        }
        let rest = self
            .received
            .split_off(expected.len().min(self.received.len()));
        let found = std::mem::replace(&mut self.received, rest);
        assert_eq!(
            show(&found),
            show(expected),
            "to {}",
            show(context.as_bytes())
        );
        assert!(found == expected, "to {}", show(context.as_bytes()));
    }

    /// As [`Self::ask`], after this password, if there is one.
    pub(crate) fn ask_with(&mut self, password: Option<&str>, request: &str) -> Vec<u8> {
        if let Some(password) = password {
            self.ask(&format!("AUTH {password}"));
        }
        self.ask(request)
    }

    /// Sends one request of words and returns the reply: `ask("SET key value")`.
    pub(crate) fn ask(&mut self, request: &str) -> Vec<u8> {
        self.send(&resp::words(request));
        self.reply()
    }

    /// Sends each request alone, and fails unless it gets the reply on its right.
    pub(crate) fn converse(&mut self, conversation: &[(&str, &str)]) {
        for (request, expected) in conversation {
            let reply = self.ask(request);
            assert_eq!(
                show(&reply),
                show(expected.as_bytes()),
                "reply to {request:?}"
            );
        }
    }

    /// Fails unless the next reply is `value`; for values that are too large to scan twice.
    pub(crate) fn expect_bulk(&mut self, value: &[u8]) {
        let head = format!("${}\r\n", value.len()).into_bytes();
        let mut rest = [head.as_slice(), value, b"\r\n"];
        let mut piece = vec![0; 1 << 20];
        while rest.iter().any(|part| !part.is_empty()) {
            let len = read(&mut self.stream, &mut piece)
                .unwrap_or_else(|error| panic!("no bulk: {error}"));
            assert!(len > 0, "closed within a bulk of {} bytes", value.len());
            let mut piece = &piece[..len];
            for part in &mut rest {
                let (now, later) = part.split_at(part.len().min(piece.len()));
                let (found, after) = piece.split_at(now.len());
                assert!(
                    found == now,
                    "the bulk differs {} bytes before its end",
                    later.len()
                );
                (*part, piece) = (later, after);
            }
            assert!(piece.is_empty(), "more came than a bulk: {}", show(piece));
        }
    }

    /// Fails unless the peer closes without another byte.
    pub(crate) fn expect_close(&mut self) {
        match self.receive() {
            Err(Ended::Closed) => assert!(
                self.received.is_empty(),
                "left over: {}",
                show(&self.received)
            ),
            Err(Ended::Silent) => panic!("the connection stays open"),
            Ok(()) => panic!("more came instead of the close: {}", show(&self.received)),
        }
    }

    /// Everything up to `end`, which must be the last bytes.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        while !self.received.ends_with(end) {
            if let Err(ended) = self.receive() {
                panic!(
                    "{ended:?} instead of {} after {}",
                    show(end),
                    show(&self.received)
                );
            }
        }
        std::mem::take(&mut self.received)
    }

    /// Everything until the peer closes.
    pub(crate) fn read_to_close(&mut self) -> Vec<u8> {
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(Ended::Closed) => return std::mem::take(&mut self.received),
                Err(Ended::Silent) => panic!("stays open after {}", show(&self.received)),
            }
        }
    }

    /// The next reply, or the part of it before the peer closed.
    pub(crate) fn read_to_close_or_reply(&mut self) -> Vec<u8> {
        match self.try_reply() {
            Ok(reply) => reply,
            Err(Ended::Closed) => std::mem::take(&mut self.received),
            Err(Ended::Silent) => panic!("stays open after {}", show(&self.received)),
        }
    }

    /// The next reply, whose length `len` finds.
    fn try_cut(
        &mut self,
        len: impl Fn(&[u8]) -> Result<Option<usize>, String>,
    ) -> Result<Vec<u8>, Ended> {
        let mut wanted = 1;
        loop {
            if self.received.len() >= wanted {
                match len(&self.received) {
                    Ok(Some(len)) => {
                        let rest = self.received.split_off(len);
                        return Ok(std::mem::replace(&mut self.received, rest));
                    }
                    Ok(None) => wanted = self.received.len() + 1,
                    Err(wrong) => panic!("{wrong}, in {}", show(&self.received)),
                }
            }
            self.receive()?;
        }
    }

    /// As [`Self::read_to_close_or_reply`], for memcached.
    pub(crate) fn read_to_close_or_answer(&mut self) -> Vec<u8> {
        match self.try_answer() {
            Ok(reply) => reply,
            Err(Ended::Closed) => std::mem::take(&mut self.received),
            Err(Ended::Silent) => panic!("stays open after {}", show(&self.received)),
        }
    }

    fn receive(&mut self) -> Result<(), Ended> {
        let mut piece = [0; 16384];
        match read(&mut self.stream, &mut piece) {
            Ok(0) => Err(Ended::Closed),
            Ok(len) => {
                self.received.extend_from_slice(&piece[..len]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Ended::Silent)
            }
            Err(_) => Err(Ended::Closed),
        }
    }
}

/// Reads once. Linux interrupts a read that has a timeout when its process is stopped and continued: that is no end.
pub(super) fn read(stream: &mut TcpStream, piece: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
