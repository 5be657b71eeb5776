//! A TCP proxy before a server that holds up one request of a coordinator, or its reply: the moment of a fault.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{array_items, fresh_ip, reply_len};

const PORT: u16 = 16379;

/// What a coordinator asks of a server in a step of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The change of the mark that has this name.
    Mark(&'static str),
    /// A command whose first words are these.
    Command(&'static [&'static str]),
}

/// When a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The server has not got the request.
    Before,
    /// The server has answered; the coordinator does not know.
    After,
}

/// The request of a coordinator that is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trap {
    pub(super) step: Step,
    /// 1 is the first request of this kind, at whatever server.
    pub(super) nth: u32,
    pub(super) moment: Moment,
}

/// A request or reply that is held up.
#[derive(Debug)]
pub(super) struct Sprung {
    /// The index of the server.
    pub(super) server: usize,
    pass: Sender<bool>,
}

impl Sprung {
    /// Lets it pass.
    pub(super) fn pass(self) {
        let _ = self.pass.send(true);
    }

    /// Ends its connection instead.
    pub(super) fn cut(self) {
        let _ = self.pass.send(false);
    }
}

/// The trap of all tripwires of a test, if one is set.
#[derive(Debug, Clone, Default)]
pub(super) struct Traps(Arc<Mutex<Option<Set>>>);

/// A trap that is set, and who waits for it.
#[derive(Debug)]
struct Set {
    trap: Trap,
    sprung: Sender<Sprung>,
}

impl Traps {
    /// Sets a trap in place of any other.
    pub(super) fn set(&self, trap: Trap) -> Receiver<Sprung> {
        let (sender, receiver) = channel();
        *self.0.lock().unwrap() = Some(Set {
            trap,
            sprung: sender,
        });
        receiver
    }

    /// Takes the trap if this request is the one.
    fn spring(&self, words: &[Vec<u8>]) -> Option<(Moment, Sender<Sprung>)> {
        let mut set = self.0.lock().unwrap();
        let trap = &mut set.as_mut()?.trap;
        if !trap.step.is(words) {
            return None;
        }
        trap.nth -= 1;
        if trap.nth > 0 {
            return None;
        }
        set.take().map(|set| (set.trap.moment, set.sprung))
    }
}

impl Step {
    fn is(self, words: &[Vec<u8>]) -> bool {
        match self {
            Self::Mark(change) => words[0] == b"EVAL" && words[4] == change.as_bytes(),
            Self::Command(start) => {
                let mut pairs = words.iter().zip(start);
                words.len() >= start.len() && pairs.all(|(word, name)| *word == name.as_bytes())
            }
        }
    }
}

/// The listener before one server; ends with its process.
#[derive(Debug)]
pub(super) struct Tripwire {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
}

impl Tripwire {
    /// The one before the server at `target`, which has this index.
    pub(super) fn before(target: SocketAddr, server: usize, traps: &Traps) -> Self {
        let address = SocketAddr::from((fresh_ip(&[PORT]), PORT));
        let listener = TcpListener::bind(address).unwrap();
        let target = Arc::new(Mutex::new(target));
        let (current, traps) = (Arc::clone(&target), traps.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let target = *current.lock().unwrap();
                let traps = traps.clone();
                thread::spawn(move || {
                    if let Ok(upstream) = TcpStream::connect(target) {
                        let wire = Wire::new(server, traps);
                        wire.carry(&client, &upstream);
                    }
                });
            }
        });
        Self { address, target }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are opened from now on go there.
    pub(super) fn point_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }
}

/// One connection.
struct Wire {
    server: usize,
    traps: Traps,
    /// Whose reply is to be held up.
    awaited: Mutex<Option<Sender<Sprung>>>,
}

/// Who has opened a connection, as far as it has said.
#[derive(PartialEq)]
enum Peer {
    Unknown,
    Coordinator,
    Other,
}

impl Wire {
    fn new(server: usize, traps: Traps) -> Arc<Self> {
        Arc::new(Self {
            server,
            traps,
            awaited: Mutex::default(),
        })
    }

    fn carry(self: Arc<Self>, client: &TcpStream, upstream: &TcpStream) {
        for stream in [client, upstream] {
            stream.set_nodelay(true).unwrap();
        }
        let (replies_from, replies_to) = (upstream.try_clone(), client.try_clone());
        let wire = Arc::clone(&self);
        let replies =
            thread::spawn(move || wire.carry_replies(replies_from.unwrap(), replies_to.unwrap()));
        self.carry_requests(client, upstream);
        for stream in [client, upstream] {
            let _ = stream.shutdown(Shutdown::Both);
        }
        replies.join().unwrap();
    }

    fn carry_requests(&self, mut client: &TcpStream, mut upstream: &TcpStream) {
        let mut peer = Peer::Unknown;
        let (mut pending, mut piece) = (Vec::new(), [0; 16384]);
        while let Ok(len @ 1..) = client.read(&mut piece) {
            pending.extend_from_slice(&piece[..len]);
            while peer != Peer::Other
                && let Ok(Some(len)) = reply_len(&pending)
            {
                let rest = pending.split_off(len);
                let request = std::mem::replace(&mut pending, rest);
                let words = array_items(&request);
                if words.iter().any(|word| word.starts_with(b"rr-move/")) {
                    peer = Peer::Coordinator;
                } else if words.iter().any(|word| word.starts_with(b"rr/")) {
                    peer = Peer::Other;
                }
                let may_pass = peer != Peer::Coordinator || self.may_pass(&words);
                if !may_pass || upstream.write_all(&request).is_err() {
                    return;
                }
            }
            if peer == Peer::Other {
                if upstream.write_all(&pending).is_err() {
                    return;
                }
                pending.clear();
            }
        }
    }

    /// Waits if this request is the one; returns false if the connection is to be ended.
    fn may_pass(&self, words: &[Vec<u8>]) -> bool {
        match self.traps.spring(words) {
            None => true,
            Some((Moment::Before, trap)) => self.hold_up(&trap),
            Some((Moment::After, trap)) => {
                *self.awaited.lock().unwrap() = Some(trap);
                true
            }
        }
    }

    fn carry_replies(&self, mut upstream: TcpStream, mut client: TcpStream) {
        let mut piece = [0; 16384];
        while let Ok(len @ 1..) = upstream.read(&mut piece) {
            let awaited = self.awaited.lock().unwrap().take();
            let may_pass = awaited.is_none_or(|trap| self.hold_up(&trap));
            if !may_pass || client.write_all(&piece[..len]).is_err() {
                break;
            }
        }
        for stream in [&client, &upstream] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn hold_up(&self, trap: &Sender<Sprung>) -> bool {
        let (pass, may_pass) = channel();
        let sprung = Sprung {
            server: self.server,
            pass,
        };
        trap.send(sprung).is_err() || may_pass.recv().unwrap_or(false)
    }
}
