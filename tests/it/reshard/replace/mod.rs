//! `--by replication`: a server takes the place of another.

mod channels;
mod faults;
mod gone;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Files, fill, guarded};
use crate::mover::keys::{COMPARABLE, assert_same, contents, server, tell};
use crate::support::{Client, Pool, Proxy, RedisServer, array_items, eventually, show};

const START: &str = "reshard start -c old.yml --to new.yml --by replication --yes";
/// As [`START`], where the test looks at the servers meanwhile.
const WATCHED: &str =
    "reshard start -c old.yml --to new.yml --by replication --yes --allow 127.0.0.1";
const RUN: &str = "reshard run -c old.yml --yes";

/// The files of a move in which the last of three servers takes the place of the second.
fn files([first, second, third]: [&RedisServer; 3]) -> Files {
    Files::of(&guarded([first, second]), &guarded([first, third]))
}

/// Three servers, which do not wait for further replicas before they copy; the first two have keys.
fn servers() -> [RedisServer; 3] {
    let servers = [server(), server(), server()];
    for server in &servers {
        server.ask("CONFIG SET repl-diskless-sync-delay 0");
    }
    fill(&Pool::of(&servers[..2]), 60);
    servers
}

fn is_primary(server: &RedisServer) -> bool {
    tell(&mut server.client(), "ROLE").starts_with(b"*3\r\n$6\r\nmaster")
}

#[test]
fn server_takes_the_place_of_another() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let expected = contents(second, 0);
    let files = files([first, second, third]);
    second.ask("EVAL return(1) 0");
    let plan = files.succeed("reshard plan -c old.yml --to new.yml --by replication");
    // All keys of a server stay together.
    assert!(!plan.contains("executed commands"), "{plan}");
    assert!(plan.contains("copies all of server 's1'"), "{plan}");
    assert!(plan.contains("the move can start"), "{plan}");
    let report = files.succeed(START);
    assert!(!report.contains("the move can start"), "{report}");
    assert!(
        report.contains("all keys are where the new file"),
        "{report}"
    );
    files.succeed("verify -c new.yml");
    assert!(!expected.is_empty());
    assert_same(&contents(third, 0), &expected);
    // The old one keeps its keys, and the new one does not depend on it.
    assert_same(&contents(second, 0), &expected);
    assert!(is_primary(third));
    let status = files.status();
    assert_eq!(status["state"], "done", "{status}");
    assert_eq!(status["sources"][0]["left"], 0, "{status}");
    // The old file tells no more what is in force.
    let (code, text) = files.run("reshard plan -c old.yml --to new.yml --by replication");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("the old file is not what is in force"),
        "{text}"
    );
}

