//! Proxies with `placement_guard`, before a coordinator that the test itself plays.

mod coordinator;
pub(crate) mod keyspace;
mod marks;
mod relay;
mod waits;

use std::time::Duration;

use ringroad::topology::{BucketSet, Decision, State};

use self::coordinator::Move;
use crate::support::{Client, Ended, Kind, Launch, Proxy, RedisServer, eventually, show};

const OK: &str = "+OK\r\n";

/// The reply to a request that waits does not arrive within this time.
const QUIET: Duration = Duration::from_millis(150);

fn waits(client: &mut Client) -> bool {
    client.set_patience(QUIET);
    let waits = matches!(client.try_reply(), Err(Ended::Silent));
    client.set_patience(Duration::from_secs(20));
    waits
}

#[test]
fn guarded_pool_names_its_connections() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&coordinator::pool(&servers));
    for number in 0..50 {
        proxy
            .client()
            .converse(&[(&format!("SET k{number} v"), OK)]);
    }
    for server in &servers {
        let list = String::from_utf8(server.ask("CLIENT LIST")).unwrap();
        let names: Vec<_> = list
            .split(' ')
            .filter_map(|word| word.strip_prefix("name="))
            .collect();
        assert!(
            names.iter().any(|name| name.starts_with("rr/p:0/")),
            "{names:?}"
        );
        assert!(
            names.iter().any(|name| name.starts_with("rr-other/p:0/")),
            "{list}"
        );
        let strangers = names.iter().filter(|name| !name.starts_with("rr"));
        // The connection of this very question.
        assert_eq!(strangers.count(), 1, "{list}");
    }
}

/// The coordinator takes a connection without a name for a stranger's if its last command is no greeting.
#[test]
fn connection_is_named_before_it_is_probed() {
    let servers: [_; 1] = RedisServer::several();
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &coordinator::pool(&servers), &launch);
    let mut client = proxy.client();
    let mut transact = |key: &str| {
        client.converse(&[
            ("MULTI", OK),
            (&format!("SET {key} v"), "+QUEUED\r\n"),
            ("EXEC", "*1\r\n+OK\r\n"),
        ]);
    };
    transact("first");
    let mut monitor = servers[0].client();
    monitor.converse(&[("MONITOR", OK)]);
    // The next connection is probed in its handshake.
    let list = String::from_utf8(servers[0].ask("CLIENT LIST")).unwrap();
    for line in list.lines().filter(|line| line.contains(" name=rr/")) {
        let id = line.split([' ', '=']).nth(1).unwrap();
        servers[0].ask(&format!("CLIENT KILL ID {id}"));
    }
    transact("second");
    let mut named = Vec::new();
    loop {
        let line = show(&monitor.reply());
        let connection = line.split(['[', ']']).nth(1).unwrap().to_owned();
        if line.contains("SETNAME") {
            named.push(connection);
        } else if line.contains("MULTI") {
            assert!(named.contains(&connection), "{line}");
        } else if line.contains("second") {
            break;
        }
    }
}

#[test]
fn held_requests_wait_and_go_on_where_the_keys_are() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let (source, key) = mv.moving_key("k");
    proxy.client().converse(&[(&format!("SET {key} old"), OK)]);
    mv.arm();
    for decision in [Decision::Abort, Decision::Commit] {
        let hold = mv.hold(source, &BucketSet::ALL);
        mv.acks(source, hold, 1);
        let mut client = proxy.client();
        client.send(&crate::support::words(&format!(
            "APPEND {key} -{}",
            decision.name()
        )));
        assert!(waits(&mut client));
        let stays = mv.staying_key("s");
        proxy.client().converse(&[(&format!("SET {stays} v"), OK)]);
        if decision == Decision::Commit {
            mv.copy(source, &key);
        }
        mv.decide(source, hold, decision);
        assert!(show(&client.reply()).starts_with(':'));
    }
    assert_eq!(
        mv.at_source(source, &format!("GET {key}")),
        "$9\r\nold-abort\r\n"
    );
    let moved = "$16\r\nold-abort-commit\r\n";
    assert_eq!(mv.at_destination(&key, &format!("GET {key}")), moved);
    proxy.client().converse(&[(&format!("GET {key}"), moved)]);
}

#[test]
fn proxy_vouches_for_all_its_connections() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before().with("server_connections", 3));
    let (source, key) = mv.moving_key("k");
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.converse(&[(&format!("SET {key} v"), OK)]);
    }
    clients[0].converse(&[(&format!("WATCH {key}"), OK)]);
    let stays = mv.staying_key_of(source, "q");
    clients[1].send(&crate::support::words(&format!("BLPOP {stays} 0")));
    eventually("the client is blocked", || {
        let info = mv.at_source(source, "INFO clients");
        info.contains("blocked_clients:1").then_some(())
    });
    mv.arm();
    let hold = mv.hold(source, &BucketSet::ALL);
    let mut vouched = mv.acks(source, hold, 1);
    let mut listed = mv.guarded_ids(source);
    vouched.sort();
    listed.sort();
    assert!(listed.len() >= 4, "{listed:?}");
    assert_eq!(vouched, listed);
    mv.decide(source, hold, Decision::Abort);
    proxy
        .client()
        .converse(&[(&format!("RPUSH {stays} x"), ":1\r\n")]);
    let popped = format!("*2\r\n${}\r\n{stays}\r\n$1\r\nx\r\n", stays.len());
    assert_eq!(show(&clients[1].reply()), show(popped.as_bytes()));
}

