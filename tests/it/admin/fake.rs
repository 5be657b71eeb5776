//! `ringroad ctl` and the socket in front of a scripted `Control`, for answers that a real proxy seldom gives.

use std::path::PathBuf;
use std::process::Output;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use ringroad::admin::api;
use ringroad::admin::api::answers::{
    ChangeKind, ChangedServer, Clients, CommandUse, Commands, Differences, Events, FailedOver,
    Killed, LogLevel, Moves, Overview, PoolChange, Pools, Refusals, RefusedCommand, Reloaded,
    Rings, ServerState, Servers, Status, Stopping, Topologies, Upgraded,
};
use ringroad::admin::api::requests::{
    Diff, EventsAfter, Failover, KillClient, Reload, ServerChange, ServerRef, SetLogLevel, Upgrade,
};
use ringroad::admin::api::{Answer, Control, ControlError, OverviewRequests};
use ringroad::net::AcceptGate;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::facts::topology;
use super::site::ctl;

/// A proxy whose answers are scripted.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The reason for which the next requests are refused.
    refusal: Mutex<Option<ControlError>>,
    /// What was asked.
    asked: Mutex<Vec<String>>,
}

impl Script {
    pub(super) fn answer<T: Send + 'static>(&self, asked: String, answer: T) -> Answer<'_, T> {
        self.asked.lock().unwrap().push(asked);
        let refusal = self.refusal.lock().unwrap().clone();
        Box::pin(async move { refusal.map_or(Ok(answer), Err) })
    }
}

impl OverviewRequests for Script {
    fn overview(&self, pool: Option<String>) -> Answer<'_, Overview> {
        self.answer(format!("overview {pool:?}"), Overview::default())
    }

    fn events(&self, wanted: EventsAfter) -> Answer<'_, Events> {
        self.answer(format!("{wanted:?}"), Events::default())
    }

    fn rings(&self, pool: Option<String>) -> Answer<'_, Rings> {
        self.answer(format!("rings {pool:?}"), Rings::default())
    }
}

