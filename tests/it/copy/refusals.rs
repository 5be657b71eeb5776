//! What is not copied, and how that is said.

use super::{Files, LISTEN, text};
use crate::support::{Pool, RedisServer, eventually};

#[test]
fn pools_without_placement_are_refused() {
    let servers = RedisServer::several::<2>();
    let pool = Pool::of(&servers);
    let memcached = pool.clone().speaking_memcached();
    let random = pool.clone().with("distribution", "random");
    for (from, to, message) in [
        (
            &memcached,
            &pool,
            "pool 'p' is of memcached, whose protocol cannot list keys; copy supports pools with 'redis: true'",
        ),
        (
            &pool,
            &random,
            "pool 'p' has 'distribution: random': any server may have any key",
        ),
    ] {
        let message = format!("ringroad: {message}\n");
        assert_eq!(Files::of(from, to).trouble(&["--yes"]), message);
    }
}

#[test]
fn servers_of_both_pools_are_refused() {
    let [one, two] = RedisServer::several();
    let files = Files::of(&Pool::of([&one]), &Pool::of([&two, &one]));
    let at = one.address();
    assert_eq!(
        files.trouble(&["--yes"]),
        format!(
            "ringroad: server 's0' ({at}) and server 's1' ({at}) are the same process: its keys would be copied onto \
             themselves\n"
        )
    );
}

#[test]
fn destination_with_keys_is_refused() {
    let [from, to] = RedisServer::several();
    from.ask("SET k v");
    to.ask("SET ringroad:mark:p:0 m");
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    files.copy_once(&[]);
    assert_eq!(
        files.trouble(&["--yes"]),
        format!(
            "ringroad: server 's0' ({}) has keys in database 0; flush it, or add --into-data, with which keys of the same \
             name are replaced, and the others stay\n",
            to.address()
        )
    );
}

#[test]
fn replicas_are_refused_on_both_sides() {
    let [replica, primary, other] = RedisServer::several();
    let at = primary.address();
    replica.ask(&format!("REPLICAOF {} {}", at.ip(), at.port()));
    eventually("the replica is in sync", || {
        let info = text(&replica.ask("INFO replication"));
        info.contains("master_link_status:up").then_some(())
    });
    let message = format!(
        "ringroad: server 's0' ({}) is a replica of {at}; name its primary in the file\n",
        replica.address()
    );
    for (from, to) in [(&replica, &other), (&other, &replica)] {
        let files = Files::of(&Pool::of([from]), &Pool::of([to]));
        assert_eq!(files.trouble(&["--yes"]), message);
    }
}

#[test]
fn every_server_that_fails_is_named() {
    let [one, two, three] = RedisServer::several();
    one.kill();
    three.kill();
    let files = Files::of(&Pool::of([&one]), &Pool::of([&two, &three]));
    let line = |name: &str, server: &RedisServer| {
        let at = server.address();
        format!("ringroad: server '{name}' ({at}): Connection refused (os error 111)\n")
    };
    let expected = [line("s0", &one), line("s1", &three)].concat();
    assert_eq!(files.trouble(&["--yes"]), expected);
}

#[test]
fn database_that_the_other_pool_lacks_is_refused() {
    let [from, to] = RedisServer::several();
    let files = Files::of(
        &Pool::of([&from]).with("databases", 4),
        &Pool::of([&to]).with("databases", 2),
    );
    assert_eq!(
        files.trouble(&["--yes"]),
        "ringroad: clients of pool 'p' can select database 2, and clients of pool 'p' cannot; raise its 'databases'\n"
    );
}

#[test]
fn dump_that_does_not_load_is_refused_at_once() {
    let [from, to] = [RedisServer::valkey(), RedisServer::start()];
    from.ask("SET k v");
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    let message = files.trouble(&["--yes"]);
    let start = format!(
        "ringroad: server 's0' ({}) (redis 7.0.15) cannot load what server 's0' ({}) (valkey 9.1.2) dumps, format 80: key k \
         is answered with 'ERR DUMP payload version or checksum are wrong'; ",
        to.address(),
        from.address()
    );
    assert!(message.starts_with(&start), "{message}");
    assert!(to.keys().is_empty());
}

#[test]
fn key_that_is_too_large_for_a_destination_is_named() {
    const LIMIT: usize = 1 << 20;
    let [from, to] = RedisServer::several();
    // Of bytes that cannot be compressed.
    let mut random = fastrand::Rng::with_seed(3);
    let value: Vec<u8> = (0..=LIMIT).map(|_| random.u8(..)).collect();
    let mut client = from.client();
    client.send(&crate::support::command(&[&b"SET"[..], b"huge", &value]));
    client.expect("SET", b"+OK\r\n");
    to.ask(&format!("CONFIG SET proto-max-bulk-len {LIMIT}"));
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    let message = files.trouble(&["--yes"]);
    let start = format!(
        "ringroad: server 's0' ({}): key huge is too large for it: its dump has ",
        to.address()
    );
    assert!(message.starts_with(&start), "{message}");
    let knob = format!("and 'proto-max-bulk-len' there is {LIMIT}; raise that");
    assert!(message.contains(&knob), "{message}");
}

