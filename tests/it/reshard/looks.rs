//! Looks at the moves of a pool over the stats port, while a server hangs.

use crate::support::{Client, FakeServer, Pool, Proxy, RedisServer};

/// More than the stats port has places.
const READERS: usize = 80;

/// A server that takes requests and answers none.
fn hanging() -> FakeServer {
    FakeServer::start(|_, mut peer| while peer.request().is_some() {})
}

#[test]
fn moves_name_a_server_that_hangs_and_delay_nobody() {
    let (up, hangs) = (RedisServer::start(), hanging());
    let pool = Pool::at([up.address(), hangs.address()]).with("placement_guard", true);
    let proxy = Proxy::ringroad(&pool);
    let ask = |path: &str| {
        let mut reader = Client::connect(proxy.stats_address());
        reader.send(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes());
        reader
    };
    let mut readers: Vec<_> = (0..READERS).map(|_| ask("/api/moves")).collect();
    assert!(ask("/healthz").read_to_close().ends_with(b"\r\n\r\nok"));
    let text = String::from_utf8(readers.pop().unwrap().read_to_close()).unwrap();
    let named = format!("server 's1' ({})", hangs.address());
    assert!(text.contains("200 OK") && text.contains(&named), "{text}");
}
