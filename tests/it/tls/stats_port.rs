//! The stats port over TLS.

use std::fs;

use crate::support::{Client, Kind, Launch, Proxy, RedisServer, eventually, show};

use super::certificates::Ca;
use super::{NAME, Setup};

#[test]
fn stats_port_speaks_https_alone_and_follows_its_files() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("stats", &[NAME]);
    let args = ["--stats-tls-cert", "--stats-tls-key"];
    let files = [&own.cert, &own.key].map(|file| file.display().to_string());
    let args = args.into_iter().map(str::to_owned).zip(files);
    let launch = Launch {
        args: args.flat_map(|(option, file)| [option, file]).collect(),
        ..Launch::default()
    };
    let pool = crate::support::Pool::of([&server]);
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let connect = || Setup::new(&ca.file(), None).connect(proxy.stats_address(), NAME);
    for path in ["/metrics", "/stats", "/"] {
        let mut client = connect();
        client.send(format!("GET {path} HTTP/1.0\r\nHost: {NAME}\r\n\r\n").as_bytes());
        let answer = client.read_to_close();
        assert!(
            answer.starts_with(b"HTTP/1.0 200 OK\r\n"),
            "{path}: {}",
            show(&answer)
        );
    }
    let mut plain = Client::connect(proxy.stats_address());
    plain.send(b"GET /metrics HTTP/1.0\r\n\r\n");
    let answer = plain.read_to_close();
    assert!(!answer.starts_with(b"HTTP"), "{}", show(&answer));
    proxy
        .process()
        .await_output("client of the stats port refused");

    let before = connect().peer_certificate();
    let next = ca.issue("next", &[NAME]);
    fs::copy(&next.key, &own.key).unwrap();
    proxy.process().await_output("the old one stays in use");
    assert_eq!(connect().peer_certificate(), before);
    fs::copy(&next.cert, &own.cert).unwrap();
    eventually("the new certificate is in use", || {
        (connect().peer_certificate() != before).then_some(())
    });
}
