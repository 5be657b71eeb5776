//! What cannot be verified, or not be fixed, and how that is said.

use super::{Files, Fleet, LISTEN};
use crate::support::{FakeServer, Pool, RedisServer, eventually, words};

#[test]
fn pool_without_placement_is_refused() {
    let fleet = Fleet::start();
    let memcached = Files::of(&fleet.pool.clone().speaking_memcached());
    assert_eq!(
        memcached.trouble(&[]),
        "ringroad: pool 'p' is of memcached, whose protocol cannot list keys; verify supports pools with 'redis: true'\n"
    );
    let random = Files::of(&fleet.pool.with("distribution", "random"));
    assert_eq!(
        random.trouble(&[]),
        "ringroad: pool 'p' has 'distribution: random': any server may have any key\n"
    );
}

#[test]
fn every_server_that_fails_is_named() {
    let servers: [_; 3] =
        std::array::from_fn(|_| RedisServer::start_with(&["--requirepass", "right"]));
    servers[2].kill();
    let addresses = servers.each_ref().map(RedisServer::address);
    let refused = |name: &str, words: &str| {
        let at = usize::from(name == "s1");
        format!("ringroad: server '{name}' ({}): {words}\n", addresses[at])
    };
    let gone = format!(
        "ringroad: server 's2' ({}): Connection refused (os error 111)\n",
        addresses[2]
    );

    let pool = Pool::of(&servers).with("hash", "murmur");
    let unauthenticated = Files::of(&pool).trouble(&[]);
    let words = "INFO is answered with 'NOAUTH Authentication required.'; the password is \
                 'server_password' of its pool, or 'redis_auth' without it";
    assert_eq!(
        unauthenticated,
        [refused("s0", words), refused("s1", words), gone.clone()].concat()
    );

    let wrong = Files::of(&pool.with("redis_auth", "wrong")).trouble(&[]);
    let words = "AUTH is answered with 'WRONGPASS invalid username-password pair or user is disabled.'; the password is \
                 'server_password' of its pool, or 'redis_auth' without it";
    assert_eq!(
        wrong,
        [refused("s0", words), refused("s1", words), gone].concat()
    );
    assert!(!wrong.contains("'wrong'"));
}

#[test]
fn pool_must_be_named_among_several() {
    let yaml = |name: &str, port: u16| {
        format!(
            "{name}:\n  listen: 127.0.0.1:{port}\n  redis: true\n  servers: ['127.0.0.1:1:1']\n"
        )
    };
    let files = Files::with(&format!("{}{}", yaml("a", 22121), yaml("bb", 22122)));
    assert_eq!(
        files.trouble(&[]),
        "ringroad: 'pool.yml' has several pools; add --pool with one of a, bb\n"
    );
    assert_eq!(
        files.trouble(&["--pool", "c"]),
        "ringroad: no pool 'c' in 'pool.yml'\n"
    );
    let refused = files.trouble(&["--pool", "bb"]);
    assert!(
        refused.contains("127.0.0.1:1): Connection refused"),
        "{refused}"
    );
}

#[test]
fn faulty_file_and_flags_exit_2() {
    let files = Files::with("p:\n  listne: 127.0.0.1:22121\n");
    let message = files.trouble(&[]);
    assert!(message.starts_with("pool.yml:1: pool 'p'"), "{message}");
    for (args, message) in [
        (&["--yes"][..], "option --yes requires --fix"),
        (
            &["--drop-only-copies"],
            "option --drop-only-copies requires --fix",
        ),
        (&["--rate", "fast"], "option --rate requires a number"),
        (&["pool.yml"], "unexpected argument 'pool.yml'"),
    ] {
        let stderr = files.trouble(args);
        assert!(
            stderr.starts_with(&format!("ringroad: {message}\nUsage:")),
            "{stderr}"
        );
    }
}

