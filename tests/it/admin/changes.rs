//! Changes of a running proxy: servers in and out of the ring, and the configuration file.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Output;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::site::ctl;
use crate::support::{Kind, Launch, Pool, Proxy, RedisServer, eventually, show};

const OK: &str = "+OK\r\n";

/// A proxy with an admin socket.
pub(crate) struct Controlled {
    pub(crate) proxy: Proxy,
    dir: TempDir,
}

impl Controlled {
    pub(crate) fn start(pool: &Pool) -> Self {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("ctl.sock");
        let launch = Launch {
            args: vec!["--admin".to_owned(), socket.display().to_string()],
            ..Launch::default()
        };
        let proxy = Proxy::start(Kind::Ringroad, pool, &launch);
        Self { proxy, dir }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("ctl.sock")
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        ctl(&[&["--admin", self.socket().to_str().unwrap()], args].concat())
    }

    /// The output of a command that succeeds.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ctl(&[&["--json"], args].concat())).unwrap()
    }

    /// The words of the proxy, and its details, about a command that it refuses.
    pub(crate) fn refusal(&self, args: &[&str]) -> (String, String) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let (first, rest) = stderr.split_once('\n').unwrap();
        (first.to_owned(), rest.to_owned())
    }

    /// Writes the file of another pool; nothing has it loaded.
    pub(crate) fn write(&self, pool: &Pool) {
        self.proxy.write_conf(&pool.yaml(self.proxy.address()));
    }

    fn state(&self, server: &str) -> Value {
        let servers = self.json(&["servers"])["servers"].clone();
        let servers = servers.as_array().unwrap().iter();
        let mut found = servers.filter(|found| found["server"] == server);
        found.next().unwrap()["state"].clone()
    }
}

/// The number of keys that are stored when a client sets 50 new ones.
fn stored(servers: &[RedisServer], proxy: &Proxy, prefix: &str) -> Vec<usize> {
    let before: Vec<_> = servers.iter().map(|server| server.keys().len()).collect();
    let mut client = proxy.client();
    for key in 0..50 {
        client.converse(&[(&format!("SET {prefix}{key} 1"), OK)]);
    }
    let after = servers.iter().map(|server| server.keys().len());
    after
        .zip(before)
        .map(|(after, before)| after - before)
        .collect()
}

#[test]
fn drained_server_owns_no_keys_until_it_is_admitted() {
    let servers: [_; 2] = RedisServer::several();
    let controlled = Controlled::start(&Pool::of(&servers).with("hash", "murmur"));
    let proxy = &controlled.proxy;
    let mut client = proxy.client();
    assert_eq!(
        controlled.ctl(&["drain", "s0"]),
        "server s0 of pool p: drained\n"
    );
    assert_eq!(stored(&servers, proxy, "a"), [0, 50]);
    assert_eq!(controlled.state("s0"), "drained");
    assert_eq!(
        controlled.ctl(&["drain", "s0"]),
        "server s0 of pool p: drained\n"
    );
    assert_eq!(
        controlled.ctl(&["admit", "s0"]),
        "server s0 of pool p: live\n"
    );
    let [first, second] = stored(&servers, proxy, "b")[..] else {
        panic!("two servers");
    };
    assert!(first > 0 && second > 0, "{first} {second}");
    assert_eq!(controlled.state("s0"), "live");
    client.converse(&[("PING", "+PONG\r\n")]);
}

#[test]
fn server_is_ejected_by_hand_where_servers_return() {
    let servers: [_; 2] = RedisServer::several();
    let pool = Pool::of(&servers).with("hash", "murmur");
    let controlled = Controlled::start(&pool);
    let (error, _) = controlled.refusal(&["eject", "s0"]);
    let expected = "ringroad: pool 'p' has no 'auto_eject_hosts': nothing would bring the server back; \
                    drain it";
    assert_eq!(error, expected);
    assert_eq!(controlled.state("s0"), "live");

    let ejecting = pool
        .with("auto_eject_hosts", true)
        .with("server_probe_interval", 0)
        .with("server_retry_timeout", 600_000);
    controlled.proxy.reload(&ejecting);
    assert_eq!(
        controlled.ctl(&["eject", "s0"]),
        "server s0 of pool p: ejected\n"
    );
    assert_eq!(stored(&servers, &controlled.proxy, "a"), [0, 50]);
    assert_eq!(controlled.proxy.stat(&["server_ejects"]), 1);
    assert_eq!(
        controlled.ctl(&["eject", "s0"]),
        "server s0 of pool p: ejected\n"
    );
    assert_eq!(controlled.proxy.stat(&["server_ejects"]), 1, "once");

    // Whoever drains it wants it out for longer than its ejection.
    assert_eq!(
        controlled.ctl(&["drain", "s0"]),
        "server s0 of pool p: drained\n"
    );
    assert_eq!(
        controlled.ctl(&["admit", "s0"]),
        "server s0 of pool p: live\n"
    );
    assert_ne!(stored(&servers, &controlled.proxy, "b")[0], 0);
}

