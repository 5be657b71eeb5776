//! Requests with `noreply`, and others that share their server connection: no reply ever goes to a wrong client.

use super::fleet::{Fleet, pool};
use crate::support::{FakeServer, Gate, Memcached, Pool, Proxy, eventually};

/// Slightly longer than memcached's default item size.
const TOO_LARGE: usize = (1 << 20) + 100;

/// Requests with `noreply` or a quiet flag, which get no reply whatever memcached would reply.
#[test]
fn noreply_suppresses_errors() {
    let large = "x".repeat(TOO_LARGE);
    let silent: Vec<String> = [
        "set a 0 0 1 noreply\r\n1\r\n",
        "add a 0 0 1 noreply\r\n1\r\n",
        "replace none 0 0 1 noreply\r\n1\r\n",
        "append none 0 0 1 noreply\r\n1\r\n",
        "prepend none 0 0 1 noreply\r\n1\r\n",
        "cas none 0 0 1 1 noreply\r\n1\r\n",
        "cas a 0 0 1 99999999 noreply\r\n1\r\n",
        "set words 0 0 5 noreply\r\nwords\r\nincr words 1 noreply\r\n",
        "incr none 1 noreply\r\n",
        "decr a 1 noreply\r\n",
        "delete none noreply\r\n",
        "touch none 0 noreply\r\n",
        "flush_all noreply\r\n",
        "verbosity 0 noreply\r\n",
        "cache_memlimit 64 noreply\r\n",
        "mg none v q\r\n",
        "ms a 1 q\r\n1\r\n",
        "md a q\r\n",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!(
        "set large 0 0 {} noreply\r\n{large}\r\n",
        large.len()
    )])
    .collect();
    for count in [1, 4] {
        let fleet = Fleet::of(count);
        let (mut quiet, mut bystander) = (fleet.client(), fleet.client());
        for request in &silent {
            quiet.chat(&[(&format!("{request}mn\r\n"), "MN\r\n")]);
            bystander.chat(&[
                ("set other 7 0 5\r\nother\r\n", "STORED\r\n"),
                ("get other\r\n", "VALUE other 7 5\r\nother\r\nEND\r\n"),
            ]);
        }
        quiet.send(format!("{}mn\r\n", silent.concat()).as_bytes());
        quiet.expect("all at once", b"MN\r\n");
    }
}

#[test]
fn quiet_meta_error_is_answered_in_order() {
    let fleet = Fleet::of(1);
    let (mut quiet, mut bystander) = (fleet.client(), fleet.client());
    bystander.chat(&[("set words 0 0 5\r\nwords\r\n", "STORED\r\n")]);
    let large = "x".repeat(TOO_LARGE);
    for (request, reply) in [
        ("ms words 5 ME q\r\nother\r\n".to_owned(), "NS\r\n"),
        ("ms words 5 C99999 q\r\nother\r\n".to_owned(), "EX\r\n"),
        ("ms none 5 C99999 q\r\nother\r\n".to_owned(), "NF\r\n"),
        (
            "ma words q\r\n".to_owned(),
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        ),
        (
            format!("ms large {TOO_LARGE} q\r\n{large}\r\n"),
            "SERVER_ERROR object too large for cache\r\n",
        ),
        ("mg words v q\r\n".to_owned(), "VA 5\r\nwords\r\n"),
        ("mg words k q O5\r\n".to_owned(), "HD kwords O5\r\n"),
    ] {
        quiet.chat(&[(&format!("{request}mn\r\n"), &format!("{reply}MN\r\n"))]);
        bystander.chat(&[("get words\r\n", "VALUE words 0 5\r\nwords\r\nEND\r\n")]);
    }
}

#[test]
fn noreply_writes_survive_a_disconnect() {
    let fleet = Fleet::of(4);
    for (round, last) in ["", "quit\r\n"].into_iter().enumerate() {
        let mut client = fleet.client();
        let sets = (0..100).map(|n| format!("set {round}-{n} 0 0 1 noreply\r\n1\r\n"));
        let sets: Vec<String> = sets.collect();
        client.send(format!("{}{last}", sets.concat()).as_bytes());
        drop(client);
        let names: Vec<String> = (0..100).map(|n| format!("{round}-{n}")).collect();
        let line = format!("get {}", names.join(" "));
        eventually("all is written", || {
            let found = fleet.client().say(&line);
            (String::from_utf8_lossy(&found).matches("VALUE ").count() == 100).then_some(())
        });
    }
}

