//! Clients that may connect by their addresses or users, and those that may not.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::{count, v1_header, v2_header};
use crate::support::{Pool, Proxy, RedisServer, eventually, show, words};

/// Returns true if a client of this address is served.
fn is_served(proxy: &Proxy, address: &str) -> bool {
    let mut client = proxy.client();
    let _ = client.try_send(&[v1_header(address), words("PING")].concat());
    match &*show(&client.read_to_close_or_reply()) {
        "+PONG\\r\\n" => true,
        "" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn networks_decide_who_is_served() {
    let server = RedisServer::start();
    let behind = || Pool::of([&server]).with("proxy_protocol", "[127.0.0.1]");
    let proxy = Proxy::ringroad(&behind());
    for (allow, deny, served, refused) in [
        ("", "", &["192.0.2.1", "2001:db8::1"][..], &[][..]),
        (
            "[192.0.2.0/24]",
            "",
            &["192.0.2.1", "::ffff:192.0.2.9"],
            &["192.0.3.1", "2001:db8::1"],
        ),
        (
            "",
            "[192.0.2.0/24]",
            &["192.0.3.1", "2001:db8::1"],
            &["192.0.2.1", "::ffff:192.0.2.1"],
        ),
        // `deny` counts, whichever is the smaller network.
        ("[192.0.2.7]", "[192.0.2.0/24]", &[], &["192.0.2.7"]),
        (
            "[0.0.0.0/0]",
            "[192.0.2.7]",
            &["192.0.2.8"],
            &["192.0.2.7", "::1"],
        ),
        (
            "['2001:db8::/32', 192.0.2.1]",
            "",
            &["2001:db8:1::1", "192.0.2.1"],
            &["2001:db9::1"],
        ),
    ] {
        let mut pool = behind();
        for (name, list) in [("allow", allow), ("deny", deny)] {
            if !list.is_empty() {
                pool = pool.with(name, list);
            }
        }
        proxy.reload(&pool);
        for address in served {
            assert!(is_served(&proxy, address), "{allow} {deny}: {address}");
        }
        for address in refused {
            assert!(!is_served(&proxy, address), "{allow} {deny}: {address}");
        }
    }
    assert_eq!(count(&proxy, "client_denied"), 8);
    let log = proxy.process().output();
    for line in [
        "client=192.0.2.7 reason=matched by deny 192.0.2.0/24",
        "client=2001:db9::1 reason=matched by no entry of allow",
    ] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
}

#[test]
fn refused_address_is_closed_before_it_says_anything() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut inside = proxy.client();
    inside.converse(&[("PING", "+PONG\r\n")]);
    proxy.reload(&Pool::of([&server]).with("deny", "[127.0.0.1]"));
    for _ in 0..30 {
        assert_eq!(show(&proxy.client().read_to_close()), "");
    }
    // Who is in stays in.
    inside.converse(&[("PING", "+PONG\r\n")]);
    eventually("all are counted", || {
        (count(&proxy, "client_denied") == 30).then_some(())
    });
    let log = proxy.process().output();
    assert!(log.matches("client refused").count() <= 20, "{log}");
}

#[test]
fn users_decide_who_is_served_at_a_unix_socket() {
    let server = RedisServer::start();
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("socket");
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let listen_at = |lines: &str| {
        let listen = format!("listen: {}\n  {lines}", socket.display());
        let yaml = Pool::of([&server]).yaml(proxy.address());
        let outcome =
            proxy.reload_text(&yaml.replace(&format!("listen: {}", proxy.address()), &listen));
        assert!(outcome.contains("the configuration is in use"), "{outcome}");
    };
    let said = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let mut said = [0; 7];
        let _ = stream.write_all(b"PING\r\n");
        let len = stream.read(&mut said).unwrap_or(0);
        show(&said[..len])
    };
    let me = rustix::process::getuid().as_raw();
    listen_at(&format!("allow: [uid:{me}]"));
    assert_eq!(said(), "+PONG\\r\\n");
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"CLIENT INFO\r\nQUIT\r\n").unwrap();
    let mut info = String::new();
    stream.read_to_string(&mut info).unwrap();
    assert!(info.contains(&format!(" uid={me}\n")), "{info}");
    listen_at("allow: [uid:54321]");
    assert_eq!(said(), "");
    listen_at(&format!("deny: [uid:{me}]"));
    assert_eq!(said(), "");
    proxy
        .process()
        .await_output(&format!("client=uid:{me} reason=matched by deny uid:{me}"));
    listen_at(&format!("proxy_protocol: [uid:{me}]\n  deny: [192.0.2.7]"));
    for (address, expected) in [([192, 0, 2, 8], "+PONG\\r\\n"), ([192, 0, 2, 7], "")] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let _ = stream.write_all(&[v2_header(address, &[]), words("PING")].concat());
        let mut said = [0; 7];
        let len = stream.read(&mut said).unwrap_or(0);
        assert_eq!(show(&said[..len]), expected);
    }
}
