//! The engine that copies keys between servers while clients change them, on real servers.

pub(crate) mod keys;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringroad::mover::{
    Clean, DatabasePair, Endpoint, Limits, Mover, MoverError, Placement, Plan, Step, clean,
};

use crate::support::{PATIENCE, RedisServer};
use keys::{Writer, ask, assert_same, await_expiries, contents, server, tell, write_all_types};

fn endpoint(server: &RedisServer, name: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        address: server.address().to_string().parse().unwrap(),
        auth: None,
        tls: None,
    }
}

/// All keys of `source` to the one destination.
fn plan(source: &RedisServer, destination: &RedisServer) -> Plan {
    plan_to(source, &[destination], Arc::new(|_| Some(0)))
}

fn plan_to(source: &RedisServer, destinations: &[&RedisServer], placement: Placement) -> Plan {
    let destinations = destinations.iter().enumerate();
    Plan {
        source: endpoint(source, "from"),
        destinations: destinations
            .map(|(nth, server)| endpoint(server, &format!("to{nth}")))
            .collect(),
        databases: vec![DatabasePair {
            source: 0,
            destination: 0,
        }],
        placement,
        given_away: None,
        client_name: "mover".to_owned(),
        channel: b"ringroad:test".to_vec(),
        limits: Limits::default(),
        keeps_others: false,
    }
}

/// Steps until all is equal once.
fn copy_all(mover: &mut Mover) {
    let deadline = Instant::now() + PATIENCE;
    while mover.step(Duration::from_millis(1)).unwrap() != Step::Equal {
        assert!(Instant::now() < deadline, "never equal: {mover:?}");
    }
}

/// Copies the rest; nobody writes.
fn sync(mover: &mut Mover) {
    let synced = mover.sync(&|_| true, Instant::now() + PATIENCE).unwrap();
    assert_eq!(synced.left, 0);
}

#[test]
fn copies_are_equal_after_a_live_load() {
    let [from, to] = [server(), server()];
    for n in 0..200 {
        write_all_types(&mut from.client(), &format!("k{n}"));
    }
    let writers = [1, 2, 3].map(|seed| Writer::start(&from, seed));
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    mover.try_formats().unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end || !mover.state().is_scanned {
        mover.step(Duration::from_millis(5)).unwrap();
    }
    let requests: u64 = writers.map(Writer::stop).iter().sum();
    sync(&mut mover);
    assert!(requests > 1000);
    await_expiries(&from);
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn change_of_a_stream_that_is_not_told_is_copied() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    write_all_types(&mut client, "k");
    tell(&mut client, "SET k:other v");
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    copy_all(&mut mover);
    assert_eq!(mover.state().untold, 1);
    let before = contents(&to, 0);
    assert_eq!(tell(&mut client, "XACK k:stream g 1-1"), b":1\r\n");
    sync(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
    assert_ne!(contents(&to, 0), before);

    // A key that is no stream any more is not copied for nothing.
    tell(&mut client, "SET k:stream v");
    copy_all(&mut mover);
    assert_eq!(mover.state().untold, 0);
}

#[test]
fn deleted_and_expired_keys_have_no_copies() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    for n in 0..3000 {
        tell(&mut client, &format!("SET k{n} v PX {}", 1 + n % 300));
        tell(&mut client, &format!("SET d{n} v"));
    }
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    mover.step(Duration::ZERO).unwrap();
    for n in 0..3000 {
        tell(&mut client, &format!("DEL d{n}"));
    }
    copy_all(&mut mover);
    crate::support::eventually("all keys expire", || {
        mover.step(Duration::from_millis(10)).unwrap();
        (tell(&mut client, "DBSIZE") == b":0\r\n").then_some(())
    });
    sync(&mut mover);
    assert_eq!(contents(&to, 0).len(), 0);
    assert_eq!(mover.state().tally.foreign, 0);
}

