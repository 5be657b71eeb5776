//! `ringroad verify`: keys on wrong servers, on real servers.

mod fix;
mod refusals;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};

use ringroad::config::Config;
use ringroad::topology::Router;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, Pool, Proxy, RedisServer, array_items, command};

const LISTEN: &str = "127.0.0.1:22121";

/// A directory with `pool.yml`.
struct Files {
    dir: TempDir,
}

impl Files {
    fn of(pool: &Pool) -> Self {
        Self::with(&pool.yaml(LISTEN.parse().unwrap()))
    }

    fn with(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pool.yml"), yaml).unwrap();
        Self { dir }
    }

    /// The command, its stdin closed.
    fn verify(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringroad"))
            .current_dir(self.dir.path())
            .args(["verify", "-c", "pool.yml"])
            .args(args)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    }

    /// The exit code and what was printed; nothing on stderr.
    fn report(&self, args: &[&str]) -> (i32, String) {
        let output = self.verify(args);
        assert_eq!(text(&output.stderr), "", "{args:?}");
        (output.status.code().unwrap(), text(&output.stdout))
    }

    fn json(&self, args: &[&str]) -> Value {
        let (_, report) = self.report(&[args, &["--json"]].concat());
        serde_json::from_str(report.lines().last().unwrap()).unwrap()
    }

