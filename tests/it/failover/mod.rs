//! What clients see while a server has no primary, in a pool that waits for one.

mod refusals;
mod shards;
mod waiting;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{FakeServer, Peer, Pool, array_items, words};

const MASTER: &[u8] = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
const SLAVE: &[u8] = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:0\r\n";
const READONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";

/// A pool of one server, which has a replica that never takes its place.
fn pool(server: std::net::SocketAddr) -> Pool {
    Pool::at([server]).with("replicas", "[ '127.0.0.1:1 s0' ]")
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

/// The bytes of several requests, each in plain words.
fn pipeline(requests: &[&str]) -> Vec<u8> {
    requests.iter().flat_map(|request| words(request)).collect()
}
