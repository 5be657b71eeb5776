//! One connection: its pending output, and the scheduled start of each request in flight.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::engine::Failure;
use crate::latency::Latencies;
use crate::reply::{Scanner, Tally};
use crate::request::{Keys, Template};

/// The time limit for a connection attempt.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    scanner: Scanner,
    /// Starts of the unanswered requests, oldest first.
    starts: VecDeque<Instant>,
    out: Vec<u8>,
    /// Bytes of `out` already written.
    written: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, scanner: Scanner) -> Result<Self, Failure> {
        let connected = || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        Ok(Self {
            stream: connected().map_err(Failure::Connect)?,
            scanner,
            starts: VecDeque::new(),
            out: Vec::new(),
            written: 0,
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.starts.len()
    }

    /// Puts a request into the buffer. Its latency is measured from `start`.
    pub(crate) fn ask(&mut self, template: &Template, keys: &mut Keys, start: Instant) {
        template.append(&mut self.out, keys);
        self.starts.push_back(start);
    }

    /// Writes what the socket accepts. False if some is left.
    pub(crate) fn flush(&mut self) -> Result<bool, Failure> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Connection(error)),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }

    /// Reads once: the socket stays readable if more is there.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        tally: &mut Tally,
        latencies: &mut Latencies,
    ) -> Result<(), Failure> {
        let count = match self.stream.read(scratch) {
            Ok(0) => return Err(Failure::Closed),
            Ok(count) => count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(Failure::Connection(error)),
        };
        let before = tally.replies;
        let bytes = scratch.get(..count).unwrap_or_default();
        self.scanner.feed(bytes, tally)?;
        if tally.replies > before {
            let now = Instant::now();
            for _ in before..tally.replies {
                let start = self.starts.pop_front().ok_or(Failure::Unasked)?;
                latencies.record(now.saturating_duration_since(start));
            }
        }
        Ok(())
    }
}
