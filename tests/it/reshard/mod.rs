//! `ringroad reshard`: keys moved between real servers.

mod functions;
mod looks;
mod operator;
mod proxies;
mod refusals;
mod replace;
mod restarts;

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::mover::keys::{assert_same, contents, server, tell, write_all_types};
use crate::support::{Pool, Process, Proxy, RedisServer};

const LISTEN: &str = "127.0.0.1:22121";

/// A directory with `old.yml` and `new.yml`.
struct Files {
    dir: TempDir,
}

impl Files {
    fn of(old: &Pool, new: &Pool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, pool) in [("old.yml", old), ("new.yml", new)] {
            std::fs::write(dir.path().join(name), pool.yaml(LISTEN.parse().unwrap())).unwrap();
        }
        Self { dir }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        command
            .current_dir(self.dir.path())
            .args(words.split(' '))
            .stdin(Stdio::null());
        command
    }

    /// The exit code, and what it has printed.
    fn run(&self, words: &str) -> (Option<i32>, String) {
        let output: Output = self.command(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    fn start(&self, words: &str) -> Process {
        Process::spawn(self.command(words))
    }

    /// Runs it to its successful end.
    fn succeed(&self, words: &str) -> String {
        let (code, text) = self.run(words);
        assert_eq!(code, Some(0), "{words}: {text}");
        text
    }

    /// The status, as JSON.
    fn status(&self) -> Value {
        let (_, text) = self.run("reshard status -c old.yml --json");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

const START: &str = "reshard start -c old.yml --to new.yml --yes";

/// The same servers, guarded.
fn guarded<'s>(servers: impl IntoIterator<Item = &'s RedisServer>) -> Pool {
    Pool::of(servers).with("placement_guard", true)
}

/// Writes keys of all types through a proxy that knows of no guard, which ends then.
fn fill(pool: &Pool, prefixes: u32) {
    let proxy = Proxy::ringroad(pool);
    let mut client = proxy.client();
    for n in 0..prefixes {
        write_all_types(&mut client, &format!("k{n}"));
    }
}

/// What all servers have together; fails if two have the same key.
fn all_contents<'s>(
    servers: impl IntoIterator<Item = &'s RedisServer>,
) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    for server in servers {
        for (key, value) in contents(server, 0) {
            let shown = key.escape_ascii().to_string();
            assert_eq!(all.insert(key, value), None, "{shown} is on two servers");
        }
    }
    all
}

/// Moves from one placement to the other, and compares everything before and after.
fn moves(old: &Pool, new: &Pool, servers: &[&RedisServer]) {
    fill(old, 60);
    let expected = all_contents(servers.iter().copied());
    let [old, new] = [old, new].map(|pool| pool.clone().with("placement_guard", true));
    let files = Files::of(&old, &new);
    let report = files.succeed(START);
    assert!(
        report.contains("all keys are where the new file"),
        "{report}"
    );
    files.succeed("verify -c new.yml");
    assert_same(&all_contents(servers.iter().copied()), &expected);
    let status = files.status();
    assert_eq!(status["state"], "done", "{status}");
    for source in status["sources"].as_array().unwrap() {
        assert_eq!(source["left"], 0, "{status}");
    }
}

#[test]
fn keys_move_to_a_new_server() {
    let servers = [server(), server(), server()];
    let old = Pool::of(&servers[..2]);
    moves(&old, &Pool::of(&servers), &servers.each_ref());
    assert!(contents(&servers[2], 0).len() > 200);
}

#[test]
fn keys_move_away_from_a_server() {
    let servers = [server(), server(), server()];
    let new = Pool::of(&servers[..2]);
    moves(&Pool::of(&servers), &new, &servers.each_ref());
    assert_eq!(contents(&servers[2], 0).len(), 0);
}

#[test]
fn keys_move_by_new_weights() {
    let servers = [server(), server()];
    let weighted =
        |weights: [u32; 2]| Pool::weighted(servers.iter().map(RedisServer::address).zip(weights));
    moves(&weighted([1, 1]), &weighted([1, 3]), &servers.each_ref());
}

#[test]
fn keys_move_to_another_distribution() {
    let servers = [server(), server(), server()];
    let pool = Pool::of(&servers).with("hash", "fnv1a_64");
    moves(
        &pool.clone().with("distribution", "modula"),
        &pool.with("distribution", "ketama"),
        &servers.each_ref(),
    );
}

#[test]
fn keys_move_to_another_hash() {
    let servers = [server(), server()];
    let pool = Pool::of(&servers).with("hash_tag", "\"{}\"");
    moves(
        &pool.clone().with("hash", "crc32"),
        &pool.with("hash", "murmur"),
        &servers.each_ref(),
    );
}

#[test]
fn keys_of_all_databases_move() {
    let servers = [server(), server()];
    let old = guarded(&servers[..1]).with("databases", 3);
    let new = guarded(&servers).with("databases", 3);
    let mut client = servers[0].client();
    for database in [0, 2] {
        tell(&mut client, &format!("SELECT {database}"));
        for n in 0..20 {
            write_all_types(&mut client, &format!("k{n}"));
        }
    }
    drop(client);
    let expected = [0, 2].map(|database| contents(&servers[0], database));
    let files = Files::of(&old, &new);
    files.succeed(START);
    files.succeed("verify -c new.yml");
    for (database, expected) in [0, 2].into_iter().zip(expected) {
        let mut all = contents(&servers[0], database);
        let moved = contents(&servers[1], database);
        assert!(moved.len() > 50);
        all.extend(moved);
        assert_same(&all, &expected);
    }
}

#[test]
fn keys_move_there_and_back_again() {
    let servers = [server(), server()];
    let (old, new) = (guarded(&servers[..1]), guarded(&servers));
    fill(&Pool::of(&servers[..1]), 40);
    let expected = all_contents(&servers);
    Files::of(&old, &new).succeed(START);
    let back = Files::of(&new, &old);
    back.succeed(START);
    assert_same(&contents(&servers[0], 0), &expected);
    assert_eq!(contents(&servers[1], 0).len(), 0);
    // The old file tells no more what is in force, nor which keys are where they do not belong.
    let (code, text) = back.run(START);
    assert_eq!(code, Some(1), "{text}");
    for words in [
        "the old file is not what is in force",
        "the move cannot start: 1 obstacle\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn destination_that_saves_has_the_copies_on_its_disk() {
    let source = server();
    for options in [vec!["--save", "3600 1"], vec!["--appendonly", "yes"]] {
        source.ask("FLUSHALL");
        write_all_types(&mut source.client(), "k");
        let debug = crate::mover::keys::COMPARABLE;
        let mut to = RedisServer::start_with(&[&options[..], &debug].concat());
        // All keys go there, whatever their hash.
        let address = |server: &RedisServer| server.address();
        let named = |server: &RedisServer, name: &str| {
            Pool::named([format!("{}:1 {name}", address(server))]).with("placement_guard", true)
        };
        let expected = contents(&source, 0);
        let files = Files::of(&named(&source, "a"), &named(&to, options[0]));
        let (code, text) = files.run("reshard start -c old.yml --to new.yml --yes --json");
        assert_eq!(code, Some(0), "{text}");
        to.restart();
        assert_same(&contents(&to, 0), &expected);
        source.ask("DEL ringroad:mark:p:0");
    }
}