#[test]
fn evicting_destination_is_noted() {
    let [from, to] = RedisServer::several();
    to.ask("CONFIG SET maxmemory 100mb");
    to.ask("CONFIG SET maxmemory-policy allkeys-lru");
    let output = Files::of(&Pool::of([&from]), &Pool::of([&to])).copy(&["--yes", "--once"]);
    let report = text(&output.stdout);
    let note = "note: server 's0' (";
    assert!(report.starts_with(note), "{report}");
    assert!(
        report.contains("evicts any key when its memory is full (maxmemory-policy allkeys-lru)")
    );
    to.ask("CONFIG SET maxmemory-policy noeviction");
    to.ask("CONFIG SET maxmemory 1");
    let output = Files::of(&Pool::of([&from]), &Pool::of([&to])).copy(&["--yes", "--once"]);
    let report = text(&output.stdout);
    assert!(
        report.contains("note: the destinations have 0 B of memory left"),
        "{report}"
    );
}

#[test]
fn copy_asks_before_it_writes() {
    let [from, to] = RedisServer::several();
    from.ask("SET k v");
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    assert_eq!(
        files.trouble(&["--once"]),
        "ringroad: copy asks before it writes, and stdin is no terminal; add --yes\n"
    );
    for (answer, code, keys) in [("n\n", 1, 0), ("y\n", 0, 1)] {
        let mut terminal = files.on_a_terminal("--once");
        terminal.type_in(answer);
        let (exit, shown) = terminal.end();
        assert_eq!(exit, Some(code), "{shown}");
        let question = "Copy about 1 keys of pool 'p' to the 1 servers of pool 'p'? [y/N] ";
        assert!(shown.contains(question), "{shown}");
        assert_eq!(to.keys().len(), keys);
    }
}

#[test]
fn interrupt_at_the_question_ends_the_copy() {
    const OF_SIGINT: i32 = 128 + 2;
    let [from, to] = RedisServer::several();
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    let mut terminal = files.on_a_terminal("");
    terminal.await_text("[y/N] ");
    terminal.type_in("\x03");
    assert_eq!(terminal.end().0, Some(OF_SIGINT));
}

#[test]
fn password_that_is_missing_names_its_directive() {
    let [from, to] = RedisServer::several();
    to.ask("CONFIG SET requirepass secret");
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    let message = files.trouble(&["--yes"]);
    let end = "is answered with 'NOAUTH Authentication required.'; the password is 'server_password' of its pool, or 'redis_auth' without it\n";
    assert!(message.ends_with(end), "{message}");
}

#[test]
fn second_copy_of_a_pool_to_a_server_is_refused() {
    let [from, to, other] = RedisServer::several();
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    let first = files.start(&[]);
    first.await_output("all keys are copied");
    for args in [&["--yes"][..], &["--yes", "--into-data"]] {
        let message = files.trouble(args);
        let start = format!(
            "ringroad: another 'ringroad copy' of pool 'p' is connected to server 's0' ({}), from 127.0.0.1:",
            to.address()
        );
        assert!(message.starts_with(&start), "{message}");
    }
    // Another destination is no trouble, and another pool may be meant.
    Files::of(&Pool::of([&from]), &Pool::of([&other])).copy_once(&[]);
    let renamed = Pool::of([&other]).yaml(LISTEN.parse().unwrap());
    let files = Files::with(
        &renamed.replacen("p:", "q:", 1),
        &Pool::of([&to]).yaml(LISTEN.parse().unwrap()),
    );
    let output = files.copy(&["--yes", "--once", "--into-data"]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(
        report.starts_with("note: another 'ringroad copy' is connected to server 's0'"),
        "{report}"
    );
}

#[test]
fn faulty_files_and_flags_exit_2() {
    let pool = |name: &str| {
        format!("{name}:\n  listen: {LISTEN}\n  redis: true\n  servers: ['127.0.0.1:1:1']\n")
    };
    let several = format!("{}{}", pool("a"), pool("b").replace("22121", "22122"));
    let files = Files::with(&several, &pool("c"));
    assert_eq!(
        files.trouble(&[]),
        "ringroad: 'from.yml' has several pools; add --from-pool with one of a, b\n"
    );
    assert_eq!(
        files.trouble(&["--from-pool", "x"]),
        "ringroad: no pool 'x' in 'from.yml'\n"
    );
    assert_eq!(
        files.trouble(&["--from-pool", "b", "--to-pool", "b"]),
        "ringroad: no pool 'b' in 'to.yml'\n"
    );
    let faulty = Files::with("p:\n  listne: 1\n", "q:\n  listne: 1\n").trouble(&[]);
    assert!(faulty.contains("from.yml:1: pool 'p'") && faulty.contains("to.yml:1: pool 'q'"));
    for (args, message) in [
        (&["--rate", "fast"][..], "option --rate requires a number"),
        (&["more"], "unexpected argument 'more'"),
        (&["--from", ""], "copy requires --from with a file name"),
        (&["--frm", "x"], "unrecognized option '--frm'"),
    ] {
        let stderr = files.trouble(args);
        let start = format!("ringroad: {message}\nUsage:");
        assert!(stderr.starts_with(&start), "{stderr}");
    }
}