#[test]
fn databases_are_copied_to_their_pairs() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    for database in [0, 3] {
        tell(&mut client, &format!("SELECT {database}"));
        write_all_types(&mut client, &format!("k{database}"));
    }
    let mut mover = Mover::open(Plan {
        databases: [(0, 5), (3, 0), (4, 4)]
            .map(|(source, destination)| DatabasePair {
                source,
                destination,
            })
            .to_vec(),
        ..plan(&from, &to)
    })
    .unwrap();
    copy_all(&mut mover);
    // The feed tells no database.
    tell(&mut client, "DEL k3:string");
    tell(&mut client, "SET both 3");
    tell(&mut client, "SELECT 0");
    tell(&mut client, "SET both 0");
    tell(&mut client, "XACK k0:stream g 1-1");
    // The first key there.
    tell(&mut client, "SELECT 4");
    tell(&mut client, "SET k4 v");
    sync(&mut mover);
    assert_same(&contents(&to, 5), &contents(&from, 0));
    assert_same(&contents(&to, 0), &contents(&from, 3));
    assert_same(&contents(&to, 4), &contents(&from, 4));
    assert_eq!([3, 4].map(|database| contents(&to, database).len()), [0, 1]);
    // And the last one.
    tell(&mut client, "DEL k4");
    sync(&mut mover);
    assert_eq!(contents(&to, 4).len(), 0);
}

#[test]
fn keys_go_where_the_placement_says_at_that_time() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let [from, one, two] = [server(), server(), server()];
    let mut client = from.client();
    for n in 0..1000 {
        tell(
            &mut client,
            &format!("SET {}:{n} v", ["a", "b", "c"][n % 3]),
        );
    }
    let is_let_go = Arc::new(AtomicBool::new(false));
    let let_go = Arc::clone(&is_let_go);
    let placement: Placement = Arc::new(move |key| match key.first() {
        Some(b'a') => Some(0),
        Some(b'b') => (!let_go.load(Ordering::Relaxed)).then_some(1),
        _ => None,
    });
    let mut mover = Mover::open(plan_to(&from, &[&one, &two], placement)).unwrap();
    copy_all(&mut mover);
    tell(&mut client, "SET b:1 changed");
    tell(&mut client, "SET a:0 changed");
    tell(&mut client, "SET c:2 changed");
    is_let_go.store(true, Ordering::Relaxed);
    sync(&mut mover);
    assert_eq!(contents(&one, 0).len(), 334);
    assert_eq!(contents(&two, 0).len(), 333);
    assert_eq!(one.ask("GET a:0"), b"$7\r\nchanged\r\n");
    assert_eq!(two.ask("GET b:1"), b"$1\r\nv\r\n");
}

#[test]
fn marks_are_never_touched() {
    let [from, to] = [server(), server()];
    from.ask("SET ringroad:mark:p:0 source");
    from.ask("SET ringroad:mark:q:0 source");
    to.ask("SET ringroad:mark:p:0 destination");
    to.ask("SET ringroad:mark:r:0 destination");
    from.ask("SET k v");
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    copy_all(&mut mover);
    from.ask("SET ringroad:mark:p:0 source2");
    to.ask("SET ringroad:mark:r:0 destination2");
    mover.remove_leftovers().unwrap();
    sync(&mut mover);
    let job = Clean {
        at: &endpoint(&from, "from"),
        databases: &[0],
        goes: &|_| true,
        client_name: "mover",
        limits: Limits::default(),
    };
    assert_eq!(clean(&job, &mut |_, _| ()).unwrap(), 1);
    assert_eq!(from.keys(), [b"ringroad:mark:p:0", b"ringroad:mark:q:0"]);
    assert_eq!(
        to.keys(),
        [&b"k"[..], b"ringroad:mark:p:0", b"ringroad:mark:r:0"]
    );
    assert_eq!(to.ask("GET ringroad:mark:p:0"), b"$11\r\ndestination\r\n");
}

#[test]
fn clean_unlinks_what_goes_in_each_database() {
    let from = server();
    let mut client = from.client();
    for database in 0..3 {
        tell(&mut client, &format!("SELECT {database}"));
        for n in 0..2500 {
            tell(&mut client, &format!("SET {}:{n} v", ["go", "stay"][n % 2]));
        }
    }
    let job = Clean {
        at: &endpoint(&from, "from"),
        databases: &[0, 2],
        goes: &|key| key.starts_with(b"go"),
        client_name: "mover",
        limits: Limits::default(),
    };
    let mut last = (0, 0);
    let unlinked = clean(&job, &mut |scanned, unlinked| last = (scanned, unlinked)).unwrap();
    assert_eq!((unlinked, last), (2500, (5000, 2500)));
    let left = [0, 1, 2].map(|database| contents(&from, database).len());
    assert_eq!(left, [1250, 2500, 1250]);
}

