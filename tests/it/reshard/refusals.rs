//! What a move refuses, and what stops it.

use super::{Files, START, all_contents, fill, guarded};
use crate::mover::keys::{ask, assert_same, contents, server, tell};
use crate::support::{Memcached, Pool, RedisServer, eventually};

#[test]
fn plan_tells_shares_and_all_obstacles_at_once() {
    let servers = [server(), server(), server()];
    let (old, new) = (guarded(&servers[..2]), guarded(&servers));
    fill(&Pool::of(&servers[..2]), 20);
    let files = Files::of(&old, &new);
    let plan = "reshard plan -c old.yml --to new.yml";
    let text = files.succeed(plan);
    assert!(text.contains("the move can start"), "{text}");
    assert!(text.contains("saves nothing (no RDB"), "{text}");
    // It has changed nothing.
    assert!(contents(&servers[2], 0).is_empty());
    assert_eq!(servers[2].ask("EXISTS ringroad:mark:p:0"), b":0\r\n");

    servers[2].ask("CONFIG SET maxmemory-policy allkeys-lru");
    let mut stranger = servers[0].client();
    tell(&mut stranger, "SET x y");
    for words in [plan, START] {
        let (code, text) = files.run(words);
        assert_eq!(code, Some(1), "{text}");
        for obstacle in [
            "maxmemory-policy allkeys-lru",
            "is no connection of a guarded proxy",
            "the move cannot start: 2 obstacles",
        ] {
            assert!(text.contains(obstacle), "{obstacle}: {text}");
        }
    }
    servers[2].ask("CONFIG SET maxmemory-policy noeviction");
    let (code, text) = files.run(plan);
    assert_eq!(code, Some(1), "{text}");
    files.succeed(&format!("{plan} --allow 10.0.0.1 --allow 127.0.0.1"));
}

#[test]
fn plan_tells_of_big_keys_hot_keys_and_commands_of_several() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    // Of the keys of one bucket after the other some move, some do not.
    for n in 0..20 {
        servers[0].ask(&format!("SETRANGE big:{n} 5000000 x"));
    }
    let plan = "reshard plan -c old.yml --to new.yml";
    let text = files.succeed(plan);
    assert!(
        text.contains("MiB); if one changes while it is given away"),
        "{text}"
    );
    assert!(
        text.contains("holds, in each of which requests for some keys wait"),
        "{text}"
    );
    for words in ["used often", "executed commands", "--big-keys looks at all"] {
        assert!(!text.contains(words), "{text}");
    }
    servers[0].ask("CONFIG SET maxmemory-policy volatile-lfu lfu-log-factor 0");
    for n in 0..20 {
        servers[0].ask(&format!("SET hot:{n} v"));
        let mut client = servers[0].client();
        for _ in 0..300 {
            tell(&mut client, &format!("GET hot:{n}"));
        }
    }
    servers[0].ask("RENAME hot:1 hot:2");
    servers[0].ask("EVAL return(1) 0");
    // More than are looked at, and all of them if that is wanted.
    let code = "for n = 1, 30000 do redis.call('SET', 'k' .. n, 'v') end";
    ask(&mut servers[0].client(), &["EVAL", code, "0"]);
    let text = files.succeed(plan);
    assert!(text.contains("keys were looked at for big ones"), "{text}");
    let text = files.succeed(&format!("{plan} --big-keys"));
    assert!(text.contains("used often (OBJECT FREQ): hot:"), "{text}");
    assert!(
        text.contains("that have several keys: RENAME (1), or may have: EVAL ("),
        "{text}"
    );
    assert!(!text.contains("were looked at"), "{text}");
}

#[test]
fn formats_and_stray_keys_are_told_with_other_obstacles() {
    let old = server();
    let new = RedisServer::valkey();
    let files = Files::of(&guarded([&new]), &guarded([&new, &old]));
    new.ask("SET k v");
    old.ask("CONFIG SET maxmemory-policy allkeys-lru");
    for n in 0..20 {
        old.ask(&format!("SET forgotten:{n} v"));
    }
    let (code, text) = files.run("reshard plan -c old.yml --to new.yml");
    assert_eq!(code, Some(1), "{text}");
    for obstacle in [
        "cannot load what",
        "they would come to life",
        "maxmemory-policy allkeys-lru",
        "the move cannot start: 3 obstacles",
    ] {
        assert!(text.contains(obstacle), "{obstacle}: {text}");
    }
}

#[test]
fn keys_that_would_come_to_life_are_an_obstacle() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    for n in 0..20 {
        servers[1].ask(&format!("SET forgotten:{n} v"));
    }
    let (code, text) = files.run(START);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("they would come to life"), "{text}");
}

#[test]
fn replicas_and_missing_servers_are_obstacles() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    let (ip, port) = (servers[0].address().ip(), servers[0].address().port());
    servers[1].ask(&format!("REPLICAOF {ip} {port}"));
    let (code, text) = files.run("reshard plan -c old.yml --to new.yml");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is a replica of"), "{text}");
    servers[1].kill();
    let (code, text) = files.run("reshard plan -c old.yml --to new.yml");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("all servers must answer"), "{text}");
}

