//! Conversations next to clients that flood the same worker: everyone gets the replies to its own requests.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::session::{Comparison, PASSWORD};
use crate::support::{Proxy, eventually, words};

const ROUNDS: u64 = 60;

/// What the flooding clients send, and what they get: the lengths of both differ.
fn floods(password: Option<&str>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let queued = ["MULTI", "SET flood 1", "GET flood", "DISCARD"].map(words);
    let floods: [(&[u8], &[u8]); 5] = [
        (b"PING\r\n", b"+PONG\r\n"),
        (b"\r\n\r\n\r\nECHO x\r\n", b"$1\r\nx\r\n"),
        (
            b"NOSUCH\r\n",
            b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n",
        ),
        (&queued.concat(), b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+OK\r\n"),
        (b"GET flood\r\n", b"$-1\r\n"),
    ];
    let floods = floods.map(|(request, reply)| (request.to_vec(), reply.to_vec()));
    let refused = (
        b"PING\r\n".to_vec(),
        b"-NOAUTH Authentication required.\r\n".to_vec(),
    );
    let refused = password.is_some().then_some(refused);
    floods.into_iter().chain(refused).collect()
}

/// A client that sends one request again and again, and checks the replies.
#[derive(Debug)]
struct Flood {
    stream: TcpStream,
    checked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// `opening` has a reply of five bytes.
    fn start(address: SocketAddr, opening: &[u8], request: &[u8], reply: &[u8]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
        writer.write_all(opening).unwrap();
        reader
            .read_exact(&mut [0; 5][..opening.len().min(5)])
            .unwrap();
        let (batch, expected) = (request.repeat(2000), reply.repeat(1 << 10));
        let period = reply.len();
        let checked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&checked);
        let writing = thread::spawn(move || while writer.write_all(&batch).is_ok() {});
        let reading = thread::spawn(move || {
            let mut piece = vec![0; expected.len() - period];
            while let Ok(len @ 1..) = reader.read(&mut piece) {
                let at = seen.fetch_add(len, Ordering::Relaxed) % period;
                assert!(
                    piece[..len] == expected[at..at + len],
                    "{} in reply to a flood",
                    piece[..len.min(100)].escape_ascii()
                );
            }
        });
        Self {
            stream,
            checked,
            threads: vec![writing, reading],
        }
    }

    fn checked_bytes(&self) -> usize {
        self.checked.load(Ordering::Relaxed)
    }

    /// Ends it. Fails if it has got a wrong reply.
    fn stop(self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn start_floods(proxy: &Proxy, password: Option<&str>) -> Vec<Flood> {
    let auth = password.map_or_else(Vec::new, |password| words(&format!("AUTH {password}")));
    let start = |(request, reply): (Vec<u8>, Vec<u8>)| {
        let is_refused = reply.starts_with(b"-NOAUTH");
        let opening = if is_refused { &[][..] } else { &auth };
        Flood::start(proxy.address(), opening, &request, &reply)
    };
    floods(password).into_iter().map(start).collect()
}

#[test]
fn session_next_to_floods_matches_one_redis() {
    for password in [None, Some(PASSWORD)] {
        let comparison = Comparison::begin(password, &["--workers", "1"]);
        let floods = start_floods(&comparison.proxy, password);
        let are_served = |more_than: &[usize]| {
            let mut served = floods.iter().map(Flood::checked_bytes).zip(more_than);
            served.all(|(bytes, before)| bytes > *before)
        };
        eventually("every flood is served", || {
            are_served(&vec![0; floods.len()]).then_some(())
        });
        let begun: Vec<_> = floods.iter().map(Flood::checked_bytes).collect();
        (0..ROUNDS).for_each(|round| comparison.hold_generated(round));
        assert!(are_served(&begun), "a flood has ended early");
        floods.into_iter().for_each(Flood::stop);
    }
}
