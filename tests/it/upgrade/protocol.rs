//! Each side of the protocol against one that stops at each step, by death, by silence, or by saying so.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use ringroad::handover::{
    Connection, FromNew, FromOld, Hello, PROTOCOLS, PoolName, RECORDS, Received, TakeOver, Welcome,
};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::site::{Connector, Site, await_end};
use crate::support::{PATIENCE, Process, eventually};

pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A step of a new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Connected,
    Greeted,
    HasSockets,
    Ready,
    Serving,
}

/// One of an earlier version, of which no signs of life are wanted. Its id is not that of the test, which must not be killed.
fn hello(records: &[u32]) -> Hello {
    Hello {
        protocols: vec![1],
        records: records.to_vec(),
        pid: 0,
        version: "9.9".to_owned(),
    }
}

fn pools() -> Vec<PoolName> {
    let pool = |pool: &str, protocol: &str| PoolName {
        pool: pool.to_owned(),
        protocol: protocol.to_owned(),
    };
    vec![pool("cache", "redis"), pool("mc", "memcached")]
}

async fn receive(connection: &mut Connection) -> Received<FromOld> {
    connection.receiver.receive().await.unwrap()
}

/// Plays a new process until after `last`, and returns the connection.
pub(super) async fn play_new(site: &Site, last: Step, records: &[u32]) -> Connection {
    let take_over = TakeOver::request(&site.socket()).unwrap();
    let mut connection = take_over.into_connection().unwrap();
    if last >= Step::Greeted {
        connection.sender.send(&hello(records)).await.unwrap();
        let welcome = receive(&mut connection).await.message;
        assert!(matches!(welcome, FromOld::Welcome(_)), "{welcome:?}");
    }
    if last >= Step::HasSockets {
        let mut sockets = 0;
        while let Received {
            message: FromOld::Socket(_),
            descriptor,
            ..
        } = receive(&mut connection).await
        {
            assert!(descriptor.is_some());
            sockets += 1;
        }
        assert!(sockets >= 4, "two pools, the stats port, the admin socket");
    }
    if last >= Step::Ready {
        let ready = FromNew::Ready {
            pools: pools(),
            sockets: None,
        };
        connection.sender.send(&ready).await.unwrap();
        let serve = receive(&mut connection).await.message;
        assert!(matches!(serve, FromOld::Serve { .. }), "{serve:?}");
    }
    if last >= Step::Serving {
        connection.sender.send(&FromNew::Serving).await.unwrap();
    }
    connection
}

/// Waits until the old process has said so that often.
fn await_failures(site: &Site, line: &str, count: usize) {
    eventually("the old process goes on", || {
        (site.process().output().matches(line).count() == count).then_some(())
    });
}

const BEFORE_SERVING: [Step; 4] = [
    Step::Connected,
    Step::Greeted,
    Step::HasSockets,
    Step::Ready,
];

#[test]
fn new_process_that_dies_before_it_serves_changes_nothing() {
    let site = Site::start();
    let connector = Connector::start(&site);
    let mut failures = 0;
    for step in BEFORE_SERVING {
        runtime().block_on(async { drop(play_new(&site, step, &[]).await) });
        failures += 1;
        await_failures(&site, "upgrade: the other process has ended", failures);
        connector.go_on();
        site.assert_serves(site.process().pid());
    }
    connector.end();
    site.upgrade();
}

#[test]
fn new_process_that_gives_up_is_believed() {
    let site = Site::start();
    for step in &BEFORE_SERVING[1..] {
        runtime().block_on(async {
            let mut connection = play_new(&site, *step, &[]).await;
            let reason = format!("stopped after {step:?}");
            let failed = FromNew::Failed { reason };
            connection.sender.send(&failed).await.unwrap();
            // What was on its way comes first.
            while !matches!(
                receive(&mut connection).await.message,
                FromOld::Abort { .. }
            ) {}
        });
        site.process()
            .await_output(&format!("upgrade: stopped after {step:?}"));
        site.assert_serves(site.process().pid());
    }
}

#[test]
fn new_process_that_is_silent_is_given_up() {
    let site = Site::start();
    for (step, seconds) in [(Step::Connected, 5), (Step::Ready, 3)] {
        runtime().block_on(async {
            let mut connection = play_new(&site, step, &[]).await;
            let message = receive(&mut connection).await.message;
            let FromOld::Abort { reason } = message else {
                panic!("{message:?}");
            };
            assert_eq!(
                reason,
                format!("no answer of the other process within {seconds}s")
            );
        });
        site.client().converse(&[("PING", "+PONG\r\n")]);
    }
}

#[test]
fn unknown_version_of_the_protocol_is_refused() {
    let site = Site::start();
    runtime().block_on(async {
        let mut connection = play_new(&site, Step::Connected, &[]).await;
        let hello = Hello {
            protocols: vec![99],
            ..hello(&[])
        };
        connection.sender.send(&hello).await.unwrap();
        let message = receive(&mut connection).await.message;
        let FromOld::Abort { reason } = message else {
            panic!("{message:?}");
        };
        assert!(reason.contains("restart it instead"), "{reason}");
    });
    site.assert_serves(site.process().pid());
}

