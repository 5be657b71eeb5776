//! The improvements: the intended differences of Ringroad, compared with nutcracker.

use super::fleet::pool;
use crate::support::{Client, Memcached, Proxy, show};

/// The behaviour of nutcracker.
#[derive(Debug, Clone, Copy)]
enum Original {
    /// Closes without a reply.
    Closes,
    Replies(&'static str),
}

const LONG: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\
    kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\
    kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

#[test]
fn only_listed_improvements_differ_from_nutcracker() {
    use Original::{Closes, Replies};
    let (theirs, ours): ([_; 4], [_; 4]) = (Memcached::several(), Memcached::several());
    let nutcracker = Proxy::nutcracker(&pool(&theirs));
    let ringroad = Proxy::ringroad(&pool(&ours));
    let version = show(&ours[0].ask("version")).replace("\\r\\n", "\r\n");
    for proxy in [&nutcracker, &ringroad] {
        let mut client = proxy.client();
        for n in 0..8 {
            client.chat(&[(&format!("set key-{n} 0 0 1\r\n{n}\r\n"), "STORED\r\n")]);
        }
    }
    // In Ringroad's column, a text with a line end is the whole reply, any other must occur in an error line.
    let table: &[(&str, Original, &str)] = &[
        ("nonsense\r\n", Closes, "ERROR\r\n"),
        ("GET key-0\r\n", Closes, "ERROR\r\n"),
        ("get\r\n", Closes, "ERROR\r\n"),
        ("delete key-7 0\r\n", Closes, "DELETED\r\n"),
        ("set new -1 0 1\r\nx\r\n", Closes, "flags"),
        ("set new 0 -1 1\r\nx\r\n", Closes, "STORED\r\n"),
        (
            "set new 0 0 1\r\nxyz\r\n",
            Closes,
            "CLIENT_ERROR bad data chunk\r\n",
        ),
        ("gat 0 key-0\r\n", Closes, "VALUE key-0 0 1\r\n0\r\nEND\r\n"),
        ("mg key-0 v\r\n", Closes, "VA 1\r\n0\r\n"),
        ("ms key-0 1\r\n0\r\n", Closes, "HD\r\n"),
        ("mn\r\n", Closes, "MN\r\n"),
        ("flush_all 1000\r\n", Closes, "OK\r\n"),
        ("verbosity 0\r\n", Closes, "OK\r\n"),
        ("version now\r\n", Closes, &version),
        ("version\r\n", Replies("VERSION "), &version),
        ("shutdown\r\n", Closes, "shutdown"),
        (
            "incr key-0 x\r\n",
            Closes,
            "CLIENT_ERROR invalid numeric delta argument\r\n",
        ),
        (
            "touch key-0 x\r\n",
            Closes,
            "CLIENT_ERROR invalid exptime argument\r\n",
        ),
        (LONG, Closes, "250"),
    ];
    for (request, original, improved) in table {
        let request = if *request == LONG {
            format!("get {LONG}\r\n")
        } else {
            (*request).to_owned()
        };
        let mut there = nutcracker.client();
        there.send(request.as_bytes());
        match original {
            Closes => there.expect_close(),
            Replies(text) => {
                let answer = show(&there.answer());
                assert!(
                    answer.starts_with(text),
                    "{request}: nutcracker says {answer}"
                );
            }
        }
        let mut here = ringroad.client();
        here.send(request.as_bytes());
        if improved.ends_with("\r\n") {
            here.expect(&request, improved.as_bytes());
        } else {
            let answer = show(&here.answer());
            assert!(
                answer.contains("ERROR") && answer.contains(improved),
                "{request}: {answer}"
            );
        }
        is_alive(&mut here, &request);
    }
    let mut client = ringroad.client();
    let stats = String::from_utf8(client.say("stats")).unwrap();
    assert!(stats.starts_with("STAT pid "), "{stats}");
}

#[test]
fn multi_get_values_follow_key_order() {
    let servers: [_; 4] = Memcached::several();
    let (nutcracker, ringroad) = (
        Proxy::nutcracker(&pool(&servers)),
        Proxy::ringroad(&pool(&servers)),
    );
    let (mut there, mut here) = (nutcracker.client(), ringroad.client());
    for n in (0..40).step_by(2) {
        here.chat(&[(&format!("set key-{n} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    let mut random = fastrand::Rng::with_seed(5);
    let mut reordered = 0;
    for _ in 0..50 {
        let keys: Vec<_> = (0..12).map(|_| random.usize(..40)).collect();
        let names: Vec<_> = keys.iter().map(|n| format!("key-{n}")).collect();
        let hits = keys.iter().filter(|n| **n % 2 == 0);
        let blocks: Vec<_> = hits
            .map(|n| format!("VALUE key-{n} 0 1\r\n1\r\n"))
            .collect();
        let expected = format!("{}END\r\n", blocks.concat());
        let line = format!("get {}", names.join(" "));
        assert_eq!(show(&here.say(&line)), show(expected.as_bytes()), "{line}");
        reordered += usize::from(there.say(&line) != expected.as_bytes());
    }
    assert!(reordered > 0, "nutcracker keeps the order, too");
}

#[test]
fn line_end_in_key_or_long_length_is_refused() {
    let servers: [_; 1] = Memcached::several();
    let ringroad = Proxy::ringroad(&pool(&servers));
    let mut bystander = ringroad.client();
    for smuggled in [
        "get a\nset evil 0 0 1\r\nx\r\n",
        "set k 0 0 4294967297\r\nx\r\nset evil 0 0 1\r\nx\r\n",
        "set k 0 0 18446744073709551617\r\nx\r\nset evil 0 0 1\r\nx\r\n",
        "get a\rset evil 0 0 1\r\n",
    ] {
        let mut client = ringroad.client();
        client.send(smuggled.as_bytes());
        client.half_close();
        let answer = client.read_to_close();
        bystander.chat(&[("get other\r\n", "END\r\n")]);
        // A bare line feed ends a line for memcached and for Ringroad alike: then there are two requests, and no
        // smuggling.
        let is_two_requests = answer.starts_with(b"END\r\nSTORED\r\n");
        let held = servers[0].ask("delete evil") == b"DELETED\r\n";
        assert_eq!(
            held,
            is_two_requests,
            "{}: {}",
            show(smuggled.as_bytes()),
            show(&answer)
        );
    }
}

fn is_alive(client: &mut Client, after: &str) {
    client.send(b"get none\r\n");
    client.expect(&format!("a get behind {after}"), b"END\r\n");
}
