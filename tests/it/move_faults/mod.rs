//! A fault at every step of a move, between real servers and under load: what was acknowledged is there, once, and the
//! move comes to its end.
//!
//! A step is a request of the coordinator to a server, which is held up on its way, or its reply is, until the fault has
//! happened. `FAULTS=all cargo test --test it -- move_faults` tries each fault before and after each request, `FAULTS=3,25`
//! those of the cases that have these numbers in the output; without it a sixth of all is tried.

mod tripwire;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use self::tripwire::{Moment, Sprung, Step, Trap, Traps, Tripwire};
use crate::books::Load;
use crate::support::{Kind, Launch, PATIENCE, Pool, Process, Proxy, RedisServer, eventually};

/// The steps, as the requests in which they begin, each with the number of the request of its kind.
const STEPS: [(Step, u32); 18] = [
    (Step::Mark("arm"), 1),
    (Step::Mark("arm"), 2),
    (Step::Mark("arm"), 3),
    (Step::Command(&["CLIENT", "TRACKING"]), 1),
    (Step::Command(&["RESTORE"]), 5),
    (Step::Mark("hold"), 1),
    (Step::Command(&["CLIENT", "LIST"]), 2),
    (Step::Mark("abort"), 1),
    (Step::Mark("hold"), 3),
    (Step::Mark("intend"), 1),
    (Step::Mark("intend"), 3),
    (Step::Mark("commit"), 1),
    (Step::Mark("commit"), 3),
    (Step::Mark("copy"), 1),
    (Step::Mark("copy"), 4),
    (Step::Command(&["UNLINK"]), 1),
    (Step::Mark("finish"), 1),
    (Step::Mark("finish"), 3),
];

/// The steps in which a coordinator may not lead yet.
const BEGINNING: [Step; 2] = [Step::Mark("arm"), Step::Command(&["CLIENT", "TRACKING"])];

const START: [&str; 7] = ["reshard", "start", "--yes", "-c", "NOW", "--to", "TO"];

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The coordinator is killed; another one goes on.
    CoordinatorKilled,
    /// It is frozen, another one goes on to the end, and it wakes.
    CoordinatorFrozen,
    /// Its connection to the server ends.
    ConnectionCut,
    /// A proxy is killed, and started again from the first file.
    ProxyKilled,
    /// A proxy is frozen until the end.
    ProxyFrozen,
    /// The server is killed, and started again with its log.
    ServerKilled,
    /// Another one is.
    OtherServerKilled,
    /// The server is killed, and its address leads to its replica, which has all that was acknowledged.
    ServerFailedOver,
}

/// Three servers, two proxies, clients, and the files of a pool of two servers and of all three.
struct Stage {
    servers: Vec<RedisServer>,
    /// Those that have replicas.
    replicas: Vec<RedisServer>,
    wires: Vec<Tripwire>,
    traps: Traps,
    pools: [Pool; 2],
    paths: [PathBuf; 2],
    proxies: [Proxy; 2],
    load: Load,
    /// The index of the file that is in force.
    now: usize,
    _dir: TempDir,
}

