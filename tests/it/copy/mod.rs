//! `ringroad copy`: a pool copied to another one while clients write, on real servers.

mod live;
mod refusals;

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use ringroad::config::Config;
use ringroad::topology::Router;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mover::keys::{
    Writer, assert_same, await_expiries, contents, server, tell, write_all_types,
};
use crate::support::{Pool, Process, Proxy, RedisServer, Terminal};

const LISTEN: &str = "127.0.0.1:22121";

/// A directory with `from.yml` and `to.yml`.
struct Files {
    dir: TempDir,
}

impl Files {
    fn of(from: &Pool, to: &Pool) -> Self {
        let [from, to] = [from, to].map(|pool| pool.yaml(LISTEN.parse().unwrap()));
        Self::with(&from, &to)
    }

    fn with(from: &str, to: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("from.yml"), from).unwrap();
        std::fs::write(dir.path().join("to.yml"), to).unwrap();
        Self { dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        command
            .current_dir(self.dir.path())
            .args(["copy", "--from", "from.yml", "--to", "to.yml"])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    fn copy(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Copies until all is equal once; returns the last line of JSON.
    fn copy_once(&self, args: &[&str]) -> Value {
        let output = self.copy(&[&["--once", "--yes", "--json"], args].concat());
        assert_eq!(text(&output.stderr), "");
        let lines = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{lines}");
        let end: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&end["event"], &end["equal"]),
            (&json!("end"), &json!(true))
        );
        end
    }

