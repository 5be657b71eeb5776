//! Connections to a server that are given up while it may still execute what was sent over them.
//!
//! A server that hangs finds the requests of such a connection in its socket when it goes on, and reads a large one
//! piece by piece: requests of newer connections are executed in between, and the old one last. Closing the connection
//! does not prevent that. So it is kept open: either until the server has been told over another one to close it, which
//! also keeps its address from being reused; or half-closed, until the server has read it to its end and closes it, and
//! nothing else is sent to the server meanwhile.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::Stream;

/// The abandoned connections to one server, which all workers share.
#[derive(Debug, Default)]
pub struct AbandonedConns {
    last: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    conns: Vec<AbandonedConn>,
    /// The number of half-closed ones.
    half_closed: usize,
    /// Wait until there are none.
    waiting: Vec<Waker>,
}

#[derive(Debug)]
struct AbandonedConn {
    number: u64,
    local: SocketAddr,
    /// Closed when this is dropped: with a reset, which drops what was not sent.
    _stream: TcpStream,
}

impl AbandonedConns {
    /// Adds a connection that the server is told to close. One over a unix socket is just closed: it has no address of
    /// its own.
    pub fn add(&self, stream: Stream) {
        stream.reset_on_close();
        let Some(stream) = stream.into_tcp() else {
            return;
        };
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let mut state = self.lock();
        let number = self.next();
        state.conns.push(AbandonedConn {
            number,
            local,
            _stream: stream,
        });
    }

    /// The number of the last one; 0 if there never was any.
    #[inline]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// The numbers and addresses of those after number `after` that the server is to close.
    pub fn after(&self, after: u64) -> Vec<(u64, SocketAddr)> {
        let state = self.lock();
        let newer = state.conns.iter().filter(|conn| conn.number > after);
        newer.map(|conn| (conn.number, conn.local)).collect()
    }

    /// Closes one.
    pub fn close(&self, number: u64) {
        self.lock().conns.retain(|conn| conn.number != number);
    }

    /// Counts a connection that is half-closed, until [`Self::has_ended`].
    pub fn half_close(&self) {
        self.lock().half_closed += 1;
        self.next();
    }

    /// Uncounts one.
    pub fn has_ended(&self) {
        let mut state = self.lock();
        state.half_closed = state.half_closed.saturating_sub(1);
        if state.half_closed == 0 {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Returns true if nothing may be sent to the server now. Wakes `waker` when that is over.
    pub fn is_held(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let is_held = state.half_closed > 0;
        if is_held && !state.waiting.iter().any(|other| other.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        is_held
    }

    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Release) + 1
    }

    /// The state is complete between two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