#[test]
fn expiry_is_exact_without_pexpiretime() {
    // As servers before 7.0, which do not know it.
    let from = RedisServer::start_with(&["--rename-command", "PEXPIRETIME", "PXT"]);
    let to = server();
    let mut client = from.client();
    write_all_types(&mut client, "k");
    for n in 0..1000 {
        tell(&mut client, &format!("SET e{n} v PX {}", 3_600_000 + n));
    }
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    sync(&mut mover);
    let mut copies = to.client();
    let number = |reply: &[u8]| -> i64 {
        let text = std::str::from_utf8(&reply[1..]).unwrap();
        text.trim_end().parse().unwrap()
    };
    for key in from.keys() {
        let expires = number(&ask(&mut client, &[&b"PXT"[..], &key]));
        let copy = number(&ask(&mut copies, &[&b"PEXPIRETIME"[..], &key]));
        // Both are counted in whole milliseconds, at two moments.
        let is_exact = (expires - copy).abs() <= 1;
        assert!(is_exact, "{}: {copy}, not {expires}", key.escape_ascii());
    }
    assert_eq!(from.keys(), to.keys());
}

#[test]
fn large_values_are_copied() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    for n in 0..6 {
        let key = format!("large{n}");
        ask(&mut client, &[b"SET", key.as_bytes(), &vec![n; 10 << 20]]);
        for small in 0..300 {
            tell(&mut client, &format!("SET small:{n}:{small} v"));
        }
    }
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    sync(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn valkey_is_a_source_and_a_destination() {
    let [old, new, newer] = [server(), RedisServer::valkey(), RedisServer::valkey()];
    for n in 0..50 {
        write_all_types(&mut old.client(), &format!("k{n}"));
    }
    let mut mover = Mover::open(plan(&old, &new)).unwrap();
    mover.try_formats().unwrap();
    sync(&mut mover);
    let mut mover = Mover::open(plan(&new, &newer)).unwrap();
    mover.try_formats().unwrap();
    sync(&mut mover);
    let [first, last] = [old.keys(), newer.keys()];
    assert_eq!(first.len(), 50 * 16);
    assert_eq!(first, last);
    let mut clients = [old.client(), newer.client()];
    for key in first {
        let types = clients
            .each_mut()
            .map(|client| ask(client, &[&b"TYPE"[..], &key]));
        let expiries = clients
            .each_mut()
            .map(|client| ask(client, &[&b"PEXPIRETIME"[..], &key]));
        assert_eq!(types[0], types[1], "{}", key.escape_ascii());
        assert_eq!(expiries[0], expiries[1], "{}", key.escape_ascii());
    }

    // What Valkey dumps, Redis does not load.
    let error = Mover::open(plan(&newer, &old)).unwrap().try_formats();
    let Err(MoverError::Payload(error)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.from_version, "valkey 9.1.2");
    assert_eq!(error.to_version, "redis 7.0.15");
    assert_eq!(error.format, 80);
}

#[test]
fn mover_that_only_follows_copies_nothing() {
    let [from, to] = [server(), server()];
    from.ask("SET before v");
    let mut mover = Mover::open(plan(&from, &to)).unwrap();
    from.ask("SET after v");
    mover.follow(Duration::from_millis(50)).unwrap();
    assert!(to.keys().is_empty());
    assert_eq!(mover.state().backlog, 1);
    copy_all(&mut mover);
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn writes_of_keys_that_were_given_away_are_counted() {
    let [from, to] = [server(), server()];
    from.ask("SET a:expires v PX 1");
    let given_away = |key: &[u8]| key.starts_with(b"a:");
    let placement = move |key: &[u8]| (!given_away(key)).then_some(0);
    let mut mover = Mover::open(Plan {
        given_away: Some(Arc::new(given_away)),
        ..plan_to(&from, &[&to], Arc::new(placement))
    })
    .unwrap();
    crate::support::eventually("it has expired", || {
        (from.ask("GET a:expires") == b"$-1\r\n").then_some(())
    });
    from.ask("SET b:other v");
    copy_all(&mut mover);
    assert_eq!(mover.state().stale, 0);
    from.ask("SET a:written v");
    sync(&mut mover);
    assert_eq!(mover.state().stale, 1);
    assert_eq!(mover.stale_key(), Some(&b"a:written"[..]));
    assert_eq!(to.keys(), [b"b:other"]);
}