#[test]
fn only_server_of_a_pool_with_a_password_is_replaced() {
    let secret = ["--requirepass", "secret", "--repl-diskless-sync-delay", "0"];
    let options = [&secret[..], &COMPARABLE].concat();
    let servers = [(); 2].map(|()| RedisServer::start_with(&options));
    let pool = |server: &RedisServer| guarded([server]).with("redis_auth", "secret");
    let client_of = |proxy: &Proxy| {
        let mut client = proxy.client();
        client.converse(&[("AUTH secret", "+OK\r\n")]);
        client
    };
    let proxy = Proxy::ringroad(&pool(&servers[0]));
    let mut client = client_of(&proxy);
    client.converse(&[
        ("SET k v", "+OK\r\n"),
        ("WATCH k", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
    ]);
    let mut blocked = client_of(&proxy);
    blocked.send(b"BLPOP list 0\r\n");
    eventually("it is blocked", || {
        let mut admin = servers[0].client();
        admin.converse(&[("AUTH secret", "+OK\r\n")]);
        let text = String::from_utf8(admin.ask("INFO clients")).unwrap();
        text.contains("blocked_clients:1").then_some(())
    });
    let files = Files::of(&pool(&servers[0]), &pool(&servers[1]));
    files.succeed(START);
    files.succeed("verify -c new.yml");
    // As if the key had changed, or the server of its connection is gone.
    client.converse(&[("GET k", "+QUEUED\r\n")]);
    let reply = show(&client.ask("EXEC"));
    assert!(
        reply == "*-1\\r\\n" || reply.starts_with("-EXECABORT"),
        "{reply}"
    );
    client.converse(&[("GET k", "$1\r\nv\r\n")]);
    client.converse(&[("RPUSH list x", ":1\r\n")]);
    assert_eq!(array_items(&blocked.reply())[1], b"x");
    servers[0].kill();
    client.converse(&[("SET k w", "+OK\r\n"), ("GET k", "$1\r\nw\r\n")]);
    // Nor does a proxy with the new file need the old server.
    let proxy = Proxy::ringroad(&pool(&servers[1]));
    client_of(&proxy).converse(&[("GET k", "$1\r\nw\r\n")]);
}

#[test]
fn taker_must_be_an_empty_primary_that_reaches_the_other() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let files = files([first, second, third]);
    third.ask("SET k v");
    third.ask("CONFIG SET replica-read-only no");
    third.ask("CONFIG SET maxmemory 100kb");
    let mut stranger = third.client();
    stranger.converse(&[("GET k", "$1\r\nv\r\n")]);
    let plan = "reshard plan -c old.yml --to new.yml --by replication --rate 5";
    let (code, text) = files.run(plan);
    assert_eq!(code, Some(1), "{text}");
    for words in [
        "it has keys, and replication would wipe them",
        "CONFIG SET replica-read-only yes",
        "of memory (maxmemory)",
        "last command 'get'",
        "--rate limits copies",
    ] {
        assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
    }
    let (code, text) = files.run(START);
    assert_eq!(code, Some(1), "{text}");
    stranger.converse(&[("GET k", "$1\r\nv\r\n")]);
    let (_, text) = files.run("reshard plan -c old.yml --to new.yml");
    assert!(text.contains("add '--by replication'"), "{text}");
}

#[test]
fn move_that_is_taken_back_leaves_the_taker_empty() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let files = files([first, second, third]);
    let expected = contents(second, 0);
    second.ask("CONFIG SET repl-diskless-sync-delay 600");
    let process = files.start(WATCHED);
    eventually("it is a replica", || (!is_primary(third)).then_some(()));
    process.kill();
    files.succeed("reshard abort -c old.yml");
    assert!(is_primary(third) && third.keys().is_empty());
    assert_same(&contents(second, 0), &expected);
    assert_eq!(files.status()["state"], "aborted");
    second.ask("CONFIG SET repl-diskless-sync-delay 0");
    files.succeed(START);
    assert_same(&contents(third, 0), &expected);
}

#[test]
fn replacement_is_paused_and_goes_on() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let files = files([first, second, third]);
    let expected = contents(second, 0);
    second.ask("CONFIG SET repl-diskless-sync-delay 2");
    let process = files.start(WATCHED);
    eventually("it is a replica", || (!is_primary(third)).then_some(()));
    let text = files.succeed("reshard pause -c old.yml");
    assert!(text.contains("until 'ringroad reshard resume'"), "{text}");
    eventually("it has all", || {
        let info = tell(&mut third.client(), "INFO replication");
        let info = String::from_utf8_lossy(&info).into_owned();
        info.contains("master_link_status:up").then_some(())
    });
    let status = files.status();
    assert_eq!(
        (&status["paused"], &status["sources"][0]["moved"]),
        (&true.into(), &0.into())
    );
    assert!(!is_primary(third));
    let text = files.succeed("reshard resume -c old.yml");
    assert!(text.contains("the move goes on"), "{text}");
    assert_eq!(process.exit().code(), Some(0), "{}", process.output());
    assert_same(&contents(third, 0), &expected);
}

/// A client that counts keys up, and believes no reply that is not the next number.
fn count(client: &mut Client, counts: &mut [u64]) {
    for (key, count) in counts.iter_mut().enumerate() {
        let expected = format!(":{}\r\n", *count + 1);
        let reply = client.ask(&format!("INCR n{key}"));
        if reply.starts_with(b"-TRYAGAIN ") {
            continue;
        }
        assert_eq!(show(&reply), show(expected.as_bytes()), "n{key}");
        *count += 1;
    }
}

