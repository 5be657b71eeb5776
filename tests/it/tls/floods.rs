//! Clients that cost a TLS handshake, beside those that are served.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Client, Kind, Launch, Pool, Proxy, RedisServer, eventually, show};

use super::certificates::Ca;
use super::{NAME, Setup, connect, tls_pool};

/// The most handshakes that are under way in a worker.
const UNDER_WAY_MAX: usize = 1024;

/// The begin of a handshake.
const BEGIN: [u8; 8] = [0x16, 3, 1, 2, 0, 1, 0, 1];

const REFUSAL: &str = "-ERR max number of clients reached\\r\\n";

fn with_one_worker(pool: &Pool) -> Proxy {
    let launch = Launch {
        args: ["--workers", "1"].map(str::to_owned).into(),
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}

/// A proxy with room for two clients, one of which is in.
fn nearly_full(pool: &Pool) -> (Proxy, Client) {
    let proxy = Proxy::ringroad(&pool.clone().with("client_connections", 2));
    // The connections that probed the proxy were clients, too.
    eventually("nobody is inside", || {
        let left = proxy.stat(&["client_eof"]) > 1;
        (left && proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    let mut inside = proxy.client();
    inside.converse(&[("PING", "+PONG\r\n")]);
    (proxy, inside)
}

#[test]
fn client_over_the_limit_is_told_over_tls() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let pool = tls_pool([&server], &ca.issue("proxy", &[NAME]));
    let (proxy, mut first) = nearly_full(&pool);
    let mut second = connect(&proxy, &ca);
    assert_eq!(show(&second.ask("PING")), "+PONG\\r\\n");
    let mut refused = connect(&proxy, &ca);
    assert_eq!(show(&refused.read_to_close()), REFUSAL);
    first.converse(&[("PING", "+PONG\r\n")]);
    // A handshake that fails is counted once, as a client over the limit.
    let mut plain = Client::connect(proxy.tls_address());
    plain.send(b"PING\r\n");
    plain.read_to_close();
    eventually("both are counted", || {
        let rejected = proxy.metric("ringroad_pool_client_rejected_total{");
        (rejected == 2).then_some(())
    });
    assert_eq!(proxy.metric("ringroad_pool_tls_handshake_errors_total{"), 0);
    drop(second);
    eventually("there is room again", || {
        let mut client = Setup::new(&ca.file(), None)
            .try_connect(proxy.tls_address(), NAME)
            .ok()?;
        (client.try_ask("PING").ok()? == b"+PONG\r\n").then_some(())
    });
}

#[test]
fn client_behind_a_balancer_is_told_over_tls() {
    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4097 6379\r\n";
    let (ca, server) = (Ca::new(), RedisServer::start());
    let pool = tls_pool([&server], &ca.issue("proxy", &[NAME]))
        .with("proxy_protocol", "[127.0.0.0/8]")
        .with("client_connections", 1);
    let proxy = Proxy::ringroad(&pool);
    let setup = Setup::new(&ca.file(), None);
    let connect = || setup.connect_after(HEADER, proxy.tls_address(), NAME);
    let _inside = eventually("one is inside", || {
        let mut client = connect();
        (client.try_ask("PING").ok()? == b"+PONG\r\n").then_some(client)
    });
    assert_eq!(show(&connect().read_to_close()), REFUSAL);
}

#[test]
fn silent_clients_over_the_limit_delay_nobody() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let pool =
        tls_pool([&server], &ca.issue("proxy", &[NAME])).with("tls_handshake_timeout", 60_000);
    let (proxy, mut first) = nearly_full(&pool);
    let mut second = connect(&proxy, &ca);
    assert_eq!(show(&second.ask("PING")), "+PONG\\r\\n");
    let silent: Vec<_> = (0..100)
        .map(|_| Client::connect(proxy.tls_address()))
        .collect();
    eventually("all are counted", || {
        let rejected = proxy.metric("ringroad_pool_client_rejected_total{");
        (rejected == silent.len() as u64).then_some(())
    });
    // Only some of them are waited for.
    for mut client in silent.into_iter().skip(80) {
        client.expect_close();
    }
    first.converse(&[("SET key value", "+OK\r\n")]);
    assert_eq!(show(&second.ask("GET key")), "$5\\r\\nvalue\\r\\n");
}

#[test]
fn handshakes_do_not_starve_a_client_of_their_worker() {
    const FLOODING: usize = 4;
    const HANDSHAKES: usize = 150;
    let (ca, server) = (Ca::new(), RedisServer::start());
    let proxy = with_one_worker(&tls_pool([&server], &ca.issue("proxy", &[NAME])));
    let (mut plain, mut encrypted) = (proxy.client(), connect(&proxy, &ca));
    let (is_over, address, ca_file) = (AtomicBool::new(false), proxy.tls_address(), ca.file());
    thread::scope(|scope| {
        let floods: Vec<_> = (0..FLOODING)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..HANDSHAKES {
                        // Sessions of a setup would be resumed.
                        drop(Setup::new(&ca_file, None).connect(address, NAME));
                    }
                })
            })
            .collect();
        let innocent = scope.spawn(|| {
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                answered += 1;
                let value = format!(":{answered}\r\n");
                plain.converse(&[("INCR plain", &value)]);
                assert_eq!(show(&encrypted.ask("INCR tls")), show(value.as_bytes()));
            }
            answered
        });
        for flood in floods {
            flood.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        // Many more than one for each handshake, were it not for a busy machine.
        assert!(innocent.join().unwrap() > FLOODING * HANDSHAKES / 4);
    });
    // One that closes before it has its tickets may count as an error.
    eventually("all are counted", || {
        let counts = ["handshakes", "handshake_errors"]
            .map(|name| proxy.metric(&format!("ringroad_pool_tls_{name}_total{{")));
        (counts.iter().sum::<u64>() == (FLOODING * HANDSHAKES + 1) as u64).then_some(())
    });
}

#[test]
fn too_many_handshakes_are_refused_and_counted() {
    const TOO_MANY: usize = 50;
    let (ca, server) = (Ca::new(), RedisServer::start());
    let pool =
        tls_pool([&server], &ca.issue("proxy", &[NAME])).with("tls_handshake_timeout", 60_000);
    let proxy = with_one_worker(&pool);
    let mut inside = connect(&proxy, &ca);
    let _slow: Vec<_> = (0..UNDER_WAY_MAX + TOO_MANY)
        .map(|_| {
            let mut client = Client::connect(proxy.tls_address());
            client.send(&BEGIN);
            client
        })
        .collect();
    eventually("those above the limit are counted", || {
        let errors = proxy.metric("ringroad_pool_tls_handshake_errors_total{");
        (errors == TOO_MANY as u64).then_some(())
    });
    proxy
        .process()
        .await_output("reason=too many TLS handshakes are under way");
    // Who is quicker than they gets in, once not all of them wait for their turn to compute.
    eventually("a client gets in", || {
        let setup = Setup::new(&ca.file(), None);
        let mut client = setup.try_connect(proxy.tls_address(), NAME).ok()?;
        (client.try_ask("PING").ok()? == b"+PONG\r\n").then_some(())
    });
    assert_eq!(show(&inside.ask("PING")), "+PONG\\r\\n");
}