#[test]
fn blocked_client_is_served_at_the_destination() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let (source, key) = mv.moving_key("q");
    let mut client = proxy.client();
    client.send(&crate::support::words(&format!("BLPOP {key} 0")));
    eventually("the client is blocked", || {
        let info = mv.at_source(source, "INFO clients");
        info.contains("blocked_clients:1").then_some(())
    });
    mv.arm();
    let hold = mv.hold(source, &BucketSet::ALL);
    mv.acks(source, hold, 1);
    mv.decide(source, hold, Decision::Commit);
    proxy
        .client()
        .converse(&[(&format!("RPUSH {key} x"), ":1\r\n")]);
    let popped = format!("*2\r\n${}\r\n{key}\r\n$1\r\nx\r\n", key.len());
    assert_eq!(show(&client.reply()), show(popped.as_bytes()));
    assert_eq!(mv.at_source(source, &format!("EXISTS {key}")), ":0\r\n");
}

#[test]
fn transaction_and_watch_follow_their_keys() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let (source, key) = mv.moving_key("k");
    let mut watching = proxy.client();
    watching.converse(&[(&format!("WATCH {key}"), OK), ("MULTI", OK)]);
    let mut queued = proxy.client();
    queued.converse(&[("MULTI", OK), (&format!("INCR {key}"), "+QUEUED\r\n")]);
    mv.arm();
    let hold = mv.hold(source, &BucketSet::ALL);
    mv.acks(source, hold, 1);
    queued.send(&crate::support::words("EXEC"));
    assert!(waits(&mut queued));
    mv.decide(source, hold, Decision::Commit);
    assert_eq!(show(&queued.reply()), show(b"*1\r\n:1\r\n"));
    assert_eq!(
        mv.at_destination(&key, &format!("GET {key}")),
        "$1\r\n1\r\n"
    );
    watching.converse(&[(&format!("INCR {key}"), "+QUEUED\r\n"), ("EXEC", "*-1\r\n")]);
}

#[test]
fn marks_outrank_an_old_file() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let (source, key) = mv.moving_key("k");
    mv.arm();
    let hold = mv.hold(source, &BucketSet::ALL);
    mv.decide(source, hold, Decision::Commit);
    let proxy = Proxy::ringroad(&mv.pool_before());
    proxy.client().converse(&[(&format!("SET {key} v"), OK)]);
    assert_eq!(
        mv.at_destination(&key, &format!("GET {key}")),
        "$1\r\nv\r\n"
    );
    mv.finish(State::Done);
    let proxy = Proxy::ringroad(&mv.pool_before());
    for number in 0..50 {
        let key = format!("n{number}");
        proxy.client().converse(&[(&format!("SET {key} v"), OK)]);
        assert_eq!(
            mv.at_owner_after(&key, &format!("GET {key}")),
            "$1\r\nv\r\n"
        );
    }
}

#[test]
fn lost_mark_holds_what_moves_until_it_is_renewed() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let (source, key) = mv.moving_key("k");
    mv.arm();
    let hold = mv.hold(source, &BucketSet::EMPTY);
    mv.acks(source, hold, 1);
    mv.decide(source, hold, Decision::Commit);
    proxy.client().converse(&[(&format!("SET {key} v"), OK)]);
    mv.forget(source);
    let mut client = eventually("keys that move wait", || {
        let mut client = proxy.client();
        client.send(&crate::support::words(&format!("GET {key}")));
        waits(&mut client).then_some(client)
    });
    let stays = mv.staying_key_of(source, "s");
    proxy.client().converse(&[(&format!("SET {stays} v"), OK)]);
    mv.renew(source);
    assert_eq!(show(&client.reply()), show(b"$1\r\nv\r\n"));
}

#[test]
fn commands_on_all_keys_are_refused_during_a_move() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    mv.arm();
    let hold = mv.hold(0, &BucketSet::EMPTY);
    mv.acks(0, hold, 1);
    let mut client = proxy.client();
    for command in ["FLUSHALL", "FLUSHDB"] {
        let reply = show(&client.ask(command));
        assert!(
            reply.contains("is refused while keys are being moved"),
            "{reply}"
        );
    }
}

#[test]
fn request_that_may_have_been_done_is_not_called_undone() {
    let servers: [_; 3] = RedisServer::several();
    let mut mv = Move::of(&servers[..2], &servers);
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &mv.pool_before(), &launch);
    let key = mv.staying_key_of(0, "k");
    let mut client = proxy.client();
    client.converse(&[(&format!("SET {key} 0"), OK)]);
    servers[0].stop();
    client.send(&crate::support::words(&format!("INCR {key}")));
    assert!(waits(&mut client));
    mv.arm_at(1);
    mv.await_adoption(1);
    servers[0].kill();
    assert!(!servers[0].is_running());
    let reply = show(&client.reply());
    assert!(reply.starts_with("-ERR "), "{reply}");
}
