//! The stats port over TLS.

use std::fs;
use std::process::Command;

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

#[test]
fn stats_port_warns_of_its_certificate() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue_for_days("stats", &[NAME], 10);
    let [cert, key] = [&own.cert, &own.key].map(|file| file.to_str().unwrap());
    let options = ["--stats-tls-cert", cert, "--stats-tls-key", key];
    let launch = Launch {
        args: options.map(str::to_owned).into(),
        ..Launch::default()
    };
    let pool = crate::support::Pool::of([&server]);
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    proxy.process().await_output(&format!(
        "stats port: '--stats-tls-cert': '{cert}' expires in 9 days"
    ));
    let mut client = Setup::new(&ca.file(), None).connect(proxy.stats_address(), NAME);
    client.send(format!("GET /metrics HTTP/1.0\r\nHost: {NAME}\r\n\r\n").as_bytes());
    let metrics = String::from_utf8(client.read_to_close()).unwrap();
    let name = "ringroad_stats_tls_expiry_seconds ";
    let left = metrics.lines().find_map(|line| line.strip_prefix(name));
    let left: i64 = left.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap();
    assert!((9 * 86_400..=10 * 86_400).contains(&left), "{left}");

    let test = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        command.arg("-t").arg("-c").arg(proxy.conf()).args(options);
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (is_good, said) = test(&options);
    assert!(is_good && said.contains("expires in 9 days"), "{said}");
    let (is_good, said) = test(&["--stats-tls-cert", "/nope", "--stats-tls-key", key]);
    let expected = "option --stats-tls-cert: '/nope' cannot be read";
    assert!(!is_good && said.contains(expected), "{said}");
}