#[test]
fn noreply_is_never_sent_to_servers() {
    let fake = FakeServer::start(|_, mut peer| {
        while let Some(request) = peer.text_request() {
            let text = String::from_utf8(request).unwrap();
            let line = text.lines().next().unwrap();
            let is_silent = line.split(' ').any(|word| word == "noreply" || word == "q");
            let reply = match line.split(' ').next().unwrap() {
                _ if is_silent => "SERVER_ERROR silenced\r\n",
                "set" => "STORED\r\n",
                "mg" => "EN\r\n",
                "ms" | "ma" => "HD\r\n",
                "md" => "NF\r\n",
                "incr" => "5\r\n",
                "touch" => "TOUCHED\r\n",
                "get" => "END\r\n",
                _ => "ERROR\r\n",
            };
            peer.send(reply.as_bytes());
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([fake.address()]).speaking_memcached());
    let mut client = proxy.client();
    client.chat(&[
        ("set a 0 0 1 noreply\r\n1\r\nget a\r\n", "END\r\n"),
        (
            "incr a 1 noreply\r\ntouch a 1 noreply\r\nget a\r\n",
            "END\r\n",
        ),
        ("mg a v q\r\nms a 1 q\r\n1\r\nma a q\r\nmn\r\n", "MN\r\n"),
        (
            "mg a q v\r\nms a 1 q O1\r\n1\r\nma a q v\r\nget a\r\n",
            "END\r\n",
        ),
    ]);
}

#[test]
fn mn_waits_for_all_pending_replies() {
    let gate = Gate::new();
    let wait = gate.waiter();
    let slow = FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.text_request() {
            if request.starts_with(b"mg") {
                wait();
                peer.send(b"VA 4 O1\r\nslow\r\n");
            } else {
                peer.send(b"HD\r\n");
            }
        }
    });
    let fast = Memcached::start();
    let pool = Pool::at([slow.address(), fast.address()])
        .speaking_memcached()
        .with("hash", "md5");
    let proxy = Proxy::ringroad(&pool);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    for n in 0..20 {
        client.chat(&[(&format!("ms key-{n} 4\r\nfast\r\n"), "HD\r\n")]);
    }
    let at_home = fast.keys();
    let (slow_keys, fast_keys): (Vec<_>, Vec<_>) = (0..20)
        .map(|n| format!("key-{n}"))
        .partition(|key| at_home.contains(&key.as_bytes().to_vec()));
    let requests = fast.figure("cmd_get");
    let lines = format!(
        "mg {} v q O1\r\nmg {} v q O2\r\nmn\r\n",
        fast_keys[0], slow_keys[0]
    );
    client.send(lines.as_bytes());
    eventually("the fast server has answered", || {
        (fast.figure("cmd_get") > requests).then_some(())
    });
    // A reply that overtakes the slow one would have arrived before that of another client.
    other.chat(&[("mn\r\n", "MN\r\n")]);
    gate.open();
    client.expect(
        "the opaques in order",
        b"VA 4 O1\r\nslow\r\nVA 4 O2\r\nfast\r\nMN\r\n",
    );
}

#[test]
fn opaques_return_in_order_from_all_servers() {
    let fleet = Fleet::of(4);
    let mut client = fleet.client();
    for n in (0..200).step_by(3) {
        client.send(format!("ms key-{n} 3 q\r\n{n:03}\r\n").as_bytes());
    }
    client.chat(&[("mn\r\n", "MN\r\n")]);
    let requests: Vec<String> = (0..200)
        .map(|n| format!("mg key-{n} v q k O{n}\r\n"))
        .collect();
    let expected: Vec<String> = (0..200)
        .step_by(3)
        .map(|n| format!("VA 3 kkey-{n} O{n}\r\n{n:03}\r\n"))
        .collect();
    client.send(format!("{}mn\r\n", requests.concat()).as_bytes());
    client.expect(
        "200 quiet gets",
        format!("{}MN\r\n", expected.concat()).as_bytes(),
    );
}

#[test]
fn noreply_suppresses_dead_server_errors() {
    let servers: [Memcached; 1] = Memcached::several();
    let proxy = Proxy::ringroad(&pool(&servers));
    servers[0].kill();
    let refused = "SERVER_ERROR Connection refused\r\n";
    proxy.client().chat(&[
        ("get a\r\n", refused),
        ("set a 0 0 1 noreply\r\n1\r\nmn\r\n", "MN\r\n"),
        ("delete a noreply\r\nincr a 1 noreply\r\nmn\r\n", "MN\r\n"),
        ("flush_all noreply\r\nmn\r\n", "MN\r\n"),
        ("mg a v q\r\nmn\r\n", &format!("{refused}MN\r\n")),
    ]);
}
