//! A scripted server, for faults that a real one cannot be made to have.

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::SockRef;

use super::client::read;
use super::{PATIENCE, fresh_ip, resp, text};

const PORT: u16 = 16379;

/// A server that runs its script once for every connection, each in its own thread.
pub(crate) struct FakeServer {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
}

/// The scripted end of one connection. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Blocks a script until the test lets it continue.
#[derive(Debug)]
pub(crate) struct Gate {
    key: Sender<()>,
    lock: Arc<Mutex<Receiver<()>>>,
}

impl FakeServer {
    /// `script` gets the number of the connection, counted from 0, and the connection.
    pub(crate) fn start(script: impl Fn(usize, Peer) + Send + Sync + 'static) -> Self {
        let address = SocketAddr::from((fresh_ip(&[PORT]), PORT));
        let listener = TcpListener::bind(address).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let closing = Arc::new(AtomicBool::new(false));
        let (count, stop) = (Arc::clone(&accepted), Arc::clone(&closing));
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                thread::spawn(move || script(nth, Peer::new(stream)));
            }
        });
        Self {
            address,
            accepted,
            closing,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "FakeServer({})", self.address)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// The bytes of the next request, or `None` when the peer has closed.
    pub(crate) fn request(&mut self) -> Option<Vec<u8>> {
        // A request has the shape of an array reply.
        self.cut(resp::reply_len)
    }

    /// As [`Self::request`], in memcached's protocol.
    pub(crate) fn text_request(&mut self) -> Option<Vec<u8>> {
        self.cut(text::request_len)
    }

    fn cut(&mut self, len: impl Fn(&[u8]) -> Result<Option<usize>, String>) -> Option<Vec<u8>> {
        loop {
            if let Some(len) = len(&self.received).unwrap() {
                let rest = self.received.split_off(len);
                return Some(std::mem::replace(&mut self.received, rest));
            }
            let mut piece = [0; 16384];
            match read(&mut self.stream, &mut piece) {
                Ok(len) if len > 0 => self.received.extend_from_slice(&piece[..len]),
                _ => return None,
            }
        }
    }

    /// Reads and discards at least so many bytes, wherever that cuts a request.
    pub(crate) fn swallow(&mut self, least_bytes: usize) {
        let mut piece = vec![0; 1 << 16];
        let mut left = least_bytes.saturating_sub(self.received.len());
        self.received.clear();
        while left > 0 {
            let len = read(&mut self.stream, &mut piece).unwrap();
            assert!(len > 0, "closed with {left} bytes missing");
            left = left.saturating_sub(len);
        }
    }

    /// Sends; the peer may have closed.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// Sends byte by byte.
    pub(crate) fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]);
        }
    }

    /// Answers every request with `reply` until the peer closes.
    pub(crate) fn answer_all(&mut self, reply: &[u8]) {
        while self.request().is_some() {
            self.send(reply);
        }
    }

    /// As [`Self::answer_all`], in memcached's protocol.
    pub(crate) fn answer_all_text(&mut self, reply: &[u8]) {
        while self.text_request().is_some() {
            self.send(reply);
        }
    }

    /// Reads and sends nothing until the peer closes.
    pub(crate) fn ignore(&mut self) {
        while self
            .cut(|bytes| Ok((!bytes.is_empty()).then_some(bytes.len())))
            .is_some()
        {}
    }

    /// Closes with a reset instead of a FIN.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (key, lock) = channel();
        Self {
            key,
            lock: Arc::new(Mutex::new(lock)),
        }
    }

    /// Lets one script pass, now or when it waits.
    pub(crate) fn open(&self) {
        self.key.send(()).unwrap();
    }

    /// The function that the script calls to wait.
    pub(crate) fn waiter(&self) -> impl Fn() + Send + Sync + use<> {
        let lock = Arc::clone(&self.lock);
        move || {
            // The end of the test also opens the gate.
            let _ = lock.lock().unwrap().recv();
        }
    }
}
