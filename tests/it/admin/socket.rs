//! The socket: who may use it, what becomes of its file, and clients that misbehave.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use tempfile::TempDir;

use super::site::{Site, command, ctl, free_ip};
use crate::support::{Process, RedisServer};

#[test]
fn socket_is_for_the_user_of_the_proxy_alone() {
    let site = Site::start();
    let found = fs::symlink_metadata(site.socket()).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
}

#[test]
fn stale_socket_is_replaced_and_a_file_is_not() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ctl.sock");
    drop(UnixListener::bind(&path).unwrap());
    let site = Site::start_in(dir);
    assert!(site.ctl(&["status"]).contains("serving"));
    site.process().kill();
    assert!(site.socket().exists(), "a killed proxy leaves it");

    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("ctl.sock"), "precious").unwrap();
    let server = RedisServer::start();
    let refused = Process::spawn(command(dir.path(), free_ip(), &server, "ctl.sock"));
    assert_eq!(refused.exit().code(), Some(1));
    refused
        .await_output("\nringroad: admin socket 'ctl.sock': the path exists and is not a socket\n");
    let left = fs::read_to_string(dir.path().join("ctl.sock")).unwrap();
    assert_eq!(left, "precious");
}

#[test]
fn second_proxy_at_a_socket_is_refused() {
    let site = Site::start();
    let (dir, server) = (TempDir::new().unwrap(), RedisServer::start());
    let socket = site.socket().display().to_string();
    let second = Process::spawn(command(dir.path(), free_ip(), &server, &socket));
    assert_eq!(second.exit().code(), Some(1));
    second.await_output(&format!(
        "\nringroad: admin socket '{socket}': another process listens there\n"
    ));
    assert!(site.ctl(&["status"]).contains("serving"), "the first stays");
}

#[test]
fn unusable_socket_path_is_refused_with_the_reason() {
    let (dir, server) = (TempDir::new().unwrap(), RedisServer::start());
    for (socket, reason) in [
        ("none/ctl.sock", "No such file or directory (os error 2)"),
        (&"x".repeat(200), "path must be shorter than SUN_LEN"),
    ] {
        let process = Process::spawn(command(dir.path(), free_ip(), &server, socket));
        assert_eq!(process.exit().code(), Some(1));
        process.await_output(&format!("\nringroad: admin socket '{socket}': {reason}\n"));
    }
}

#[test]
fn without_the_option_there_is_no_socket() {
    let (dir, server) = (TempDir::new().unwrap(), RedisServer::start());
    let process = Process::spawn(command(dir.path(), free_ip(), &server, ""));
    process.await_output("listening");
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "the configuration alone: {files:?}");
}

const KINDS: usize = 5;

/// Clients that begin a request and do not go on: of each kind more than the socket has places.
fn idlers(site: &Site) -> Vec<UnixStream> {
    let begun: [&[u8]; KINDS] = [
        b"",
        b"GET /sta",
        b"POST /log-level HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /clients HTTP/1.1\r\nHost: x\r\n\r\nGET /clients HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    let open = |nth: usize| {
        let mut stream = site.connect();
        // A client that was closed in the meantime has lost its place to another.
        let _ = stream.write_all(begun[nth % KINDS]);
        stream
    };
    (0..100 * KINDS).map(open).collect()
}

#[test]
fn slow_and_garbage_clients_harm_nobody() {
    let site = Site::start();
    let mut client = site.client();
    let mut idlers = idlers(&site);
    for early in &mut idlers[..KINDS] {
        let mut left = Vec::new();
        // A close may be a reset. No close at all is an error of another kind: the patience is over.
        let closed = early.read_to_end(&mut left);
        let is_closed =
            closed.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true);
        assert!(is_closed, "it makes room for a later one");
    }
    for _ in 0..20 {
        assert!(site.ctl(&["status"]).contains("serving"));
        client.converse(&[("PING", "+PONG\r\n")]);
    }
    drop(idlers);
    let garbage: [&[u8]; 4] = [
        b"\r\n\r\n\r\n\r\n",
        b"GET\0/status\r\n\r\n",
        b"PING\r\n",
        b"GET /status HTTP/9.9\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = site.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        // It may be closed with a reset.
        let _ = stream.read_to_end(&mut reply);
        assert!(!reply.starts_with(b"HTTP/1.1 200"), "{reply:?}");
    }
    assert!(site.ctl(&["status"]).contains("serving"));
    client.converse(&[("PING", "+PONG\r\n")]);
}

#[test]
fn ctl_without_a_proxy_exits_3() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (none, stale, file) = (path("none"), path("stale"), path("file"));
    drop(UnixListener::bind(&stale).unwrap());
    fs::write(&file, "").unwrap();
    for (socket, reason) in [
        (&none, "No such file or directory"),
        (&stale, "Connection refused"),
        (&file, "Connection refused"),
    ] {
        let output = ctl(&["--admin", socket, "status"]);
        let expected = format!(
            "ringroad: no proxy answers at '{socket}': {reason}; start it with --admin, or name its \
             socket\n"
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn ctl_tells_a_stranger_from_a_proxy() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("other");
    let listener = UnixListener::bind(&path).unwrap();
    let replies: [&[u8]; 3] = [
        b"",
        b"-ERR unknown command\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ];
    let served = std::thread::spawn(move || {
        for reply in replies {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 64];
            let _ = stream.read(&mut head).unwrap();
            stream.write_all(reply).unwrap();
        }
    });
    for _ in replies {
        let output = ctl(&["--admin", path.to_str().unwrap(), "status"]);
        let text = String::from_utf8(output.stderr).unwrap();
        let start = format!(
            "ringroad: '{}' does not answer as an admin socket: ",
            path.display()
        );
        assert!(text.starts_with(&start), "{text}");
        assert_eq!(output.status.code(), Some(3));
    }
    served.join().unwrap();
}
