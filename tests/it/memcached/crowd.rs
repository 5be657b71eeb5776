//! Many concurrent clients over few server connections, some of them misbehaving: each reads only its own replies.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::fleet::Fleet;
use crate::support::Client;

const WELL_BEHAVED: usize = 8;
const ROUNDS: usize = 15;

#[test]
fn clients_get_their_own_replies_beside_misbehaving_ones() {
    let fleet = Fleet::of(4);
    let address = fleet.proxy.address();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let vandals: [fn(SocketAddr, &mut fastrand::Rng); 4] = [
            sends_garbage,
            disconnects_early,
            sends_too_much,
            sends_noreply,
        ];
        for (seed, vandal) in vandals.into_iter().enumerate() {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed as u64);
                while !done.load(Ordering::Relaxed) {
                    vandal(address, &mut random);
                }
            });
        }
        let honest: Vec<_> = (0..WELL_BEHAVED)
            .map(|number| scope.spawn(move || uses_its_own_keys(address, number)))
            .collect();
        let results: Vec<_> = honest
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
}

/// Pipelines requests of every form on its own keys, and checks each reply.
fn uses_its_own_keys(address: SocketAddr, number: usize) {
    let mut client = Client::connect(address);
    for round in 0..ROUNDS {
        let mut sent = String::new();
        let mut expected = String::new();
        let mut add = |request: &str, reply: &str| {
            sent += request;
            expected += reply;
        };
        for n in 0..20 {
            let key = format!("client-{number}-{n}");
            let value = format!("{number}:{round}:{n}").repeat(1 + n * 7);
            let len = value.len();
            let noreply = if n % 3 == 0 { " noreply" } else { "" };
            let stored = if n % 3 == 0 { "" } else { "STORED\r\n" };
            add(
                &format!("set {key} {n} 0 {len}{noreply}\r\n{value}\r\n"),
                stored,
            );
            let block = format!("VALUE {key} {n} {len}\r\n{value}\r\nEND\r\n");
            add(&format!("get {key}\r\n"), &block);
            let opaque = format!("{number}x{round}x{n}");
            add(
                &format!("mg {key} v q O{opaque}\r\nmg none-{number} v q O1\r\n"),
                &format!("VA {len} O{opaque}\r\n{value}\r\n"),
            );
            add(
                &format!("md none-{number} q O{opaque}\r\n"),
                &format!("NF O{opaque}\r\n"),
            );
        }
        let keys: Vec<String> = (0..20).map(|n| format!("client-{number}-{n}")).collect();
        let blocks: Vec<String> = (0..20)
            .map(|n| {
                let value = format!("{number}:{round}:{n}").repeat(1 + n * 7);
                format!(
                    "VALUE client-{number}-{n} {n} {}\r\n{value}\r\n",
                    value.len()
                )
            })
            .collect();
        add(
            &format!("get {}\r\nmn\r\n", keys.join(" none ")),
            &format!("{}END\r\nMN\r\n", blocks.concat()),
        );
        client.send(sent.as_bytes());
        client.expect(
            &format!("round {round} of client {number}"),
            expected.as_bytes(),
        );
    }
}

fn sends_garbage(address: SocketAddr, random: &mut fastrand::Rng) {
    let mut client = Client::connect(address);
    let long = "k".repeat(251);
    for _ in 0..20 {
        let nonsense = [
            "nonsense\r\n".to_owned(),
            format!("get {long}\r\n"),
            format!("set {long} 0 0 3\r\nabc\r\n"),
            "set a 0 0 1\r\nabc\r\n".to_owned(),
            "incr a x\r\n".to_owned(),
            "mg **** b v\r\n".to_owned(),
            "get a\0b\r\n".to_owned(),
        ];
        client.send(nonsense[random.usize(..nonsense.len())].as_bytes());
        let answer = client.answer();
        assert!(String::from_utf8_lossy(&answer).contains("ERROR"));
    }
}

/// Sends more requests than it reads replies, and disconnects within a request.
fn disconnects_early(address: SocketAddr, random: &mut fastrand::Rng) {
    let mut client = Client::connect(address);
    let whole =
        "set vandal 0 0 1000\r\n".to_owned() + &"v".repeat(1000) + "\r\nget vandal a b c\r\n";
    let bytes = whole.repeat(5);
    let _ = client.try_send(&bytes.as_bytes()[..random.usize(..bytes.len())]);
    drop(client);
    // A client that never waits is a flood, and this is not a test of floods.
    Client::connect(address).chat(&[("mn\r\n", "MN\r\n")]);
}

fn sends_too_much(address: SocketAddr, _random: &mut fastrand::Rng) {
    const LEN: usize = (1 << 20) + 1;
    let mut client = Client::connect(address);
    let value = "v".repeat(LEN);
    client.send(
        format!("set vandal 0 0 {LEN} noreply\r\n{value}\r\nset vandal 0 0 {LEN}\r\n{value}\r\n")
            .as_bytes(),
    );
    client.expect("too much", b"SERVER_ERROR object too large for cache\r\n");
}

fn sends_noreply(address: SocketAddr, random: &mut fastrand::Rng) {
    let mut client = Client::connect(address);
    let silent = [
        "incr vandal 1 noreply\r\n",
        "add vandal 0 0 5 noreply\r\nwords\r\n",
        "cas vandal 0 0 1 1 noreply\r\nx\r\n",
        "delete vandal noreply\r\n",
        "touch vandal 0 noreply\r\n",
        "mg vandal-none v q\r\n",
        "ms vandal 1 q\r\n1\r\n",
    ];
    let requests: Vec<&str> = (0..50)
        .map(|_| silent[random.usize(..silent.len())])
        .collect();
    client.send(requests.concat().as_bytes());
    client.chat(&[("mn\r\n", "MN\r\n")]);
}