#[test]
fn another_pool_on_the_servers_prevents_a_fix() {
    let fleet = Fleet::start();
    fleet.misplace();
    let pool = fleet.pool.yaml(LISTEN.parse().unwrap());
    let address = fleet.servers[0].address();
    let other =
        format!("q:\n  listen: 127.0.0.1:22122\n  redis: true\n  servers: ['{address}:1']\n");
    let shared = format!(
        "pool 'q' is on server {address} too, with another placement: its keys look like strays, which --fix would \
         unlink; it needs a file in which only this pool is on its servers"
    );
    let files = Files::with(&format!("{pool}{other}"));
    let report = files.json(&["--pool", "p"]);
    assert_eq!(
        (&report["strays"], &report["notes"][0]),
        (&3.into(), &shared.as_str().into())
    );
    let message = files.trouble(&["--pool", "p", "--fix", "--yes"]);
    assert_eq!(message, format!("ringroad: {shared}\n"));

    // In another database, or with the same placement, it is no danger.
    let apart = other.replace("redis: true", "redis: true\n  redis_db: 9\n  databases: 1");
    let apart = Files::with(&format!(
        "{}{apart}",
        pool.replace("hash", "databases: 4\n  hash")
    ));
    assert_eq!(
        apart.json(&["--pool", "p", "--fix", "--yes"])["unlinked"],
        1
    );
    let twin = pool.replace("p:\n", "q:\n").replace("22121", "22122");
    let twins = Files::with(&format!("{pool}{twin}"));
    assert_eq!(twins.json(&["--pool", "p", "--fix", "--yes"])["strays"], 2);
}

#[test]
fn replica_is_noted_and_prevents_a_fix() {
    let fleet = Fleet::start();
    fleet.misplace();
    let [_, primary, replica] = &fleet.servers;
    let ip = primary.address().ip();
    let port = primary.address().port();
    replica.ask(&format!("REPLICAOF {ip} {port}"));
    eventually("the replica is in sync", || {
        let info = String::from_utf8(replica.ask("INFO replication")).unwrap();
        info.contains("master_link_status:up").then_some(())
    });
    let note = format!(
        "server 's2' is a replica of {ip}:{port}: its keys are not its own, and --fix cannot unlink them"
    );
    assert_eq!(fleet.files().json(&[])["notes"][0], note.as_str());
    let message = fleet.files().trouble(&["--fix", "--yes"]);
    assert_eq!(message, format!("ringroad: {note}\n"));
}

/// A server that takes its client's name, answers INFO with `info` and everything else with `reply`; without one it closes.
fn fake(info: &'static str, reply: Option<&'static str>) -> FakeServer {
    FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.request() {
            let bulk = format!("${}\r\n{info}\r\n", info.len());
            match reply {
                _ if request == words("CLIENT SETNAME rr-verify/reader") => peer.send(b"+OK\r\n"),
                _ if request == words("INFO") => peer.send(bulk.as_bytes()),
                Some(reply) => peer.send(reply.as_bytes()),
                None => return,
            }
        }
    })
}

#[test]
fn server_that_may_be_another_prevents_a_fix() {
    let server = fake("redis_version:9", None);
    let files = Files::of(&Pool::at([server.address()]));
    let note = "server 's0' does not tell its run_id (INFO), so it may be another server of the pool under a second address; \
                --fix could unlink keys that are in use";
    assert_eq!(files.json(&[])["notes"][0], note);
    assert_eq!(
        files.trouble(&["--fix", "--yes"]),
        format!("ringroad: {note}\n")
    );
}

#[test]
fn server_that_fails_in_a_scan_ends_it() {
    for (reply, cause) in [
        (None, "closed by the server"),
        (Some("hello\r\n"), "malformed reply"),
        (Some("*2\r\n$1\r\n0\r\n:7\r\n"), "malformed reply"),
        (Some("-NOPERM no\r\n"), "SCAN is answered with 'NOPERM no'"),
    ] {
        let server = fake("run_id:a\r\ndb0:keys=5", reply);
        let files = Files::of(&Pool::at([server.address()]));
        let expected = format!(
            "ringroad: server 's0' ({}): {cause}; 0 keys were scanned, 0 unlinked\n",
            server.address()
        );
        assert_eq!(files.trouble(&[]), expected);
    }
}