#[test]
fn moves_are_told_as_the_servers_tell_them() {
    let servers: [_; 2] = RedisServer::several();
    let pool = |servers: &[RedisServer]| Pool::of(servers).with("placement_guard", true);
    let controlled = Controlled::start(&pool(&servers[..1]));
    let none = controlled.json(&["moves"]);
    assert_eq!(none["moves"][0]["move"], Value::Null, "{none}");
    assert!(
        controlled
            .ctl(&["moves", "p"])
            .starts_with("pool 'p': no move\n")
    );

    let dir = tempfile::tempdir().unwrap();
    for (name, servers) in [("old.yml", &servers[..1]), ("new.yml", &servers[..])] {
        let yaml = pool(servers).yaml("127.0.0.1:22121".parse().unwrap());
        std::fs::write(dir.path().join(name), yaml).unwrap();
    }
    let words = "reshard start -c old.yml --to new.yml --yes";
    let moved = std::process::Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .current_dir(dir.path())
        .args(words.split(' '))
        .output()
        .unwrap();
    assert!(moved.status.success(), "{moved:?}");
    let answer = controlled.json(&["moves", "p"]);
    let status = &answer["moves"][0];
    assert_eq!(status["state"], "done", "{status}");
    assert_eq!(status["sources"][0]["moved"], 1024, "{status}");
    assert!(
        controlled
            .ctl(&["moves"])
            .contains("source  moved  held  left")
    );
    drop(servers);
    let answer = controlled.json(&["moves"]);
    let error = answer["moves"][0]["error"].as_str().unwrap();
    assert!(error.contains("server 's0'"), "{error}");
}

