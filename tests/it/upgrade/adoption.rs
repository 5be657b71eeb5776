//! The old process with a new one that stops while it takes clients, and the record of a client.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use ringroad::handover::{Connection, FromNew, FromOld, RECORDS, Received};
use ringroad::protocol::{ClientRecord, Suppressed};

use super::protocol::{Step, play_new, runtime};
use super::site::Site;
use crate::support::{Client, eventually, words};

/// A client that a new process is given.
struct Given {
    number: u64,
    pool: String,
    record: ClientRecord,
    unread: Vec<u8>,
    socket: OwnedFd,
}

async fn next_client(connection: &mut Connection) -> Given {
    let Received {
        message,
        bytes,
        descriptor,
    } = connection.receiver.receive::<FromOld>().await.unwrap();
    let FromOld::Client {
        number,
        pool,
        record,
    } = message
    else {
        panic!("{message:?}");
    };
    Given {
        number,
        pool,
        record: *record,
        unread: bytes.to_vec(),
        socket: descriptor.unwrap(),
    }
}

async fn answer(connection: &Connection, answer: FromNew) {
    connection.sender.send(&answer).await.unwrap();
}

/// A client that has sent half a request, which the proxy has read.
fn half_sent(site: &Site) -> Client {
    let mut client = site.client();
    client.converse(&[("CLIENT SETNAME half", "+OK\r\n")]);
    client.send(b"*2\r\n$4\r\nINCR\r\n$1\r\nx");
    // What the same worker answers later has been read later.
    for _ in 0..20 {
        site.client().converse(&[("PING", "+PONG\r\n")]);
    }
    client
}

#[test]
fn record_has_what_the_client_has_set() {
    let site = Site::start();
    let mut client = site.client();
    client.ask("HELLO 3");
    client.ask("CLIENT SETINFO LIB-NAME lib");
    client.send(&words("CLIENT REPLY OFF"));
    client.send(&words("SUBSCRIBE news"));
    client.reply();
    client.send(b"*1\r\n$4\r\nPI");
    runtime().block_on(async {
        let mut connection = play_new(&site, Step::Serving, RECORDS).await;
        let given = next_client(&mut connection).await;
        assert_eq!(given.pool, "cache");
        let record = given.record;
        assert_eq!((record.resp, record.suppresses), (Some(3), Suppressed::All));
        assert_eq!(&*record.library.0, b"lib");
        assert_eq!(record.subscriptions.len(), 1);
        assert_eq!(&*record.subscriptions[0].name.0, b"news");
        // What was not read comes with the connection.
        let mut stream = TcpStream::from(given.socket);
        stream.set_nonblocking(false).unwrap();
        let mut sent = given.unread;
        while sent != b"*1\r\n$4\r\nPI" {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            sent.extend_from_slice(&byte);
        }
        answer(
            &connection,
            FromNew::Adopted {
                number: given.number,
            },
        )
        .await;
        let done = connection.receiver.receive::<FromOld>().await.unwrap();
        assert!(matches!(done.message, FromOld::Done { .. }), "{done:?}");
        assert_eq!(site.process().exit().code(), Some(0));
        stream.write_all(b"from the new process").unwrap();
    });
    client.expect("PING", b"from the new process");
}

#[test]
fn client_whose_adoption_was_not_said_goes_on() {
    let site = Site::start();
    let mut client = half_sent(&site);
    runtime().block_on(async {
        let mut connection = play_new(&site, Step::Serving, RECORDS).await;
        // Of those that have gone the proxy may not have heard yet.
        while &*next_client(&mut connection).await.record.name.0 != b"half" {}
        // It dies with the client in its hands.
    });
    site.process()
        .await_output("upgrade: the other process has ended");
    client.send(b"\r\n");
    client.expect("INCR", b":1\r\n");
    client.converse(&[("CLIENT GETNAME", "$4\r\nhalf\r\n"), ("INCR x", ":2\r\n")]);
    site.upgrade();
    client.converse(&[("INCR x", ":3\r\n")]);
}

#[test]
fn client_that_is_refused_finishes_and_is_closed() {
    let site = Site::start();
    let mut client = site.client();
    client.converse(&[("PING", "+PONG\r\n")]);
    runtime().block_on(async {
        let mut connection = play_new(&site, Step::Serving, RECORDS).await;
        let given = next_client(&mut connection).await;
        let reason = "no room".to_owned();
        let number = given.number;
        answer(&connection, FromNew::Refused { number, reason }).await;
        drop(given.socket);
        let done = connection.receiver.receive::<FromOld>().await.unwrap();
        assert!(matches!(done.message, FromOld::Done { .. }), "{done:?}");
    });
    client.expect_close();
    assert_eq!(site.process().exit().code(), Some(0));
    let said = site.process().output();
    assert!(
        said.contains("client stays, and is drained") && said.contains("no room"),
        "{said}"
    );
}

#[test]
fn unknown_record_drains_the_clients() {
    let site = Site::start();
    let mut client = site.client();
    client.converse(&[("PING", "+PONG\r\n")]);
    runtime().block_on(async {
        let mut connection = play_new(&site, Step::Serving, &[99]).await;
        let done = connection.receiver.receive::<FromOld>().await.unwrap();
        assert!(matches!(done.message, FromOld::Done { .. }), "{done:?}");
    });
    client.expect_close();
    assert_eq!(site.process().exit().code(), Some(0));
}

#[test]
fn blocked_client_is_sent_as_its_request() {
    let site = Site::start();
    let mut client = site.client();
    client.send(&[words("BLPOP {q}1 {q}2 0"), words("PING")].concat());
    eventually("it is blocked", || {
        let clients = site.ctl(&["clients", "cache"]);
        (clients["clients"][0]["blocked"] == true).then_some(())
    });
    runtime().block_on(async {
        let mut connection = play_new(&site, Step::Serving, RECORDS).await;
        let given = next_client(&mut connection).await;
        let expected = [words("BLPOP {q}1 {q}2 0"), words("PING")].concat();
        assert!(
            expected.starts_with(&given.unread),
            "{:?}",
            given.unread.escape_ascii().to_string()
        );
        assert!(given.unread.starts_with(&words("BLPOP {q}1 {q}2 0")));
        // No server pops for it any more.
        let direct = |command: &str| [0, 1].map(|nth| site.server(nth).ask(command));
        direct("RPUSH {q}1 x");
        assert_eq!(
            direct("LLEN {q}1"),
            [b":1\r\n".to_vec(), b":1\r\n".to_vec()]
        );
        direct("DEL {q}1");
    });
    // The new process has died: the old one asks again.
    site.client().converse(&[("RPUSH {q}2 y", ":1\r\n")]);
    client.expect("BLPOP", b"*2\r\n$4\r\n{q}2\r\n$1\r\ny\r\n+PONG\r\n");
}