impl Control for Script {
    fn status(&self) -> Answer<'_, Status> {
        self.answer("status".to_owned(), Status::default())
    }

    fn pools(&self) -> Answer<'_, Pools> {
        self.answer("pools".to_owned(), Pools::default())
    }

    fn servers(&self, pool: Option<String>) -> Answer<'_, Servers> {
        self.answer(format!("servers {pool:?}"), Servers::default())
    }

    fn clients(&self, pool: Option<String>) -> Answer<'_, Clients> {
        self.answer(format!("clients {pool:?}"), Clients::default())
    }

    fn kill_client(&self, kill: KillClient) -> Answer<'_, Killed> {
        self.answer(format!("{kill:?}"), Killed::default())
    }

    fn topology(&self, pool: Option<String>) -> Answer<'_, Topologies> {
        let pools = vec![topology("cache"), topology("other")];
        self.answer(format!("topology {pool:?}"), Topologies { pools })
    }

    fn moves(&self, pool: Option<String>) -> Answer<'_, Moves> {
        let answer = Moves {
            moves: vec![json!({ "pool": "cache", "state": "armed" })],
            text: "pool 'cache': move m is armed\n".to_owned(),
        };
        self.answer(format!("moves {pool:?}"), answer)
    }

    fn commands(&self, pool: Option<String>) -> Answer<'_, Commands> {
        let command = CommandUse {
            pool: "cache".to_owned(),
            command: "get".to_owned(),
            class: "read".to_owned(),
            calls: 4,
            total_us: 1000,
            p50_us: Some(256),
            ..CommandUse::default()
        };
        let commands = vec![command];
        self.answer(format!("commands {pool:?}"), Commands { commands })
    }

    fn refusals(&self, pool: Option<String>) -> Answer<'_, Refusals> {
        let refused = RefusedCommand {
            pool: "cache".to_owned(),
            command: "swapdb".to_owned(),
            reason: "unsupported_command".to_owned(),
            count: 2,
            reply: "ERR no\u{1b}[2J".to_owned(),
            ..RefusedCommand::default()
        };
        let refusals = vec![refused];
        self.answer(format!("refusals {pool:?}"), Refusals { refusals })
    }

    fn change_server(&self, change: ServerChange, server: ServerRef) -> Answer<'_, ChangedServer> {
        let ServerRef { server, pool } = server;
        let asked = format!("{change:?} {server} {pool:?}");
        let answer = ChangedServer {
            pool: pool.unwrap_or_else(|| "cache".to_owned()),
            server,
            state: match change {
                ServerChange::Drain => ServerState::Drained,
                ServerChange::Eject => ServerState::Ejected,
                ServerChange::Admit => ServerState::Live,
            },
        };
        self.answer(asked, answer)
    }

    fn fail_over(&self, failover: Failover) -> Answer<'_, FailedOver> {
        let Failover { server, to } = failover;
        let ServerRef { server, pool } = server;
        let asked = format!("failover {server} {pool:?} {to:?}");
        let answer = FailedOver {
            pool: pool.unwrap_or_else(|| "cache".to_owned()),
            server,
            old: "10.0.0.1:6379".to_owned(),
            new: "10.0.0.2:6379".to_owned(),
            by: "FAILOVER".to_owned(),
            took_ms: 140,
            warnings: vec!["a warning\u{1b}[2J".to_owned()],
        };
        self.answer(asked, answer)
    }

    fn reload(&self, reload: Reload) -> Answer<'_, Reloaded> {
        let Reload { check, swap } = reload;
        let change = |pool: &String| PoolChange {
            pool: pool.clone(),
            change: ChangeKind::Changed,
            details: vec!["server 's5' is added".to_owned()],
            moved_share: Some(0.1975),
        };
        let pools = swap.iter().map(change).collect();
        let answer = Reloaded {
            applied: !check,
            pools,
        };
        self.answer(format!("reload {check} {swap:?}"), answer)
    }

    fn diff(&self, diff: Diff) -> Answer<'_, Differences> {
        let Diff { file, name } = diff;
        let answer = Differences {
            text: "no difference\n".to_owned(),
            refusals: vec!["a reason\u{1b}[2J".to_owned()],
            ..Differences::default()
        };
        self.answer(format!("diff {name}: {file}"), answer)
    }

    fn log_level(&self) -> Answer<'_, LogLevel> {
        self.answer("log level".to_owned(), LogLevel::default())
    }

    fn set_log_level(&self, level: SetLogLevel) -> Answer<'_, LogLevel> {
        self.answer(format!("{level:?}"), LogLevel::default())
    }

    fn upgrade(&self, upgrade: Upgrade) -> Answer<'_, Upgraded> {
        let answer = Upgraded {
            old_pid: 7,
            new_pid: 8,
            version: "2\u{1b}[2J".to_owned(),
            moved: 3,
            left: 1,
            within_seconds: 60,
        };
        self.answer(format!("{upgrade:?}"), answer)
    }

    fn take_over(&self, _stream: oneshot::Receiver<UnixStream>) -> Answer<'_, ()> {
        self.answer("take over".to_owned(), ())
    }

    fn stop(&self) -> Answer<'_, Stopping> {
        self.answer("stop".to_owned(), Stopping::default())
    }
}

/// A socket with a scripted proxy behind it.
pub(super) struct Stage {
    script: Arc<Script>,
    socket: PathBuf,
    _stop: DropGuard,
    _dir: TempDir,
}

impl Stage {
    pub(super) fn set() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("ctl.sock");
        let script = Arc::new(Script::default());
        let (stop, bound) = (CancellationToken::new(), channel());
        let (control, path) = (Arc::clone(&script) as Arc<dyn Control>, socket.clone());
        let serve = async move |is_bound: Sender<()>, stop| {
            let socket = api::bind(&path).unwrap();
            is_bound.send(()).unwrap();
            api::serve(socket, control, AcceptGate::default(), stop).await;
        };
        let (is_bound, stopped) = (bound.0, stop.clone());
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(is_bound, stopped));
        });
        bound.1.recv().unwrap();
        Self {
            script,
            socket,
            _stop: stop.drop_guard(),
            _dir: dir,
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        ctl(&[&["--admin", self.socket.to_str().unwrap()], args].concat())
    }

    /// The text of a command that succeeds, and what the proxy was asked.
    pub(super) fn ask(&self, args: &[&str]) -> (String, String) {
        let output = self.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
        let asked = std::mem::take(&mut *self.script.asked.lock().unwrap());
        (String::from_utf8(output.stdout).unwrap(), asked.join("\n"))
    }
}