    /// The exit code 2 and the message.
    fn trouble(&self, args: &[&str]) -> String {
        let output = self.copy(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        text(&output.stderr)
    }

    /// Runs it on a terminal.
    fn on_a_terminal(&self, args: &str) -> Terminal {
        let words = format!("copy --from from.yml --to to.yml {args}");
        Terminal::run(self.dir.path(), &words)
    }

    /// Starts a copy that follows until it is told to end.
    fn start(&self, args: &[&str]) -> Process {
        Process::spawn(self.command(&[&["--yes"], args].concat()))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn router(pool: &Pool) -> Router {
    let yaml = pool.yaml(LISTEN.parse().unwrap());
    Router::for_pool(&Config::parse(&yaml, "F").unwrap().pools[0])
}

#[test]
fn every_key_goes_where_the_other_file_looks_for_it() {
    let (from, to): ([_; 2], [_; 3]) = (RedisServer::several(), RedisServer::several());
    let old = Pool::of(&from)
        .with("hash", "fnv1a_64")
        .with("distribution", "modula")
        .with("hash_tag", "\"{}\"");
    let new = Pool::of(&to)
        .with("hash", "murmur")
        .with("distribution", "ketama")
        .with("hash_tag", "\"$$\"");
    let proxy = Proxy::ringroad(&old);
    let mut client = proxy.client();
    let mut random = fastrand::Rng::with_seed(5);
    let mut keys = BTreeSet::new();
    for n in 0..3000 {
        let mut key: Vec<u8> = (0..random.usize(1..20)).map(|_| random.u8(..)).collect();
        match n % 3 {
            0 => key = [&b"user{tag"[..], &key, b"}:"].concat(),
            1 => key = [&b"user$tag"[..], &key, b"$:"].concat(),
            _ => {}
        }
        client.send(&crate::support::command(&[&b"SET"[..], &key, b"value"]));
        client.expect("SET", b"+OK\r\n");
        keys.insert(key);
    }
    let end = Files::of(&old, &new).copy_once(&[]);
    let placement = router(&new);
    let mut found = BTreeSet::new();
    for (nth, server) in to.iter().enumerate() {
        for key in server.keys() {
            assert_eq!(placement.route(&key).unwrap().index(), nth);
            found.insert(key);
        }
    }
    assert!(found == keys);
    let counts = end["sources"].as_array().unwrap().iter();
    let counts = counts.map(|source| source["keys"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), keys.len() as u64);
}

#[test]
fn all_types_are_equal_in_each_database() {
    let [from, to] = [server(), server()];
    let mut client = from.client();
    for database in [0, 2] {
        tell(&mut client, &format!("SELECT {database}"));
        write_all_types(&mut client, &format!("k{database}"));
    }
    tell(&mut client, "SELECT 9");
    tell(&mut client, "SET not:of:this:pool v");
    let pools = [&from, &to].map(|server| Pool::of([server]).with("databases", 3));
    let files = Files::of(&pools[0], &pools[1]);
    let output = files.copy(&["--once", "--yes"]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(
        report.starts_with("note: 1 keys are in databases that"),
        "{report}"
    );
    let end =
        "pool 'p' is copied to pool 'p': nothing is left of what was written before the end\n";
    assert!(report.contains(end), "{report}");
    assert!(
        report.contains("note: 2 streams and values of modules"),
        "{report}"
    );
    for database in 0..10 {
        let expected = if database < 3 {
            contents(&from, database)
        } else {
            contents(&to, 9)
        };
        assert_same(&contents(&to, database), &expected);
    }
    assert_eq!(contents(&to, 2).len(), 16);
}

#[test]
fn only_database_goes_to_the_one_that_clients_start_with() {
    let [from, to] = [server(), server()];
    write_all_types(&mut from.client(), "k");
    let start = |server| Pool::of([server]).with("databases", 1);
    let files = Files::of(&start(&from), &start(&to).with("redis_db", 5));
    files.copy_once(&[]);
    assert_same(&contents(&to, 5), &contents(&from, 0));
    assert_eq!(contents(&to, 0).len(), 0);

    // With several, keys keep theirs, which may surprise.
    to.ask("FLUSHALL");
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]).with("redis_db", 5));
    let output = files.copy(&["--once", "--yes"]);
    let note = "note: clients of pool 'p' start with database 0, and those of pool 'p' with 5 ('redis_db'); keys keep their \
                database\n";
    assert!(text(&output.stdout).starts_with(note), "{output:?}");
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn strays_of_the_source_are_not_copied() {
    let from = RedisServer::several::<2>();
    let to = RedisServer::start();
    let old = Pool::of(&from).with("hash", "murmur");
    let placement = router(&old);
    let mut owned = 0;
    for n in 0..100 {
        let key = format!("k{n}");
        let at = n % 2;
        from[at].ask(&format!("SET {key} {at}"));
        owned += usize::from(placement.route(key.as_bytes()).unwrap().index() == at);
    }
    assert!((20..80).contains(&owned));
    let end = Files::of(&old, &Pool::of([&to])).copy_once(&["--rate", "1000"]);
    assert_eq!(to.keys().len(), owned);
    let scanned = end["sources"].as_array().unwrap().iter();
    let scanned = scanned.map(|source| source["scanned"].as_u64().unwrap());
    assert_eq!(scanned.sum::<u64>(), 100);
}

#[test]
fn server_under_two_names_is_copied_once() {
    let [from, to] = [server(), server()];
    write_all_types(&mut from.client(), "k");
    let twice = |server: &RedisServer| {
        let (ip, port) = (server.address().ip(), server.address().port());
        Pool::named([format!("{ip}:{port}:1 a"), format!("{ip}:{port}:1 b")])
    };
    let end = Files::of(&twice(&from), &twice(&to)).copy_once(&[]);
    assert_eq!(end["sources"].as_array().unwrap().len(), 1);
    assert_same(&contents(&to, 0), &contents(&from, 0));
}

#[test]
fn keys_of_the_destination_stay_if_that_is_allowed() {
    let [from, to] = [server(), server()];
    from.ask("SET both source");
    from.ask("SET one source");
    to.ask("SET both destination");
    to.ask("SET other destination");
    let files = Files::of(&Pool::of([&from]), &Pool::of([&to]));
    files.copy_once(&["--into-data"]);
    assert_eq!(to.ask("GET both"), b"$6\r\nsource\r\n");
    assert_eq!(to.ask("GET other"), b"$11\r\ndestination\r\n");
    assert_eq!(to.keys().len(), 3);
}