/// Counts while `work` is done; returns how far.
fn counting(proxy: &Proxy, work: impl FnOnce()) -> Vec<u64> {
    let is_over = Arc::new(AtomicBool::new(false));
    let thread = {
        let (mut client, is_over) = (proxy.client(), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut counts = vec![0; 40];
            while !is_over.load(Ordering::SeqCst) {
                count(&mut client, &mut counts);
            }
            count(&mut client, &mut counts);
            counts
        })
    };
    work();
    is_over.store(true, Ordering::SeqCst);
    thread.join().unwrap()
}

#[test]
fn proxy_that_has_the_new_file_too_early_follows_the_marks() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let files = files([first, second, third]);
    second.ask("CONFIG SET repl-diskless-sync-delay 600");
    let process = files.start(WATCHED);
    eventually("it is a replica", || (!is_primary(third)).then_some(()));
    let proxies = [guarded([first, second]), guarded([first, third])];
    let proxies = proxies.each_ref().map(Proxy::ringroad);
    let [mut old, mut new] = proxies.each_ref().map(Proxy::client);
    let mut write = |from: u32| {
        for n in from..from + 50 {
            let (key, value) = (format!("key-{n}"), format!("$5\r\n{n:05}\r\n"));
            new.converse(&[(&format!("SET {key} {n:05}"), "+OK\r\n")]);
            old.converse(&[(&format!("GET {key}"), &value)]);
        }
    };
    write(0);
    assert_eq!(third.keys(), [b"ringroad:mark:p:0"]);
    second.ask("CONFIG SET repl-diskless-sync-delay 0");
    assert_eq!(process.exit().code(), Some(0), "{}", process.output());
    write(50);
    files.succeed("verify -c new.yml");
}

#[test]
fn file_with_a_replaced_server_is_outdated_for_good() {
    let servers = servers();
    let [first, second, third] = servers.each_ref();
    let [fourth, fifth] = [server(), server()];
    let expected = contents(second, 0);
    files([first, second, third]).succeed(START);
    let two = guarded([first, third]);
    let three = guarded([first, third, &fourth]);
    Files::of(&two, &three).succeed("reshard start -c old.yml --to new.yml --yes");
    let refused = |old: &Pool, new: &Pool| {
        let files = Files::of(old, new);
        for command in ["plan", "start --yes"] {
            let (code, text) = files.run(&format!("reshard {command} -c old.yml --to new.yml"));
            assert_eq!(code, Some(1), "{text}");
            let why = "the old file is not what is in force";
            assert!(text.contains(why), "{text}");
        }
    };
    // The last move has replaced nobody; the server itself knows.
    let stale = guarded([first, second, &fourth]);
    refused(&stale, &guarded([first, second]));
    assert_same(&contents(second, 0), &expected);
    // After another replacement the others know, too.
    third.ask("CONFIG SET repl-diskless-sync-delay 0");
    Files::of(&three, &guarded([first, &fifth, &fourth])).succeed(START);
    second.ask("FLUSHALL");
    refused(&stale, &guarded([first, second]));
    refused(&three, &two);
}

#[test]
fn all_servers_of_a_pool_are_replaced_also_by_another_program() {
    let old = servers();
    let new = [RedisServer::valkey(), RedisServer::valkey()];
    let files = Files::of(&guarded(&old[..2]), &guarded(&new));
    let proxy = Proxy::ringroad(&guarded(&old[..2]));
    let counts = counting(&proxy, || {
        files.succeed(START);
    });
    files.succeed("verify -c new.yml");
    old[0].kill();
    old[1].kill();
    let mut client = proxy.client();
    for (key, count) in counts.iter().enumerate() {
        let expected = format!(":{}\r\n", count + 1);
        client.converse(&[(&format!("INCR n{key}"), &expected)]);
    }
    // Redis does not read what Valkey writes.
    let back = Files::of(&guarded(&new), &guarded([&old[2], &server()]));
    let (code, text) = back.run("reshard plan -c old.yml --to new.yml --by replication");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("a replica must be of the same program"),
        "{text}"
    );
}