#[test]
fn garbage_of_a_new_process_changes_nothing() {
    let site = Site::start();
    let mut failures = 0;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 9]] {
        let mut stream = UnixStream::connect(site.socket()).unwrap();
        let request = "POST /take-over HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: ringroad-take-over\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        stream.write_all(garbage).unwrap();
        failures += 1;
        await_failures(
            &site,
            "upgrade: malformed message of the other process",
            failures,
        );
        site.assert_serves(site.process().pid());
    }
}

#[test]
fn second_new_process_is_refused_while_one_takes_over() {
    let site = Site::start();
    runtime().block_on(async {
        let _first = play_new(&site, Step::HasSockets, &[]).await;
        let second = TakeOver::request(&site.socket()).unwrap_err().to_string();
        assert!(
            second.contains("another process is taking over already"),
            "{second}"
        );
        let words = site.refusal(&["upgrade"]);
        assert!(words.contains("an upgrade is under way already"), "{words}");
        let words = site.refusal(&["reload"]);
        assert!(words.contains("an upgrade is under way"), "{words}");
    });
}

/// A step of an old process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum OldStep {
    Connected,
    Greeted,
    SentSockets,
    HeardReady,
    Served,
}

/// Plays an old process, without sockets, until after `last`.
fn play_old(listener: &UnixListener, last: OldStep) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    assert!(head.starts_with(b"POST /take-over "));
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .unwrap();
    if last >= OldStep::Greeted {
        let hello = read_frame(&mut stream);
        assert_eq!(hello["protocols"], json!(PROTOCOLS));
        assert_eq!(hello["records"], json!(RECORDS));
        let welcome = Welcome {
            protocol: 1,
            ..Welcome::default()
        };
        write_frame(&mut stream, &FromOld::Welcome(welcome));
    }
    if last >= OldStep::SentSockets {
        write_frame(&mut stream, &json!({ "kind": "complete", "sockets": 0 }));
    }
    if last >= OldStep::HeardReady {
        assert_eq!(read_frame(&mut stream)["kind"], "ready");
    }
    if last >= OldStep::Served {
        write_frame(
            &mut stream,
            &json!({ "kind": "serve", "client_ids_from": 1 }),
        );
        assert_eq!(read_frame(&mut stream)["kind"], "serving");
    }
    stream
}

fn read_frame(stream: &mut UnixStream) -> serde_json::Value {
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes(head[..4].try_into().unwrap());
    let mut json = vec![0; length as usize];
    stream.read_exact(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn write_frame(stream: &mut UnixStream, message: &impl serde::Serialize) {
    let json = serde_json::to_vec(message).unwrap();
    let mut frame = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&[0; 5]);
    frame.extend_from_slice(&json);
    stream.write_all(&frame).unwrap();
}

/// A new process of a site whose old one has gone, and what it took over from.
fn start_new(site: &Site) -> (Process, UnixListener) {
    site.process().kill();
    let path = site.dir().join("old.sock");
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(&path).unwrap();
    let mut command = site.command();
    command.process_group(0).args(["--take-over", "old.sock"]);
    (Process::spawn(command), listener)
}

#[test]
fn old_process_that_dies_early_leaves_no_new_one() {
    for step in [OldStep::Connected, OldStep::Greeted] {
        let site = Site::start();
        let (new, listener) = start_new(&site);
        drop(play_old(&listener, step));
        assert_eq!(new.exit().code(), Some(1), "{}", new.output());
        let said = new.output();
        assert!(said.contains("take-over: "), "{said}");
    }
}

#[test]
fn old_process_that_dies_late_is_replaced_nevertheless() {
    for step in [OldStep::SentSockets, OldStep::HeardReady, OldStep::Served] {
        let site = Site::start();
        let (new, listener) = start_new(&site);
        drop(play_old(&listener, step));
        new.await_output("this process serves in the place of the old one");
        site.client().converse(&[("PING", "+PONG\r\n")]);
        assert_eq!(site.pid_file(), new.pid().to_string());
    }
}

#[test]
fn old_process_that_goes_on_ends_the_new_one() {
    for step in [
        OldStep::Greeted,
        OldStep::SentSockets,
        OldStep::HeardReady,
        OldStep::Served,
    ] {
        let site = Site::start();
        let (new, listener) = start_new(&site);
        let mut old = play_old(&listener, step);
        write_frame(&mut old, &json!({ "kind": "abort", "reason": "tired" }));
        // A new process that serves already finishes what it has begun.
        let code = i32::from(step != OldStep::Served);
        assert_eq!(new.exit().code(), Some(code), "{step:?}: {}", new.output());
        assert!(new.output().contains("tired"), "{}", new.output());
    }
}

#[test]
fn old_process_that_is_silent_is_not_waited_for() {
    let site = Site::start();
    let (new, listener) = start_new(&site);
    let _old = play_old(&listener, OldStep::SentSockets);
    let status = new.exit_within(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(
        new.output()
            .contains("no answer of the other process within")
    );
}

#[test]
fn killed_old_process_is_replaced_or_goes_with_the_new_one() {
    let site = Site::start();
    let old = site.process().pid();
    let new = site.upgrade();
    site.process().kill();
    await_end(old);
    site.assert_serves(new);
}