#[test]
fn topology_says_why_it_is_so() {
    let servers: [_; 3] = RedisServer::several();
    let pool = Pool::of(&servers)
        .with("auto_eject_hosts", true)
        .with("server_probe_interval", 0)
        .with("server_retry_timeout", 600_000);
    let controlled = Controlled::start(&pool);
    let facts = || {
        let pools = controlled.json(&["topology", "p"])["pools"].clone();
        let facts = pools[0]["facts"].as_array().unwrap().clone();
        let fact = |fact: &Value| (fact["source"].clone(), fact["server"].clone());
        facts.iter().map(fact).collect::<Vec<_>>()
    };
    assert_eq!(facts(), [(json!("file"), Value::Null)]);
    controlled.ctl(&["drain", "s2"]);
    controlled.ctl(&["eject", "s1"]);
    let expected = [
        (json!("file"), Value::Null),
        (json!("health"), json!("s1")),
        (json!("operator"), json!("s2")),
    ];
    assert_eq!(facts(), expected);
    let text = controlled.ctl(&["topology"]);
    for line in [
        "pool p: epoch 2, placement 2\n",
        "  3 servers; hash fnv1a_64, distribution ketama\n",
        "  ejected; may return in ",
        "  drained\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[test]
fn reload_applies_the_file_and_reports_it() {
    let servers: [_; 2] = RedisServer::several();
    let pool = Pool::of(&servers);
    let controlled = Controlled::start(&pool);
    let unchanged = "reloaded: the file says what the proxy does already\n";
    assert_eq!(controlled.ctl(&["reload"]), unchanged);

    controlled.write(&pool.with("timeout", 777));
    let checked = controlled.ctl(&["reload", "--check"]);
    let change = "pool p: changed\n  timeout: ";
    let expected = format!("checked: nothing was changed; a reload would do this\n{change}");
    assert!(checked.starts_with(&expected), "{checked}");
    let reloaded = controlled.ctl(&["reload"]);
    assert!(
        reloaded.starts_with(&format!("reloaded\n{change}")),
        "{reloaded}"
    );
    assert_eq!(controlled.ctl(&["reload"]), unchanged);
    controlled.proxy.client().converse(&[("PING", "+PONG\r\n")]);
}

#[test]
fn reload_of_a_faulty_file_tells_every_fault() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let controlled = Controlled::start(&pool);
    controlled.write(&pool.clone().with("timeout", "soon").with("hassh", "md5"));
    for args in [&["reload"][..], &["reload", "--check"]] {
        let (error, faults) = controlled.refusal(args);
        assert_eq!(
            error,
            "ringroad: the configuration file is invalid; nothing was changed"
        );
        assert_eq!(faults.lines().count(), 2, "{faults}");
        let second = "pool.yml:5: pool 'p': key 'hassh': unknown directive; did you mean 'hash'?\n";
        assert!(faults.ends_with(second), "{faults}");
    }
    assert_eq!(show(&controlled.proxy.ask("PING")), "+PONG\\r\\n");
    let metric = "ringroad_config_last_reload_successful";
    assert_eq!(controlled.proxy.metric(metric), 0);
    let refusal = controlled.json(&["status"])["config_refusal"].clone();
    let refusal = refusal.as_str().unwrap();
    assert!(
        refusal.contains("'soon'") && refusal.ends_with("(and 1 more)"),
        "{refusal}"
    );
    let told = controlled.ctl(&["status"]);
    assert!(
        told.contains(&format!("refused, the old one is in use: {refusal}\n")),
        "{told}"
    );
    controlled.write(&pool);
    controlled.ctl(&["reload"]);
    assert_eq!(controlled.proxy.metric(metric), 1);
    assert!(controlled.json(&["status"])["config_refusal"].is_null());
}

#[test]
fn keys_of_a_store_move_only_with_swap() {
    let servers: [_; 3] = RedisServer::several();
    let store = |count: usize| Pool::of(&servers[..count]).with("hash", "murmur");
    let controlled = Controlled::start(&store(2));
    controlled.write(&store(3));
    for args in [&["reload"][..], &["reload", "--check"]] {
        let (error, reasons) = controlled.refusal(args);
        assert_eq!(
            error,
            "ringroad: the change is refused; nothing was changed"
        );
        let reason = "% of the keys would be looked for elsewhere";
        assert!(reasons.contains(reason), "{reasons}");
    }
    let (error, _) = controlled.refusal(&["reload", "--swap", "q"]);
    assert_eq!(error, "ringroad: no pool 'q'");
    let checked = controlled.json(&["reload", "--check", "--swap", "p"]);
    assert_eq!(checked["applied"], false);
    assert_eq!(stored(&servers, &controlled.proxy, "a")[2], 0);

    let reloaded = controlled.json(&["reload", "--swap", "p"]);
    assert_eq!(reloaded["applied"], true);
    let share = reloaded["pools"][0]["moved_share"].as_f64().unwrap();
    assert!((0.1..0.6).contains(&share), "{share}");
    assert_eq!(reloaded["pools"], checked["pools"], "as it was checked");
    assert_ne!(stored(&servers, &controlled.proxy, "b")[2], 0);
}

#[test]
fn reload_during_a_reload_is_refused() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let controlled = Controlled::start(&pool);
    let conf = controlled.proxy.conf();
    std::fs::remove_file(conf).unwrap();
    // Whoever reads it waits for a writer.
    mknodat(CWD, conf, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let socket = controlled.socket().display().to_string();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ctl(&["--admin", &socket, "reload"]));
        let writer = eventually("the first reload has begun", || {
            std::fs::OpenOptions::new()
                .write(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(conf)
                .ok()
        });
        let (error, _) = controlled.refusal(&["reload"]);
        assert_eq!(error, "ringroad: another reload is in progress");
        let yaml = pool.yaml(controlled.proxy.address());
        (&writer).write_all(yaml.as_bytes()).unwrap();
        drop(writer);
        let text = first.join().unwrap().stdout;
        assert_eq!(
            String::from_utf8_lossy(&text),
            "reloaded: the file says what the proxy does already\n"
        );
    });
}

#[test]
fn ambiguous_server_is_refused_with_its_pools() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let controlled = Controlled::start(&pool);
    let mut other = controlled.proxy.address();
    other.set_port(16_130);
    let two = pool.yaml(controlled.proxy.address()) + &pool.yaml(other).replacen("p:", "q:", 1);
    controlled.proxy.reload_text(&two);
    let (error, pools) = controlled.refusal(&["drain", "s0"]);
    assert_eq!(
        error,
        "ringroad: several pools have a server 's0'; name one of them"
    );
    assert_eq!(pools, "p\nq\n");
    let drained = controlled.ctl(&["drain", "s0", "--pool", "q"]);
    assert_eq!(drained, "server s0 of pool q: drained\n");
}
