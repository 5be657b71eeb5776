//! Writes that time out at a server that hangs, and must not be executed after newer ones.

use crate::support::{
    Client, FakeServer, Launch, Pool, Proxy, RedisServer, command, eventually, show, words,
};

const OK: &str = "+OK\r\n";
const TIMED_OUT: &str = "-ERR Connection timed out\r\n";

/// Larger than what a server reads at once, and than its socket holds.
const SIZES: [usize; 4] = [70_000, 300_000, 1 << 20, 8 << 20];

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    command(&[b"SET", key.as_bytes(), value])
}

/// Has a large write of `first` time out at a hanging server, and then `second` write the same key. Returns its reply,
/// when the server goes on.
fn overwrite(
    server: &RedisServer,
    first: &mut Client,
    second: &mut Client,
    size: usize,
) -> Vec<u8> {
    let key = format!("key-{size}");
    server.stop();
    first.send(&set(&key, &vec![b'o'; size]));
    assert_eq!(show(&first.reply()), show(TIMED_OUT.as_bytes()));
    second.send(&set(&key, b"new"));
    server.cont();
    second.reply()
}

/// The value must stay when the server has read all that was sent.
fn is_new(proxy: &Proxy, server: &RedisServer, size: usize) {
    let get = format!("GET key-{size}");
    assert_eq!(show(&proxy.ask(&get)), show(b"$3\r\nnew\r\n"));
    eventually("the abandoned connections are closed", || {
        let list = server.ask("CLIENT LIST");
        let lines = list.split(|&byte| byte == b'\n');
        // The proxy's own, and that of this question.
        (lines.filter(|line| line.starts_with(b"id=")).count() <= 3).then_some(())
    });
    assert_eq!(show(&proxy.ask(&get)), show(b"$3\r\nnew\r\n"));
}

#[test]
fn late_write_is_not_executed_after_a_newer_one() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("timeout", 300));
    let mut client = proxy.client();
    client.converse(&[("SET a b", OK)]);
    for size in SIZES {
        let mut second = proxy.client();
        let reply = overwrite(&server, &mut client, &mut second, size);
        assert_eq!(show(&reply), show(OK.as_bytes()), "{size}");
        is_new(&proxy, &server, size);
    }
}

/// The newer write goes over a connection that was open before, of the same worker or of another.
#[test]
fn late_write_is_not_executed_after_one_on_an_open_connection() {
    for (workers, connections) in [(1, 2), (2, 1)] {
        let server = RedisServer::start();
        let pool = Pool::of([&server])
            .with("timeout", 1000)
            .with("server_connections", connections);
        let launch = Launch {
            args: vec![format!("--workers={workers}")],
            ..Launch::default()
        };
        let proxy = Proxy::start(crate::support::Kind::Ringroad, &pool, &launch);
        for size in SIZES {
            // Each uses its own connection.
            let mut clients = [proxy.client(), proxy.client()];
            for client in &mut clients {
                client.converse(&[("SET a b", OK)]);
            }
            let [first, second] = &mut clients;
            let reply = overwrite(&server, first, second, size);
            assert_eq!(show(&reply), show(OK.as_bytes()), "{size}");
            is_new(&proxy, &server, size);
        }
    }
}

/// Its connections have no address, so the server cannot be told to close one.
#[test]
fn late_write_over_a_unix_socket_is_not_executed_later() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("redis.sock");
    let server = RedisServer::start_with(&["--unixsocket", path.to_str().unwrap()]);
    let pool = Pool::at_unix(&path)
        .with("timeout", 600)
        .with("server_connections", 2);
    let launch = Launch {
        args: vec!["--workers=1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(crate::support::Kind::Ringroad, &pool, &launch);
    // Both fit into the socket.
    for size in [70_000, 100_000] {
        let mut clients = [proxy.client(), proxy.client()];
        for client in &mut clients {
            client.converse(&[("SET a b", OK)]);
        }
        let [first, second] = &mut clients;
        let reply = overwrite(&server, first, second, size);
        assert_eq!(show(&reply), show(OK.as_bytes()), "{size}");
        is_new(&proxy, &server, size);
    }
}

/// What Redis replies while a script runs for too long.
const BUSY: &[u8] =
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

/// A busy server executes nothing, and so closes nothing: the command is repeated before the next request.
#[test]
fn close_of_an_abandoned_connection_is_repeated_while_busy() {
    let server = FakeServer::start(|nth, mut peer| {
        let mut busy = 2;
        while let Some(request) = peer.request() {
            let is_close =
                request.starts_with(b"*4\r\n$6\r\nCLIENT\r\n$4\r\nKILL\r\n$4\r\nADDR\r\n");
            match (nth, is_close) {
                (0, _) => {}
                (_, true) if busy > 0 => {
                    busy -= 1;
                    peer.send(BUSY);
                }
                (_, true) => peer.send(b":1\r\n"),
                (..) => peer.send(format!("+{busy} left\r\n").as_bytes()),
            }
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]).with("timeout", 300));
    let mut client = proxy.client();
    client.converse(&[
        ("SET a b", TIMED_OUT),
        // Once in the handshake, and once before this request.
        ("GET a", "+0 left\r\n"),
        ("GET a", "+0 left\r\n"),
    ]);
    client.send(&words("GET a"));
    assert_eq!(show(&client.reply()), show(b"+0 left\r\n"));
}