#[test]
fn memcached_cannot_be_moved() {
    let servers = [Memcached::start(), Memcached::start()];
    let files = Files::of(&Pool::memcached(&servers[..1]), &Pool::memcached(&servers));
    let (code, text) = files.run("reshard plan -c old.yml --to new.yml");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is of memcached"), "{text}");
}

/// `verify --fix` takes copies, and what was copied, for strays, by either file.
#[test]
fn move_is_not_verified_away() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 40);
    let expected = all_contents(&servers[..1]);
    let process = files.start(&format!("{START} --rate 100"));
    eventually("keys are copied", || {
        (servers[1].keys().len() > 5).then_some(())
    });
    process.kill();
    for file in ["old.yml", "new.yml"] {
        for fix in ["--fix", "--fix --drop-only-copies"] {
            let (code, text) = files.run(&format!("verify -c {file} {fix} --yes"));
            assert_eq!(code, Some(2), "{text}");
            assert!(text.contains("are being moved"), "{text}");
        }
        let text = files.run(&format!("verify -c {file}")).1;
        assert!(text.contains("are being moved"), "{text}");
    }
    // It writes nothing then, so no move stops for it.
    servers[0].ask("CONFIG RESETSTAT");
    files.run("verify -c old.yml");
    let stats = servers[0].ask("INFO commandstats");
    let stats = String::from_utf8_lossy(&stats);
    assert!(stats.contains("cmdstat_client|setname:"), "{stats}");
    assert_same(&all_contents(&servers[..1]), &expected);
    files.succeed("reshard run -c old.yml --yes");
    let (code, text) = files.run("verify -c old.yml --fix --drop-only-copies --yes");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("places its keys otherwise"), "{text}");
    files.succeed("verify -c new.yml --fix --yes");
    assert_same(&all_contents(&servers), &expected);
}

/// Its proxies would follow marks of their own.
#[test]
fn other_pool_with_the_same_keys_prevents_a_move() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    let plan = "reshard plan -c old.yml --to new.yml";
    let mut other = servers[0].client();
    for name in ["rr/q:0/one/0", "rr-other/q:0/one"] {
        tell(&mut other, &format!("CLIENT SETNAME {name}"));
        for words in [plan, START] {
            let (code, text) = files.run(words);
            assert_eq!(code, Some(1), "{text}");
            assert!(text.contains("calls the pool 'q'"), "{text}");
        }
    }
    tell(&mut other, "CLIENT SETNAME rr/q:99/one/0");
    files.succeed(plan);
}

#[test]
fn stranger_stops_a_move_before_anything_has_moved() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 20);
    let before = contents(&servers[0], 0);
    let process = files.start(&format!("{START} --rate 200"));
    eventually("the move has begun", || {
        (servers[0].ask("EXISTS ringroad:mark:p:0") == b":1\r\n").then_some(())
    });
    let mut stranger = servers[0].client();
    tell(&mut stranger, "GET x");
    assert_eq!(process.exit().code(), Some(2));
    process.await_output("is no connection of a guarded proxy");
    let status = files.status();
    assert_eq!(status["sources"][0]["moved"], 0, "{status}");
    drop(stranger);
    // Nothing has moved, so it can be taken back.
    let text = files.succeed("reshard abort -c old.yml");
    assert!(text.contains("the move is taken back"), "{text}");
    assert_same(&contents(&servers[0], 0), &before);
    assert!(contents(&servers[1], 0).is_empty());
    assert_eq!(files.status()["state"], "aborted");
    let (code, text) = files.run("reshard run -c old.yml");
    assert_eq!(code, Some(2), "{text}");
    files.succeed(START);
    files.succeed("verify -c new.yml");
}

#[test]
fn full_destination_is_waited_for() {
    let servers = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    fill(&Pool::of(&servers[..1]), 40);
    let before = contents(&servers[0], 0);
    let process = files.start(&format!("{START} --rate 500"));
    eventually("keys are copied", || {
        (servers[1].keys().len() > 5).then_some(())
    });
    servers[1].ask("CONFIG SET maxmemory 1");
    process.await_output("it has no memory for more keys");
    servers[1].ask("CONFIG SET maxmemory 0");
    assert_eq!(process.exit().code(), Some(0), "{}", process.output());
    let mut after = contents(&servers[0], 0);
    after.extend(contents(&servers[1], 0));
    assert_same(&after, &before);
}

#[test]
fn servers_without_persistence_need_a_yes() {
    let servers: [RedisServer; 2] = [server(), server()];
    let files = Files::of(&guarded(&servers[..1]), &guarded(&servers));
    let (code, text) = files.run("reshard start -c old.yml --to new.yml");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("add --yes"), "{text}");
}
