//! Set operations across servers, in a pool with `gather_sets`, compared with one Redis that has all sets.

use fastrand::Rng;

use crate::support::{Pool, Proxy, RedisServer, array_items, show};

const KEYS: usize = 12;

/// The elements of a set or an array, sorted; anything else as it is.
fn sorted(reply: &[u8]) -> Vec<Vec<u8>> {
    match reply.split_first() {
        Some((kind @ (b'*' | b'~'), rest)) => {
            let mut items = array_items(&[b"*", rest].concat());
            items.sort();
            items.insert(0, vec![*kind]);
            items
        }
        _ => vec![reply.to_vec()],
    }
}

#[test]
fn set_operations_across_servers_match_one_redis() {
    let servers = RedisServer::several::<4>();
    let original = RedisServer::start();
    let proxy = Proxy::ringroad(
        &Pool::of(&servers)
            .with("hash", "md5")
            .with("gather_sets", true),
    );
    let (mut there, mut here) = (original.client(), proxy.client());
    let mut random = Rng::with_seed(5);
    for key in 0..KEYS - 2 {
        let members: Vec<String> = (0..random.usize(1..60))
            .map(|_| random.u8(..90).to_string())
            .collect();
        let request = format!("SADD k{key} {} word", members.join(" "));
        assert_eq!(here.ask(&request), there.ask(&request));
    }
    // The second to last key is missing, the last is not a set.
    let last = format!("SET k{} v", KEYS - 1);
    assert_eq!(here.ask(&last), there.ask(&last));
    assert!(servers.iter().all(|server| !server.keys().is_empty()));
    for version in ["2", "3"] {
        there.ask(&format!("HELLO {version}"));
        here.ask(&format!("HELLO {version}"));
        for round in 0..400 {
            let names: Vec<String> = (0..random.usize(1..7))
                .map(|_| format!("k{}", random.usize(..KEYS - usize::from(round % 8 != 0))))
                .collect();
            let (count, names) = (names.len(), names.join(" "));
            for request in [
                format!("SUNION {names}"),
                format!("SINTER {names}"),
                format!("SDIFF {names}"),
                format!("SINTERCARD {count} {names}"),
                format!("SINTERCARD {count} {names} LIMIT {}", random.u8(..9)),
            ] {
                let (reply, expected) = (here.ask(&request), there.ask(&request));
                assert_eq!(
                    sorted(&reply),
                    sorted(&expected),
                    "{request}: {}",
                    show(&reply)
                );
            }
        }
    }
    for request in [
        "SINTERCARD 2 k1 k2 LIMIT",
        "SINTERCARD 2 k1 k2 LIMIT x",
        "SINTERCARD 2 k1 k2 LIMIT -1",
        "SINTERCARD 2 k1 k2 k3",
        "SINTERCARD 2 k1 k2 FOO 1",
        "SINTERCARD 3 k1 k2",
        "SINTERCARD 0 k1",
        "SUNION",
    ] {
        assert_eq!(
            show(&here.ask(request)),
            show(&there.ask(request)),
            "{request}"
        );
    }
}

#[test]
fn set_writes_and_estimates_across_servers_are_refused() {
    let servers = RedisServer::several::<4>();
    let gathering = Proxy::ringroad(&Pool::of(&servers).with("gather_sets", true));
    let plain = Proxy::ringroad(&Pool::of(&servers));
    let apart = "are stored on different servers";
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let keys = keys.join(" ");
    for command in [
        "SUNIONSTORE",
        "SINTERSTORE",
        "SDIFFSTORE",
        "PFCOUNT",
        "PFMERGE",
        "ZUNION 20",
    ] {
        let reply = gathering.ask(&format!("{command} {keys}"));
        assert!(show(&reply).contains(apart), "{command}: {}", show(&reply));
    }
    for command in ["SUNION", "SINTER", "SDIFF", "SINTERCARD 20"] {
        let reply = plain.ask(&format!("{command} {keys}"));
        assert!(show(&reply).contains(apart), "{command}: {}", show(&reply));
        let reply = gathering.ask(&format!("{command} {keys}"));
        assert!(
            reply == b"*0\r\n" || reply == b":0\r\n",
            "{command}: {}",
            show(&reply)
        );
    }
}