impl Stage {
    fn new(server: impl Fn(&[&str]) -> RedisServer, has_replicas: bool) -> Self {
        // So that what a server has acknowledged outlives it: it is written then, though not yet on a disk.
        let options = [
            "--appendonly",
            "yes",
            "--appendfsync",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ];
        let servers: Vec<_> = (0..3).map(|_| server(&options)).collect();
        let traps = Traps::default();
        let primaries = servers.iter().filter(|_| has_replicas);
        let replicas: Vec<_> = primaries
            .map(|primary| {
                let replica = server(&options);
                follow(&replica, primary);
                replica
            })
            .collect();
        let wires = servers.iter().enumerate();
        let wires = wires.map(|(nth, server)| Tripwire::before(server.address(), nth, &traps));
        let wires: Vec<_> = wires.collect();
        let addresses: Vec<_> = wires.iter().map(Tripwire::address).collect();
        let pools = [2, 3].map(|count| {
            Pool::at(addresses.iter().take(count).copied())
                .with("placement_guard", true)
                .with("server_retry_timeout", 20)
        });
        let dir = tempfile::tempdir().unwrap();
        let paths = ["two.yml", "three.yml"].map(|name| dir.path().join(name));
        for (path, pool) in paths.iter().zip(&pools) {
            let listen = "127.0.0.1:22121".parse().unwrap();
            std::fs::write(path, pool.yaml(listen)).unwrap();
        }
        let proxies = [(); 2].map(|()| start_proxy(&pools[0]));
        let mut client = proxies[0].client();
        for n in 0..200 {
            assert_eq!(client.ask(&format!("SET k{n} {n}")), b"+OK\r\n");
        }
        let load = Load::start(proxies.iter().map(Proxy::address));
        Self {
            servers,
            replicas,
            wires,
            traps,
            pools,
            paths,
            proxies,
            load,
            now: 0,
            _dir: dir,
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let [now, to] = [self.now, 1 - self.now].map(|nth| self.paths[nth].as_os_str());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        command.stdin(Stdio::null());
        for word in words {
            command.arg(match *word {
                "NOW" => now,
                "TO" => to,
                word => word.as_ref(),
            });
        }
        command
    }

    /// Moves from one file to the other with a fault on the way, and checks everything.
    fn try_fault(&mut self, case: u32, fault: Fault, trap: Trap) {
        self.load.begin(case, &mut self.proxies[0].client());
        self.load.wait_for_rounds(30);
        let last = self.status()["move"].clone();
        let sprung = self.traps.set(trap);
        let coordinator = Process::spawn(self.command(&START));
        let sprung = await_trap(&sprung, &coordinator);
        self.inflict(fault, trap.moment, (sprung, &last), &coordinator);
        if fault == Fault::CoordinatorKilled {
            self.go_on(&last);
        } else if fault != Fault::CoordinatorFrozen && end_of(&coordinator) != Some(0) {
            // It gives up if it has not led yet.
            assert!(BEGINNING.contains(&trap.step), "{}", coordinator.output());
            self.go_on(&last);
        }
        self.recover(fault);
        self.load.wait_for_rounds(30);
        let verified = self.command(&["verify", "-c", "TO"]).output().unwrap();
        assert!(verified.status.success(), "{verified:?}");
        for proxy in &self.proxies {
            let mut client = proxy.client();
            // A connection to a server that was restarted may wait for its next attempt.
            eventually("all servers answer", || {
                let mut keys = (0..200).map(|n| format!("GET k{n}"));
                let is_refused = keys.any(|get| client.ask(&get).starts_with(b"-"));
                (!is_refused).then_some(())
            });
            self.load.check(&mut client);
            for n in 0..200 {
                let found = client.ask(&format!("GET k{n}"));
                let digits = n.to_string();
                let expected = format!("${}\r\n{digits}\r\n", digits.len());
                assert_eq!(found, expected.as_bytes(), "k{n}");
            }
        }
        self.now = 1 - self.now;
    }

    fn inflict(
        &mut self,
        fault: Fault,
        moment: Moment,
        (sprung, last): (Sprung, &Value),
        coordinator: &Process,
    ) {
        match fault {
            Fault::CoordinatorKilled => {
                coordinator.kill();
                match moment {
                    Moment::Before => sprung.cut(),
                    Moment::After => sprung.pass(),
                }
            }
            Fault::CoordinatorFrozen => {
                coordinator.freeze();
                self.go_on(last);
                sprung.pass();
                coordinator.signal(Signal::CONT);
                assert_ne!(end_of(coordinator), None, "{}", coordinator.output());
            }
            Fault::ConnectionCut => sprung.cut(),
            Fault::ProxyKilled => {
                self.load.expect_failures();
                self.proxies[1].process().kill();
                sprung.pass();
            }
            Fault::ProxyFrozen => {
                self.load.expect_failures();
                self.proxies[1].process().freeze();
                sprung.pass();
            }
            Fault::ServerKilled | Fault::OtherServerKilled => {
                self.load.expect_failures();
                let other = usize::from(fault == Fault::OtherServerKilled);
                let server = (sprung.server + other) % self.servers.len();
                self.servers[server].restart();
                sprung.pass();
            }
            Fault::ServerFailedOver => {
                self.load.expect_failures();
                self.fail_over(sprung.server);
                sprung.pass();
            }
        }
    }

    /// Kills a server in whose place its replica serves from now on; then it is the replica.
    fn fail_over(&mut self, nth: usize) {
        let closed = self.load.close();
        let (server, replica) = (&mut self.servers[nth], &mut self.replicas[nth]);
        // It waits for what this connection has written: one that has written nothing is told of any replica.
        let mut client = server.client();
        assert_eq!(client.ask("SET failover 1"), b"+OK\r\n");
        assert_eq!(client.ask("UNLINK failover"), b":1\r\n");
        assert_eq!(client.ask("WAIT 1 10000"), b":1\r\n");
        server.kill();
        assert_eq!(replica.ask("REPLICAOF NO ONE"), b"+OK\r\n");
        self.wires[nth].point_to(replica.address());
        drop(closed);
        std::mem::swap(server, replica);
        replica.restart();
        follow(replica, server);
    }

    /// Has another coordinator go on, or begin if there is no move yet since the one with this id.
    fn go_on(&self, last: &Value) {
        let status = self.status();
        let words: &[&str] = if status["state"] == "armed" {
            &["reshard", "run", "--yes", "-c", "NOW"]
        } else if status["move"] == *last {
            &START
        } else {
            assert_eq!(status["state"], "done", "{status}");
            return;
        };
        let output = self.command(words).output().unwrap();
        assert!(
            output.status.success(),
            "{words:?} after {status}: {output:?}"
        );
    }

    fn status(&self) -> Value {
        let words = ["reshard", "status", "-c", "NOW", "--json"];
        let output = self.command(&words).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Brings the proxies back.
    fn recover(&mut self, fault: Fault) {
        match fault {
            Fault::ProxyKilled => {
                self.proxies[1] = start_proxy(&self.pools[0]);
                self.load.move_proxy(1, self.proxies[1].address());
            }
            Fault::ProxyFrozen => self.proxies[1].process().signal(Signal::CONT),
            _ => {}
        }
    }
}

/// Makes one the replica of the other, and waits until it is.
fn follow(replica: &RedisServer, primary: &RedisServer) {
    let (ip, port) = (primary.address().ip(), primary.address().port());
    let reply = replica.ask(&format!("REPLICAOF {ip} {port}"));
    assert_eq!(reply, b"+OK\r\n");
    eventually("the replica follows", || {
        let info = replica.ask("INFO replication");
        String::from_utf8_lossy(&info)
            .contains("master_link_status:up")
            .then_some(())
    });
}

fn start_proxy(pool: &Pool) -> Proxy {
    let launch = Launch {
        args: vec!["--workers".to_owned(), "2".to_owned()],
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}

/// The exit code of a coordinator: a whole move takes long on a busy machine.
fn end_of(coordinator: &Process) -> Option<i32> {
    let status = coordinator.exit_within(10 * PATIENCE);
    let status = status.unwrap_or_else(|| panic!("it goes on: {}", coordinator.output()));
    status.code()
}

fn await_trap(sprung: &Receiver<Sprung>, coordinator: &Process) -> Sprung {
    loop {
        match sprung.recv_timeout(Duration::from_millis(20)) {
            Ok(sprung) => return sprung,
            Err(RecvTimeoutError::Timeout) => {
                let exited = coordinator.exit_within(Duration::ZERO);
                assert_eq!(exited, None, "too early: {}", coordinator.output());
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("the trap is set"),
        }
    }
}

/// Tries faults at the steps, at both moments: those that `FAULTS` chooses.
fn try_faults(server: impl Fn(&[&str]) -> RedisServer, faults: &[Fault]) {
    let has_replicas = faults.contains(&Fault::ServerFailedOver);
    let mut stage = Stage::new(server, has_replicas);
    let mut case = 0;
    for (nth_fault, fault) in faults.iter().enumerate() {
        for (nth_step, (step, nth)) in STEPS.into_iter().enumerate() {
            for (nth_moment, moment) in [Moment::Before, Moment::After].into_iter().enumerate() {
                case += 1;
                let by_default = (nth_fault + nth_step) % 6 == 3 * nth_moment;
                if is_chosen(case).unwrap_or(by_default) {
                    eprintln!("{case}: {fault:?} {moment:?} {nth} x {step:?}");
                    stage.try_fault(case, *fault, Trap { step, nth, moment });
                }
            }
        }
    }
    stage.load.end();
}

fn is_chosen(case: u32) -> Option<bool> {
    let chosen = std::env::var("FAULTS").ok()?;
    let is_number = |number: &str| number.parse() == Ok(case);
    Some(chosen == "all" || chosen.split(',').any(is_number))
}

#[test]
fn coordinator_fails_at_steps_of_a_move() {
    let faults = [
        Fault::CoordinatorKilled,
        Fault::CoordinatorFrozen,
        Fault::ConnectionCut,
    ];
    try_faults(RedisServer::start_with, &faults);
}

#[test]
fn proxy_fails_at_steps_of_a_move() {
    let faults = [Fault::ProxyKilled, Fault::ProxyFrozen];
    try_faults(RedisServer::start_with, &faults);
}

#[test]
fn server_fails_at_steps_of_a_move() {
    let faults = [Fault::ServerKilled, Fault::OtherServerKilled];
    try_faults(RedisServer::start_with, &faults);
}

#[test]
fn server_fails_over_at_steps_of_a_move() {
    try_faults(RedisServer::start_with, &[Fault::ServerFailedOver]);
}

#[test]
fn valkey_fails_at_steps_of_a_move() {
    let faults = [
        Fault::CoordinatorKilled,
        Fault::ServerKilled,
        Fault::ServerFailedOver,
    ];
    try_faults(RedisServer::valkey_with, &faults);
}