#[test]
fn moves_are_shown_as_their_status() {
    let stage = Stage::set();
    let (text, asked) = stage.ask(&["moves", "cache"]);
    assert_eq!(asked, r#"moves Some("cache")"#);
    assert_eq!(text, "pool 'cache': move m is armed\n");
    let (json, _) = stage.ask(&["moves", "--json"]);
    assert!(json.contains(r#""state":"armed""#), "{json}");
}

#[test]
fn commands_and_refusals_are_shown_as_tables() {
    let stage = Stage::set();
    let (text, asked) = stage.ask(&["commands", "cache"]);
    assert_eq!(asked, r#"commands Some("cache")"#);
    let words = |line: usize| {
        let line = text.lines().nth(line).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(words(0).starts_with("POOL COMMAND CLASS CALLS ERRORS REFUSED MEAN(us)"));
    assert_eq!(words(1), "cache get read 4 0 0 250 256 - -");
    let (text, asked) = stage.ask(&["refusals"]);
    assert_eq!(asked, "refusals None");
    assert!(
        text.ends_with("unsupported_command      2       0  ERR no\\u{1b}[2J\n"),
        "{text}"
    );
}

#[test]
fn topology_shows_each_fact_with_its_source_and_age() {
    let stage = Stage::set();
    let (text, asked) = stage.ask(&["topology"]);
    assert_eq!(asked, "topology None");
    let of = |pool: &str| {
        format!(
            "pool {pool}: epoch 3, placement 2\n\
             SERVER       ADDRESS   PRIMARY        RESOLVED       WEIGHT  STATE\n\
             s1\\u{{1b}}[2J  one:6379  10.0.0.1:6379  10.0.0.1:6379       1  drained\n\
             \n\
             SOURCE    SERVER  AGE(s)  FACT\n\
             file      -         3600  1 server\n\
             operator  s1          40  drained\n"
        )
    };
    assert_eq!(text, format!("{}\n{}", of("cache"), of("other")));
    assert_eq!(
        stage.ask(&["topology", "cache"]).1,
        "topology Some(\"cache\")"
    );
    let (json, _) = stage.ask(&["topology", "--json"]);
    let value: Value = serde_json::from_str(&json).unwrap();
    let fact = json!({"source": "operator", "server": "s1", "text": "drained", "age_seconds": 40});
    assert_eq!(value["pools"][1]["facts"][1], fact);
}

#[test]
fn failover_tells_the_new_primary_and_warnings() {
    let stage = Stage::set();
    let expected = "server s1 of pool cache: primary is 10.0.0.2:6379 now, was 10.0.0.1:6379; 140 ms by FAILOVER\n\
                    warning: a warning\\u{1b}[2J\n";
    let (text, asked) = stage.ask(&["failover", "s1"]);
    assert_eq!(
        (text.as_str(), asked.as_str()),
        (expected, "failover s1 None None")
    );
    let (_, asked) = stage.ask(&["failover", "--pool", "q", "s1", "--to", "[::1]:7"]);
    assert_eq!(asked, "failover s1 Some(\"q\") Some([::1]:7)");
}

#[test]
fn upgrade_tells_which_process_has_the_clients() {
    let stage = Stage::set();
    let expected = "process 8 (version 2\\u{1b}[2J) serves; clients taken over: 3\n\
                    process 7 keeps 1 client, for at most 60 s\n";
    let (text, asked) = stage.ask(&["upgrade"]);
    assert_eq!(text, expected);
    assert_eq!(asked, "Upgrade { binary: None }");
    let (_, asked) = stage.ask(&["upgrade", "/new"]);
    assert_eq!(asked, "Upgrade { binary: Some(\"/new\") }");
}

#[test]
fn servers_are_drained_ejected_and_admitted() {
    let stage = Stage::set();
    for (command, asked, state) in [
        ("drain", "Drain s1 None", "drained"),
        ("eject", "Eject s1 None", "ejected"),
        ("admit", "Admit s1 None", "live"),
    ] {
        let expected = format!("server s1 of pool cache: {state}\n");
        assert_eq!(stage.ask(&[command, "s1"]), (expected, asked.to_owned()));
    }
    let (json, asked) = stage.ask(&["--json", "drain", "--pool", "p q", "127.0.0.1:6379"]);
    let expected = "{\"pool\":\"p q\",\"server\":\"127.0.0.1:6379\",\"state\":\"drained\"}\n";
    assert_eq!(json, expected);
    assert_eq!(asked, "Drain 127.0.0.1:6379 Some(\"p q\")");
}

#[test]
fn reload_reports_what_changes() {
    let stage = Stage::set();
    let change = "pool cache: changed; 19.8% of the keys are looked for on another server\n  \
                  server 's5' is added\n";
    let cases: [(&[&str], &str, &str); 4] = [
        (
            &["reload"],
            "reload false []",
            "reloaded: the file says what the proxy does already\n",
        ),
        (
            &["reload", "--check"],
            "reload true []",
            "checked: nothing would change\n",
        ),
        (
            &["reload", "--swap", "cache"],
            "reload false [\"cache\"]",
            &format!("reloaded\n{change}"),
        ),
        (
            &["reload", "--check", "--swap=cache", "--swap", "b"],
            "reload true [\"cache\", \"b\"]",
            &format!(
                "checked: nothing was changed; a reload would do this\n{change}{}",
                change.replace("cache", "b")
            ),
        ),
    ];
    for (args, asked, text) in cases {
        assert_eq!(stage.ask(args), (text.to_owned(), asked.to_owned()));
    }
}

#[test]
fn diff_sends_the_text_and_exits_1_if_refused() {
    let stage = Stage::set();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.yml");
    std::fs::write(&file, "\"text\"\n").unwrap();
    let name = file.to_str().unwrap();
    let output = stage.run(&["diff", name]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "no difference\na reload would be refused\n  a reason\\u{1b}[2J\n"
    );
    let asked = std::mem::take(&mut *stage.script.asked.lock().unwrap());
    assert_eq!(asked, [format!("diff {name}: \"text\"\n")]);
}

#[test]
fn refusal_has_its_status_and_its_details() {
    let stage = Stage::set();
    let details = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (server, pool) = ("s1".to_owned(), "cache".to_owned());
    let cases = [
        (
            ControlError::UnknownServer {
                server: server.clone(),
                pool: None,
            },
            404,
            "no server 's1' in any pool",
            &[][..],
        ),
        (
            ControlError::UnknownServer {
                server: server.clone(),
                pool: Some(pool),
            },
            404,
            "no server 's1' in pool 'cache'",
            &[],
        ),
        (
            ControlError::AmbiguousServer {
                server,
                pools: details(&["a", "b"]),
            },
            400,
            "several pools have a server 's1'; name one of them",
            &["a", "b"],
        ),
        (
            ControlError::Reloading,
            409,
            "another reload is in progress",
            &[],
        ),
        (
            ControlError::FaultyFile(details(&["p.yml:3: x", "p.yml:9: y"])),
            422,
            "the configuration file is invalid; nothing was changed",
            &["p.yml:3: x", "p.yml:9: y"],
        ),
        (
            ControlError::Refused {
                reason: "24.8% would move".to_owned(),
                details: details(&["use --swap"]),
            },
            409,
            "24.8% would move",
            &["use --swap"],
        ),
    ];
    for (refusal, status, error, lines) in cases {
        *stage.script.refusal.lock().unwrap() = Some(refusal);
        let output = stage.run(&["--json", "reload"]);
        assert_eq!(output.status.code(), Some(1), "{error}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer, json!({"error": error, "details": lines}));
        let text = lines.iter().map(|line| format!("{line}\n"));
        let expected = format!("ringroad: {error}\n{}", text.collect::<String>());
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);

        let request = "POST /reload HTTP/1.1\r\nHost: x\r\n\r\n";
        let reply = super::site::exchange(&stage.socket, request);
        assert_eq!(reply.0, status, "{error}");
    }
}