    /// The exit code 2 and the message.
    fn trouble(&self, args: &[&str]) -> String {
        let output = self.verify(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
        text(&output.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Three servers of a pool with good spread.
struct Fleet {
    servers: [RedisServer; 3],
    pool: Pool,
    router: Router,
}

impl Fleet {
    fn start() -> Self {
        let servers = RedisServer::several();
        let pool = Pool::of(&servers).with("hash", "murmur");
        let router = router(&pool);
        Self {
            servers,
            pool,
            router,
        }
    }

    fn files(&self) -> Files {
        Files::of(&self.pool)
    }

    /// A key of that server.
    fn key_of(&self, owner: usize, nth: usize) -> Vec<u8> {
        let keys = (0..).map(|n| format!("key:{nth}:{n}").into_bytes());
        let mut keys = keys.filter(|key| self.owner(key) == owner);
        keys.next().unwrap()
    }

    fn owner(&self, key: &[u8]) -> usize {
        self.router.route(key).unwrap().index()
    }

    fn set(&self, server: usize, key: &[u8]) {
        set(&mut self.servers[server].client(), key);
    }

    /// Two keys of s1 on s0 alone, and one of s2 on both s0 and s2; besides, ten keys where they belong. Returns the
    /// three strays.
    fn misplace(&self) -> [Vec<u8>; 3] {
        for nth in 10..20 {
            self.set(nth % 3, &self.key_of(nth % 3, nth));
        }
        let [a, b, c] = [self.key_of(1, 1), self.key_of(1, 2), self.key_of(2, 3)];
        for key in [&a, &b, &c] {
            self.set(0, key);
        }
        self.set(2, &c);
        [a, b, c]
    }

    fn keys(&self, server: usize) -> BTreeSet<Vec<u8>> {
        self.servers[server].keys().into_iter().collect()
    }
}

fn router(pool: &Pool) -> Router {
    let yaml = pool.yaml(LISTEN.parse().unwrap());
    Router::for_pool(&Config::parse(&yaml, "F").unwrap().pools[0])
}

fn set(client: &mut Client, key: &[u8]) {
    client.send(&command(&[&b"SET"[..], key, b"value"]));
    client.expect("SET", b"+OK\r\n");
}

#[test]
fn verify_finds_no_stray_among_keys_of_a_proxy() {
    let fleet = Fleet::start();
    let proxy = Proxy::ringroad(&fleet.pool);
    let mut client = proxy.client();
    for n in 0..3000 {
        set(&mut client, format!("user:{n}").as_bytes());
    }
    let (code, report) = fleet.files().report(&[]);
    assert_eq!(
        report,
        "pool 'p': all 3000 keys are where the file looks for them\n"
    );
    assert_eq!(code, 0);
}

#[test]
fn verify_counts_strays_by_server_and_owner() {
    let fleet = Fleet::start();
    let [a, b, c] = fleet.misplace().map(|key| text(&key));
    let (code, report) = fleet.files().report(&[]);
    assert_eq!(code, 1);
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(
        lines[0],
        "pool 'p': 3 of 14 keys are not where the file looks for them"
    );
    assert!(
        lines[1].starts_with("  ON  OWNER  STRAYS  OWNER HAS TOO  "),
        "{report}"
    );
    assert!(
        lines[2].starts_with("  s0  s1          2              0  "),
        "{report}"
    );
    assert!(
        lines[3].starts_with("  s0  s2          1              1  "),
        "{report}"
    );
    let rest = [
        "  1 are on their owner too, where clients find them: --fix unlinks the strays".to_owned(),
        format!("    such as {c}"),
        "  2 are not on their owner, so clients do not find them: --fix keeps them, unless with --drop-only-copies"
            .to_owned(),
    ];
    assert_eq!(lines[4..7], rest);
    assert!(
        [
            format!("    such as {a}, {b}"),
            format!("    such as {b}, {a}")
        ]
        .contains(&lines[7].to_owned()),
        "{report}"
    );
    assert_eq!(lines.len(), 8);
}

#[test]
fn verify_agrees_with_the_router_key_by_key() {
    let fleet = Fleet::start();
    let mut random = fastrand::Rng::with_seed(3);
    let mut expected = BTreeSet::new();
    let mut clients = [0, 1, 2].map(|server| fleet.servers[server].client());
    for _ in 0..4000 {
        let key: Vec<u8> = (0..random.usize(1..20)).map(|_| random.u8(..)).collect();
        let server = random.usize(..3);
        set(&mut clients[server], &key);
        if fleet.owner(&key) != server {
            expected.insert((server, key));
        }
    }
    let output = fleet.files().verify(&["--list", "--json", "--rate", "0"]);
    let mut lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let report = lines.pop().unwrap();
    let found: BTreeSet<_> = lines.iter().map(stray).collect();
    assert_eq!(found, expected);
    assert_eq!(report["strays"], expected.len());
    let sizes = lines.iter().map(|line| line["bytes"].as_u64().unwrap());
    assert_eq!(report["bytes"], sizes.sum::<u64>());
    let copies = expected
        .iter()
        .filter(|(_, key)| fleet.keys(fleet.owner(key)).contains(key));
    assert_eq!(report["copies"], copies.count());
}

/// The server and the key of a line of JSON.
fn stray(line: &Value) -> (usize, Vec<u8>) {
    let server = line["on"].as_str().unwrap().strip_prefix('s').unwrap();
    let key = match (&line["key"], &line["key_hex"]) {
        (Value::String(key), Value::Null) => key.clone().into_bytes(),
        (Value::Null, Value::String(hex)) => (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect(),
        other => panic!("{other:?}"),
    };
    (server.parse().unwrap(), key)
}

#[test]
fn verify_lists_each_stray() {
    let fleet = Fleet::start();
    let [a, b, c] = fleet.misplace().map(|key| text(&key));
    let (_, report) = fleet.files().report(&["--list"]);
    let lines: Vec<Vec<_>> = report
        .lines()
        .take(3)
        .map(|line| line.split('\t').collect())
        .collect();
    let mut found: Vec<_> = lines
        .iter()
        .map(|line| (line[0], line[1], line[2], line[3], line[5]))
        .collect();
    found.sort_unstable();
    let mut expected = [
        ("s0", "s1", "0", "only", a.as_str()),
        ("s0", "s1", "0", "only", b.as_str()),
        ("s0", "s2", "0", "copy", c.as_str()),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn verify_checks_the_databases_that_clients_can_select() {
    let options = ["--requirepass", "secret", "--databases", "30"];
    let servers: [_; 2] = std::array::from_fn(|_| RedisServer::start_with(&options));
    let pool = Pool::of(&servers)
        .with("hash", "murmur")
        .with("redis_auth", "secret")
        .with("redis_db", 20)
        .with("databases", 4);
    let router = router(&pool);
    let key = (0..).map(|n| format!("k{n}").into_bytes());
    let key = key
        .into_iter()
        .find(|key| router.route(key).unwrap().index() == 1)
        .unwrap();
    for database in [0, 3, 4, 20, 29] {
        let mut client = servers[0].client();
        client.ask("AUTH secret");
        client.ask(&format!("SELECT {database}"));
        set(&mut client, &key);
    }
    let mut right = servers[1].client();
    right.ask("AUTH secret");
    right.ask("SELECT 3");
    set(&mut right, &key);

    let files = Files::of(&pool);
    let report = files.json(&[]);
    assert_eq!(
        (&report["strays"], &report["copies"]),
        (&json!(3), &json!(1))
    );
    let note =
        "2 keys are in databases that clients of this pool cannot select; they are not checked";
    assert_eq!(report["notes"], json!([note]));

    let report = files.json(&["--fix", "--yes"]);
    assert_eq!(report["unlinked"], 1);
    let left = |database: u32| {
        let mut client = servers[0].client();
        client.ask("AUTH secret");
        client.ask(&format!("SELECT {database}"));
        array_items(&client.ask("KEYS *")).len()
    };
    assert_eq!([0, 3, 4, 20, 29].map(left), [1, 0, 1, 1, 1]);
}

#[test]
fn verify_connects_over_unix_sockets_and_host_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redis.sock");
    let path = path.to_str().unwrap();
    let _unix = RedisServer::start_with(&["--unixsocket", path]);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let local = free.local_addr().unwrap();
    drop(free);
    let port = local.port().to_string();
    let _named = RedisServer::start_with(&["--bind", "127.0.0.1", "--port", &port]);
    set(&mut Client::connect(local), b"key");
    let files = Files::with(&format!(
        "p:\n  listen: {LISTEN}\n  redis: true\n  distribution: modula\n  servers:\n    \
         - {path}:1 a\n    - localhost:{port}:1 b\n"
    ));
    let report = files.json(&[]);
    let keys: Vec<_> = report["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| &server["keys"])
        .collect();
    assert_eq!(keys, [&json!(0), &json!(1)]);
}

#[test]
fn server_under_two_names_has_no_strays() {
    let server = RedisServer::start();
    let port = server.address().port();
    let ip = server.address().ip();
    for n in 0..100 {
        set(&mut server.client(), format!("k{n}").as_bytes());
    }
    let files = Files::with(&format!(
        "p:\n  listen: {LISTEN}\n  redis: true\n  servers:\n    - {ip}:{port}:1 a\n    - {ip}:{port}:1 b\n"
    ));
    let report = files.json(&[]);
    assert_eq!(
        (&report["keys"], &report["strays"]),
        (&json!(100), &json!(0))
    );
}

#[test]
fn server_that_hides_sizes_is_verified_without() {
    let servers: [_; 2] =
        std::array::from_fn(|_| RedisServer::start_with(&["--rename-command", "MEMORY", ""]));
    let pool = Pool::of(&servers).with("hash", "murmur");
    let router = router(&pool);
    for n in 0..20 {
        set(&mut servers[0].client(), format!("k{n}").as_bytes());
    }
    let strays = (0..20)
        .filter(|n| router.route(format!("k{n}").as_bytes()).unwrap().index() == 1)
        .count();
    let files = Files::of(&pool);
    let report = files.json(&[]);
    assert_eq!(
        (&report["strays"], &report["bytes"]),
        (&json!(strays), &Value::Null)
    );
    let (_, report) = files.report(&[]);
    assert!(
        report.ends_with("note: a server does not tell the size of its keys (MEMORY USAGE)\n"),
        "{report}"
    );
}
