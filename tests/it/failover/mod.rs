//! What clients see while a server has no primary, in a pool that waits for one.

mod blocked;
mod memory;
mod neighbours;
mod refusals;
mod scripts;
mod shards;
mod stopped;
mod transactions;
mod waiting;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{FakeServer, Kind, Launch, Peer, Pool, Proxy, array_items, words};

const MASTER: &[u8] = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
const SLAVE: &[u8] = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:0\r\n";
const READONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";

/// A pool of one server, which has a replica that never takes its place.
fn pool(server: std::net::SocketAddr) -> Pool {
    Pool::at([server]).with("replicas", "[ '127.0.0.1:1 s0' ]")
}

/// A proxy with one worker: all clients share its connections.
fn one_worker(pool: &Pool) -> Proxy {
    let launch = Launch {
        args: vec!["--workers=1".to_owned()],
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}

/// A server of which each connection answers each request by a function of the number of the connection and the request, in
/// plain words; one without an answer ends it. It is always a primary. Connections that ask for nothing else are not counted.
fn fake(answer: impl Fn(usize, &str) -> Option<Vec<u8>> + Send + Sync + 'static) -> FakeServer {
    let next = AtomicUsize::new(0);
    FakeServer::start(move |_, mut peer: Peer| {
        let mut number = None;
        while let Some(request) = peer.request() {
            let words = array_items(&request);
            let words: Vec<_> = words
                .iter()
                .map(|word| String::from_utf8_lossy(word))
                .collect();
            let text = words.join(" ");
            let reply = match text.as_str() {
                "ROLE" => Some(MASTER.to_vec()),
                text if text.starts_with("INFO") || text.starts_with("CLIENT") => {
                    Some(b"-ERR not here\r\n".to_vec())
                }
                text => {
                    let nth = number.get_or_insert_with(|| next.fetch_add(1, Ordering::SeqCst));
                    answer(*nth, text)
                }
            };
            let Some(reply) = reply else {
                return;
            };
            peer.send(&reply);
        }
    })
}

const OK: &[u8] = b"+OK\r\n";
const NOSCRIPT: &[u8] = b"-NOSCRIPT No matching script. Please use EVAL.\r\n";

/// What a fake server has got: the number of the connection, and the request.
type Got = Arc<Mutex<Vec<String>>>;

/// A server whose first connection answers by a list, and later ones execute requests, as a server does that knows no script
/// before EVAL. What each connection got is noted.
fn refusing(first: impl IntoIterator<Item = &'static [u8]>) -> (FakeServer, Got) {
    let got = Got::default();
    let (log, keys) = (Arc::clone(&got), Mutex::new(OneKey::default()));
    let first = Mutex::new(first.into_iter().collect::<VecDeque<_>>());
    let server = fake(move |nth, request| {
        log.lock().unwrap().push(format!("{nth} {request}"));
        if nth == 0
            && let Some(reply) = first.lock().unwrap().pop_front()
        {
            return Some(reply.to_vec());
        }
        Some(keys.lock().unwrap().answer(request))
    });
    (server, got)
}

/// The requests that the connections after the first one got, without those that ask for the support of transactions.
fn got_later(got: &Got) -> String {
    let got = got.lock().unwrap();
    let later = got.iter().filter(|text| !text.starts_with("0 "));
    let texts = later.filter_map(|text| text.split_once(' '));
    let texts: Vec<_> = texts.map(|(_, text)| text).collect();
    texts.join("; ").replace("MULTI; EXEC; DISCARD; ", "")
}

/// What a server with one key knows.
#[derive(Default)]
struct OneKey {
    value: Option<String>,
    has_script: bool,
    /// The replies to the requests of a transaction.
    queued: Option<Vec<Vec<u8>>>,
}

impl OneKey {
    fn answer(&mut self, request: &str) -> Vec<u8> {
        match (request, self.queued.take()) {
            ("MULTI", None) => {
                self.queued = Some(Vec::new());
                OK.to_vec()
            }
            ("EXEC", Some(replies)) => {
                let head = format!("*{}\r\n", replies.len()).into_bytes();
                [head, replies.concat()].concat()
            }
            ("DISCARD", None) => b"-ERR DISCARD without MULTI\r\n".to_vec(),
            (request, Some(mut replies)) => {
                replies.push(self.execute(request));
                self.queued = Some(replies);
                b"+QUEUED\r\n".to_vec()
            }
            (request, None) => self.execute(request),
        }
    }

    fn execute(&mut self, request: &str) -> Vec<u8> {
        let words: Vec<_> = request.split(' ').collect();
        match words[..] {
            ["SET", _, value] => {
                self.value = Some(value.to_owned());
                OK.to_vec()
            }
            ["GET", _] | ["EVAL_RO", ..] => bulk(self.value.as_deref().unwrap_or("none")),
            ["EVALSHA", ..] if !self.has_script => NOSCRIPT.to_vec(),
            ["EVAL" | "EVALSHA", .., value] => {
                self.has_script = true;
                self.value = Some(value.to_owned());
                bulk("script")
            }
            ["SCRIPT", "LOAD", _] => {
                self.has_script = true;
                bulk("sha")
            }
            _ => format!("-ERR not known here: {request}\r\n").into_bytes(),
        }
    }
}

/// The digest of a script.
fn sha1(script: &str) -> String {
    sha1_smol::Sha1::from(script).digest().to_string()
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// The bytes of several requests, each in plain words.
fn pipeline(requests: &[&str]) -> Vec<u8> {
    requests.iter().flat_map(|request| words(request)).collect()
}
