//! Clients that disconnect and servers that die at any point of a transaction, a watch or a blocking command: nothing
//! leaks or is lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::{await_blocked, connections, leases, send};
use crate::support::{Client, PATIENCE, Pool, Proxy, RedisServer, eventually, words};

/// The requests of a client until it disconnects.
const SESSION: &[&str] = &[
    "WATCH k",
    "GET k",
    "MULTI",
    "SET k 1",
    "INCR n",
    "EXEC",
    "BLPOP none 0.01",
    "WATCH k",
    "BLPOP none 0.01",
    "UNWATCH",
    "MULTI",
    "BLPOP none 0",
    "DISCARD",
    "WATCH k",
    "BLPOP none 0",
];

#[test]
fn disconnect_at_any_point_leaks_nothing() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    // Each worker has its connection.
    let mut crowd: Vec<Client> = (0..32).map(|_| proxy.client()).collect();
    for client in &mut crowd {
        client.ask("GET k");
    }
    drop(crowd);
    let before = connections(&server);
    let address = proxy.address();
    thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..40 {
                    let mut client = Client::connect(address);
                    let batch: Vec<u8> =
                        SESSION.iter().flat_map(|request| words(request)).collect();
                    let cut = random.usize(..=batch.len());
                    client.send(&batch[..cut]);
                    for _ in 0..random.usize(..8) {
                        if cut < batch.len() / 2 {
                            break;
                        }
                        client.reply();
                    }
                }
            });
        }
    });
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
    eventually("the connections are as many as before", || {
        (connections(&server) == before).then_some(())
    });
    eventually("no client is left", || {
        (proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    // The next client sees no effect of theirs.
    proxy.client().converse(&[
        ("WATCH k", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("PING", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n+PONG\r\n"),
    ]);
}

#[test]
fn no_element_is_delivered_twice_during_disconnects() {
    const ELEMENTS: usize = 600;
    const TAKERS: u64 = 6;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let address = proxy.address();
    let taken: Vec<String> = thread::scope(|scope| {
        let take = |seed| move || take_and_vanish(address, fastrand::Rng::with_seed(seed));
        let takers: Vec<_> = (0..TAKERS).map(|seed| scope.spawn(take(seed))).collect();
        let mut source = proxy.client();
        for n in 0..ELEMENTS {
            source.ask(&format!("RPUSH queue element-{n}"));
        }
        // Each taker ends with one; those that were sent to clients that had just disconnected are pushed again.
        while !takers.iter().all(thread::ScopedJoinHandle::is_finished) {
            source.ask("RPUSH queue end");
            eventually("somebody takes it", || {
                (source.ask("LLEN queue") == b":0\r\n"
                    || takers.iter().all(thread::ScopedJoinHandle::is_finished))
                .then_some(())
            });
        }
        takers
            .into_iter()
            .flat_map(|taker| taker.join().unwrap())
            .collect()
    });
    let distinct: BTreeSet<&String> = taken.iter().collect();
    assert_eq!(distinct.len(), taken.len(), "some came twice");
    assert!((1..=ELEMENTS).contains(&taken.len()));
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
}

/// Pops elements on one connection after the other, each of which is dropped while it blocks.
fn take_and_vanish(address: SocketAddr, mut random: fastrand::Rng) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let mut client = Client::connect(address);
        for _ in 0..random.usize(1..6) {
            send(&mut client, &["BLPOP queue 0"]);
            let reply = String::from_utf8(client.reply()).unwrap();
            match reply.lines().nth(4) {
                Some("end") => return taken,
                Some(element) => taken.push(element.to_owned()),
                None => panic!("{reply}"),
            }
        }
        send(&mut client, &["BLPOP queue 0"]);
    }
}

#[test]
fn disconnect_behind_unread_input_is_noticed() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    // An amount that is read ahead, and one of which the last part stays in the system's buffer.
    for requests in [20_000, 80_000] {
        let mut client = proxy.client();
        client.send(&words("BLPOP k 0"));
        await_blocked(&server, 1);
        client.send(&words("PING").repeat(requests));
        client.half_close();
        eventually("the proxy's system knows", || {
            client.end_has_arrived().then_some(())
        });
        // It is detected at once when there is an element for it.
        let mut source = server.client();
        source.ask("RPUSH k a");
        await_blocked(&server, 0);
        eventually("the element is there", || {
            (source.ask("LPOP k") == b"$1\r\na\r\n").then_some(())
        });
    }
}

/// The requests of a client.
const REQUESTS: &[&[&str]] = &[
    &["BLPOP q 0"],
    &["BLPOP q 0.02", "BRPOP q 0"],
    &["BLMPOP 0 1 q LEFT COUNT 2"],
    &["BLMPOP 0.3 1 q RIGHT COUNT 3"],
    &["BZPOPMIN z 0"],
    &["WATCH q", "MULTI", "LPOP q", "INCR n", "EXEC"],
    &["WATCH n", "BLPOP q 0", "UNWATCH"],
    &["WAIT 1 50"],
    &["WAIT 1 0"],
];

/// A client that disconnects half-closes, which ends it while it blocks, and goes on reading. So the test sees
/// all that is written to it, and nothing may be missing.
#[test]
fn each_element_is_delivered_once_or_kept() {
    const THREADS: u64 = 40;
    const CLIENTS: usize = 8;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let address = proxy.address();
    let mut crowd: Vec<Client> = (0..32).map(|_| proxy.client()).collect();
    for client in &mut crowd {
        client.ask("GET n");
    }
    drop(crowd);
    eventually("no client is left", || {
        (proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    let (before, files) = (connections(&server), open_files(&proxy));
    let (pushed, mut there) = thread::scope(|scope| {
        let client =
            |seed| move || live_and_vanish(address, CLIENTS, fastrand::Rng::with_seed(seed));
        let clients: Vec<_> = (0..THREADS).map(|seed| scope.spawn(client(seed))).collect();
        let (mut source, mut pushed) = (server.client(), BTreeSet::new());
        while !clients.iter().all(thread::ScopedJoinHandle::is_finished) {
            let n = pushed.len();
            // Sometimes pops, pushes and the ends of clients arrive at the server together.
            if n % 8 == 0 {
                server.stop();
            }
            let element = format!("e-{n}");
            source.send(&words(&match n % 5 {
                0 => format!("ZADD z {n} {element}"),
                1 | 2 => format!("LPUSH q {element}"),
                _ => format!("RPUSH q {element}"),
            }));
            pushed.insert(element);
            thread::park_timeout(Duration::from_millis(2));
            if n % 8 == 0 {
                server.cont();
            }
            source.reply();
        }
        let delivered = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        (pushed, delivered.collect::<Vec<String>>())
    });
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
    assert!(!there.is_empty(), "nothing was delivered");
    for rest in ["LRANGE q 0 -1", "ZRANGE z 0 -1"] {
        there.extend(elements(&server.ask(rest)));
    }
    let distinct: BTreeSet<String> = there.iter().cloned().collect();
    assert_eq!(distinct.len(), there.len(), "some are there twice");
    let missing: Vec<_> = pushed.difference(&distinct).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    eventually("its connections and files are as many as before", || {
        let is_idle = proxy.stat(&["client_connections"]) == 0;
        (is_idle && connections(&server) == before && open_files(&proxy) <= files).then_some(())
    });
}

/// Runs one client after another. Returns the received elements.
fn live_and_vanish(address: SocketAddr, clients: usize, mut random: fastrand::Rng) -> Vec<String> {
    let mut delivered = Vec::new();
    for _ in 0..clients {
        let mut client = Client::connect(address);
        let batches = (0..random.usize(1..5)).map(|_| REQUESTS[random.usize(..REQUESTS.len())]);
        let requests: Vec<&str> = batches.collect::<Vec<_>>().concat();
        let batch: Vec<u8> = requests.iter().flat_map(|request| words(request)).collect();
        let cut = batch.len() - random.usize(..=batch.len()) * random.usize(..2);
        client.send_in_pieces(&batch[..cut], 80, &mut random);
        for _ in 0..random.usize(..3) {
            client.set_patience(Duration::from_millis(random.u64(1..40)));
            let Ok(reply) = client.try_reply() else { break };
            delivered.extend(elements(&reply));
        }
        client.set_patience(PATIENCE);
        client.half_close_quietly();
        delivered.extend(elements(&client.read_to_close()));
    }
    delivered
}

/// The elements in the bytes read.
fn elements(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split("\r\n").filter(|line| line.starts_with("e-"));
    lines.map(str::to_owned).collect()
}

/// The number of open files of the proxy.
fn open_files(proxy: &Proxy) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", proxy.process().pid()));
    files.unwrap().count()
}

#[test]
fn server_death_under_watch_and_block_leaks_nothing() {
    let mut server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for _ in 0..3 {
        let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.converse(&[("WATCH k", "+OK\r\n")]);
        }
        for client in &mut clients {
            client.ask("UNWATCH");
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let requests: &[&str] = match n % 4 {
                0 => &["BLPOP none 0"],
                1 => &["WATCH k", "MULTI", "SET k 1"],
                2 => &["WATCH k", "BLPOP none 0"],
                _ => &["MULTI", "SET k 1"],
            };
            send(client, requests);
        }
        eventually("leases are in use", || {
            // A blocking client has one in addition to that of its watch.
            (leases(&proxy, 0) == 20).then_some(())
        });
        server.kill();
        server.restart();
        for (n, client) in clients.iter_mut().enumerate() {
            // Its first request that needs the server reports the error, and then it works again.
            send(client, &["EXEC", "UNWATCH", "DISCARD", "PING"]);
            let mut replies = 0;
            while client.reply() != b"+PONG\r\n" {
                replies += 1;
                assert!(replies < 10, "client {n}");
            }
        }
        drop(clients);
        eventually("all leases are back", || {
            (leases(&proxy, 0) == 0).then_some(())
        });
        eventually("a client is served", || {
            proxy.ask("SET k 1").starts_with(b"+OK").then_some(())
        });
    }
    eventually("only the shared connection is left", || {
        (connections(&server) <= 2).then_some(())
    });
}

#[test]
fn restarted_server_serves_the_first_request() {
    let mut server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for round in 0..3 {
        server.kill();
        eventually("the disconnect is detected", || {
            (proxy.stat(&["s0", "server_connections"]) == 0).then_some(())
        });
        // A client that retries continuously does not delay the others.
        for client in &mut clients {
            for _ in 0..12 {
                client.converse(&[("BLPOP k 0", "-ERR Connection refused\r\n")]);
            }
        }
        server.restart();
        for client in &mut clients {
            if round % 2 == 0 {
                client.converse(&[("BLPOP k 0.01", "*-1\r\n")]);
            } else {
                client.converse(&[("WATCH k", "+OK\r\n"), ("UNWATCH", "+OK\r\n")]);
            }
        }
    }
}

#[test]
fn hung_server_delays_one_probe_at_a_time() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("timeout", 1000));
    server.stop();
    // All detect it, and then one client of each worker.
    let mut clients: Vec<_> = (0..64).map(|_| proxy.client()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            send(client, &["BLPOP k 0"]);
        }
        for client in &mut clients {
            client.expect("BLPOP", b"-ERR Connection timed out\r\n");
        }
    }
    let requests = proxy.stat(&["s0", "requests"]);
    // Each blocking client tries first, with three requests.
    assert!(
        requests < 3 * (64 + 16),
        "{requests} requests waited for the server"
    );
    server.cont();
    for client in &mut clients {
        client.converse(&[("BLPOP k 0.01", "*-1\r\n")]);
    }
}

#[test]
fn killed_dedicated_connection_error_names_the_server() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    send(&mut client, &["BLPOP k 0"]);
    await_blocked(&server, 1);
    server.ask("CLIENT KILL TYPE normal");
    let lost = "-ERR connection to server 's0' lost: closed by the server\r\n";
    client.expect("BLPOP", lost.as_bytes());
    client.converse(&[("BLPOP k 0.01", "*-1\r\n")]);
}
