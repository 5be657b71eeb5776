//! `ringroad ctl diff FILE` and `ringroad -t -c FILE --against SOCKET`: what a reload of a file would change.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::changes::Controlled;
use super::site::exchange;
use crate::support::{Client, Pool, RedisServer, fresh_ip, show};

/// A proxy, and a file for it.
struct Planned {
    controlled: Controlled,
    dir: TempDir,
}

impl Planned {
    fn start(pool: &Pool) -> Self {
        Self {
            controlled: Controlled::start(pool),
            dir: TempDir::new().unwrap(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.controlled.proxy.address()
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("next.yml")
    }

    fn plan(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// Asks with `ctl`; the exit code, and the text.
    fn ctl(&self, args: &[&str]) -> (i32, String) {
        let file = self.file().display().to_string();
        let output = self.controlled.run(&[args, &["diff", &file]].concat());
        assert_eq!(text(&output.stderr), "");
        (output.status.code().unwrap(), text(&output.stdout))
    }

    /// Asks with `-t`.
    fn test(&self) -> Output {
        test_conf(&self.file(), &self.controlled.socket())
    }

    /// Whatever a reload would change.
    fn state(&self) -> (Value, Value, usize) {
        let mut topology = self.controlled.json(&["topology"]);
        for pool in topology["pools"].as_array_mut().unwrap() {
            for fact in pool["facts"].as_array_mut().unwrap() {
                fact["age_seconds"] = Value::Null;
            }
        }
        let pools = self.controlled.json(&["pools"])["pools"][0]["listen"].clone();
        let log = self.controlled.proxy.process().output();
        (topology, pools, log.matches("reload").count())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ringroad() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringroad"))
}

fn test_conf(file: &Path, socket: &Path) -> Output {
    let mut command = ringroad();
    command.arg("-t").arg("-c").arg(file);
    command.arg("--against").arg(socket).output().unwrap()
}

#[test]
fn file_is_compared_with_what_runs() {
    let servers: [_; 3] = RedisServer::several();
    let cache = |count: usize| {
        Pool::of(&servers[..count])
            .with("hash", "murmur")
            .with("auto_eject_hosts", true)
    };
    let planned = Planned::start(&cache(2));
    let running = planned.dir.path().join("running.yml");
    std::fs::write(&running, cache(2).yaml(planned.address())).unwrap();
    // Only what runs counts, not what its file says by now.
    planned.controlled.proxy.write_conf("faulty");
    let before = planned.state();
    let more = format!(
        "# {}\n{}",
        "x".repeat(100_000),
        Pool::of([&servers[0]]).yaml((planned.address().ip(), 16_131).into())
    );
    let next = cache(3).with("timeout", 777).yaml(planned.address());
    planned.plan(&(next + &more.replacen("\np:", "\nq:", 1)));
    let diff = |args: &[&str]| {
        let mut command = ringroad();
        let command = command.arg("diff").args(args);
        text(
            &command
                .args([&running, &planned.file()])
                .output()
                .unwrap()
                .stdout,
        )
    };
    let expected = diff(&[]);
    assert!(
        expected.contains("server 's2': added") && expected.contains("FROM"),
        "{expected}"
    );
    assert_eq!(
        planned.ctl(&[]),
        (0, expected.clone() + "a reload would be applied\n")
    );
    let (code, json) = planned.ctl(&["--json"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    let changes: Value = serde_json::from_str(&diff(&["--json"])).unwrap();
    assert_eq!(
        (code, answer),
        (
            0,
            json!({"changes": changes, "text": expected, "refusals": []})
        )
    );
    let output = planned.test();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(
        text(&output.stderr),
        format!(
            "ringroad: configuration file '{}' syntax is ok\nringroad: the proxy at '{}' would apply it\n",
            planned.file().display(),
            planned.controlled.socket().display()
        )
    );
    assert_eq!(planned.state(), before, "nothing has changed");
    let second = SocketAddr::new(planned.address().ip(), 16_131);
    assert!(Client::try_connect(second).is_err());
    // And a reload does what was said.
    let file = std::fs::read_to_string(planned.file()).unwrap();
    let outcome = planned.controlled.proxy.reload_text(&file);
    assert!(outcome.contains("is in use changes=3\n"), "{outcome}");
    assert_eq!(
        planned.ctl(&[]),
        (0, "no difference\na reload would be applied\n".to_owned())
    );
}

#[test]
fn each_reason_of_a_refusal_is_told() {
    let servers: [_; 3] = RedisServer::several();
    let store = |count: usize| Pool::of(&servers[..count]).with("hash", "murmur");
    let planned = Planned::start(&store(2));
    let before = planned.state();
    let taken = SocketAddr::from((fresh_ip(&[16_121]), 16_121));
    let _taken = TcpListener::bind(taken).unwrap();
    let port = planned.address().port();
    let pool = |name: &str, listen: &str| {
        let yaml = store(1).yaml(planned.address());
        yaml.replacen("p:", &format!("{name}:"), 1).replacen(
            &planned.address().to_string(),
            listen,
            1,
        )
    };
    let (free, absent) = (
        planned.dir.path().join("q.sock"),
        planned.dir.path().join("no/q.sock"),
    );
    planned.plan(
        &[
            store(3).with("redis_db", 1).yaml(planned.address()),
            pool("a", &taken.to_string()),
            pool("bb", &absent.display().to_string()),
            pool("ccc", &free.display().to_string()),
        ]
        .concat(),
    );
    let reasons = [
        "pool 'p': 'redis_db' cannot change while the proxy runs: ".to_owned(),
        "of the keys would be looked for elsewhere; 'on_placement_change: swap' allows it"
            .to_owned(),
        format!("pool 'a': listening on '{taken}' failed: Address already in use"),
        format!(
            "pool 'bb': listening on '{}' failed: No such file or directory",
            absent.display()
        ),
    ];
    let (code, shown) = planned.ctl(&[]);
    let (diff, refused) = shown.split_once("a reload would be refused\n").unwrap();
    assert_eq!(code, 1);
    let output = planned.test();
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), diff.to_owned())
    );
    let told = text(&output.stderr);
    assert!(told.contains("' would refuse it:\npool 'p': "), "{told}");
    // As before a reload, which stops at the first listener.
    std::fs::copy(planned.file(), planned.controlled.proxy.conf()).unwrap();
    let (_, checked) = planned.controlled.refusal(&["reload", "--check"]);
    for listed in [refused, &told, &checked] {
        for reason in &reasons {
            assert!(
                listed.contains(reason.as_str()),
                "{reason} is not in {listed}"
            );
        }
        assert!(!listed.contains("ccc"), "{listed}");
    }
    assert_eq!(refused.lines().count(), reasons.len(), "{refused}");
    assert!(!free.exists());

    // An address that only overlaps with one of the proxy's.
    planned.plan(
        &pool("p", &format!("0.0.0.0:{port}"))
            .replace("hash: murmur", "hash: murmur\n  on_placement_change: swap"),
    );
    let (code, shown) = planned.ctl(&[]);
    let overlap = "on which pool 'p' listens already";
    assert!(code == 1 && shown.contains(overlap), "{shown}");
    assert_eq!(planned.state().0, before.0, "nothing has changed");
    assert_eq!(show(&planned.controlled.proxy.ask("PING")), "+PONG\\r\\n");
}

#[test]
fn passwords_are_compared_and_never_shown() {
    let server = RedisServer::start();
    let pool = |password: &str| Pool::of([&server]).with("redis_auth", password);
    let planned = Planned::start(&pool("hunter1"));
    planned.plan(&pool("hunter2").yaml(planned.address()));
    let (_, json) = planned.ctl(&["--json"]);
    let (_, shown) = planned.ctl(&[]);
    let output = planned.test();
    let log = planned.controlled.proxy.process().output();
    assert!(shown.contains("  redis_auth: changed\n"), "{shown}");
    for told in [json, shown, text(&output.stdout), text(&output.stderr), log] {
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[test]
fn faulty_file_is_refused_with_every_fault() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let planned = Planned::start(&pool);
    planned.plan(
        &pool
            .with("timeout", "soon")
            .with("hassh", "md5")
            .yaml(planned.address()),
    );
    let file = planned.file().display().to_string();
    let (error, faults) = planned.controlled.refusal(&["diff", &file]);
    assert_eq!(
        error,
        "ringroad: the configuration file is invalid; nothing was changed"
    );
    assert_eq!(faults.lines().count(), 2, "{faults}");
    assert!(
        faults.contains(&format!("{file}:5: pool 'p': key 'hassh': ")),
        "{faults}"
    );
    // Whoever tests it need not ask the proxy.
    let output = test_conf(&planned.file(), Path::new("/nowhere/ctl.sock"));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.ends_with("syntax is invalid\n"), "{told}");
}

#[test]
fn exit_code_tells_a_missing_proxy_from_a_bad_file() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let planned = Planned::start(&pool);
    planned.plan(&pool.yaml(planned.address()));
    let output = test_conf(&planned.file(), Path::new("/nowhere/ctl.sock"));
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert!(
        told.contains("syntax is ok\nringroad: no proxy answers at '/nowhere/ctl.sock': "),
        "{told}"
    );
    let output = planned.controlled.run(&["diff", "/nowhere/pool.yml"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(
        told.starts_with("ringroad: /nowhere/pool.yml: cannot be read: "),
        "{told}"
    );

    let output = ringroad()
        .args(["--against", "/s", "-c", "/f"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.starts_with("ringroad: option --against requires -t\nUsage: "),
        "{told}"
    );
}

#[test]
fn file_may_be_a_pipe() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let planned = Planned::start(&pool);
    planned.plan(&pool.with("timeout", 777).yaml(planned.address()));
    let script = "\"$0\" -t -c <(cat \"$1\") --against \"$2\" && \"$0\" ctl --admin \"$2\" diff <(cat \"$1\")";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_ringroad")])
        .args([planned.file(), planned.controlled.socket()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout).matches("timeout: none -> 777").count(),
        2
    );
}

#[test]
fn long_file_is_refused_with_the_limit() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]);
    let planned = Planned::start(&pool);
    planned.plan(&(pool.yaml(planned.address()) + "#" + &"x".repeat(4 << 20)));
    let file = planned.file().display().to_string();
    let output = planned.controlled.run(&["diff", &file]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert_eq!(
        told,
        format!("ringroad: '{file}' is too long: a proxy takes at most 4194304 bytes of JSON\n")
    );
    assert_eq!(planned.test().status.code(), Some(1));
    let long = format!("{{\"file\": \"{}\"}}", "x".repeat(70_000));
    let post = |path: &str| {
        let length = long.len();
        exchange(
            &planned.controlled.socket(),
            &format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{long}"),
        )
    };
    let (status, body) = post("/diff");
    assert!(
        status == 422 && body.contains("\"file:1: "),
        "{status}: {body}"
    );
    let (status, body) = post("/reload");
    assert!(
        status == 400 && body.contains("longer than 65536 bytes"),
        "{status}: {body}"
    );
    let empty = "POST /diff HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    let (status, body) = exchange(&planned.controlled.socket(), empty);
    assert!(
        status == 400 && body.contains("'file' is required"),
        "{status}: {body}"
    );
}
