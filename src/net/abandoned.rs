//! Connections to a server that are given up while it may still execute what was sent over them.
//!
//! A server that hangs finds the requests of such a connection in its socket when it goes on, and reads a large one
//! piece by piece: requests of newer connections are executed in between, and the old one last. Closing the connection
//! does not prevent that. So it is kept open, which keeps its address from being reused, until the server has been told
//! over another one to close it.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Stream;

/// The abandoned connections to one server, which all workers share.
#[derive(Debug, Default)]
pub struct AbandonedConns {
    last: AtomicU64,
    conns: Mutex<Vec<AbandonedConn>>,
}

#[derive(Debug)]
struct AbandonedConn {
    number: u64,
    local: SocketAddr,
    /// Closed when this is dropped: with a reset, which drops what was not sent.
    _stream: TcpStream,
}

impl AbandonedConns {
    /// Adds a connection. One over a unix socket is just closed: it has no address of its own.
    pub fn add(&self, stream: Stream) {
        stream.reset_on_close();
        let Stream::Tcp(stream) = stream else {
            return;
        };
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let mut conns = self.lock();
        let number = self.last.load(Ordering::Relaxed) + 1;
        conns.push(AbandonedConn {
            number,
            local,
            _stream: stream,
        });
        self.last.store(number, Ordering::Release);
    }

    /// The number of the last one; 0 if there never was any.
    #[inline]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// The numbers and addresses of those after number `after`.
    pub fn after(&self, after: u64) -> Vec<(u64, SocketAddr)> {
        let conns = self.lock();
        let newer = conns.iter().filter(|conn| conn.number > after);
        newer.map(|conn| (conn.number, conn.local)).collect()
    }

    /// Closes one.
    pub fn close(&self, number: u64) {
        self.lock().retain(|conn| conn.number != number);
    }

    /// The list is complete between two statements.
    fn lock(&self) -> MutexGuard<'_, Vec<AbandonedConn>> {
        self.conns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
