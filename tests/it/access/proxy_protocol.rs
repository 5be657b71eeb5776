//! Clients behind a load balancer, which tells their addresses by the PROXY protocol.

use std::process::Command;

use tempfile::TempDir;

use super::{OK, ask_through, count, v2_header};
use crate::support::{
    Client, Memcached, Pool, Process, Proxy, RedisServer, eventually, fresh_ip, show, words,
};
use crate::tls::certificates::Ca;
use crate::tls::client::Setup;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4097 80\r\n";
const LOCAL_V1: &[u8] = b"PROXY UNKNOWN\r\n";

fn behind(server: &RedisServer) -> Pool {
    Pool::of([server]).with("proxy_protocol", "[127.0.0.0/8]")
}

/// The address of a client, as the proxy knows it.
fn address_of(client: &mut Client) -> String {
    let info = show(&client.ask("CLIENT INFO"));
    let address = info
        .split(' ')
        .find_map(|field| field.strip_prefix("addr="));
    address.unwrap_or_else(|| panic!("{info}")).to_owned()
}

#[test]
fn client_has_the_address_of_its_header() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&behind(&server));
    for (header, expected) in [
        (V1.to_vec(), "192.0.2.7:4097"),
        (v2_header([192, 0, 2, 7], &[]), "192.0.2.7:4097"),
        (v2_header([192, 0, 2, 7], &[4; 1000]), "192.0.2.7:4097"),
        (
            b"PROXY TCP6 2001:db8::1 ::1 4097 80\r\n".to_vec(),
            "[2001:db8::1]:4097",
        ),
    ] {
        let mut client = proxy.client();
        client.send(&[&header[..], &words("PING")].concat());
        client.expect("PING", b"+PONG\r\n");
        assert_eq!(address_of(&mut client), expected);
        // Each byte by itself.
        let mut client = proxy.client();
        for byte in &header {
            client.send(&[*byte]);
        }
        assert_eq!(address_of(&mut client), expected);
    }
    for header in [LOCAL_V1.to_vec(), local_v2()] {
        let mut client = proxy.client();
        client.send(&header);
        assert_eq!(address_of(&mut client), client.local_address().to_string());
    }
}

fn local_v2() -> Vec<u8> {
    let mut header = v2_header([192, 0, 2, 7], &[]);
    header[12] = 0x20;
    header
}

#[test]
fn only_named_balancers_tell_addresses() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("proxy_protocol", "[192.0.2.1]"));
    let mut client = proxy.client();
    assert_eq!(address_of(&mut client), client.local_address().to_string());
    let mut client = proxy.client();
    client.send(V1);
    let reply = client.read_to_close_or_reply();
    assert!(reply.starts_with(b"-ERR"), "{}", show(&reply));
}

#[test]
fn faulty_header_is_refused_and_logged() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&behind(&server));
    let faulty = [
        words("PING"),
        b"PROXY TCP4 192.0.2.7 nowhere 1 2\r\n".to_vec(),
        [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
        v2_header([192, 0, 2, 7], &[4; 5000]),
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c".to_vec(),
    ];
    for bytes in &faulty {
        let mut client = proxy.client();
        // It may be closed before all is sent.
        let _ = client.try_send(bytes);
        let _ = client.try_send(&words("PING"));
        assert_eq!(
            show(&client.read_to_close()),
            "",
            "{}",
            bytes.escape_ascii()
        );
    }
    eventually("all are counted", || {
        (count(&proxy, "proxy_header_errors") >= 5).then_some(())
    });
    proxy
        .process()
        .await_output("it does not begin with a header of the PROXY protocol");
    let mut client = proxy.client();
    client.send(&[V1, &words("PING")].concat());
    client.expect("PING", b"+PONG\r\n");
}

#[test]
fn header_that_does_not_come_is_not_awaited_for_long() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&behind(&server));
    let mut silent = proxy.client();
    silent.send(&V1[..V1.len() - 1]);
    // Others are not delayed.
    assert_eq!(show(&ask_through(&proxy, V1, "PING")), "+PONG\\r\\n");
    silent.expect_close();
    proxy
        .process()
        .await_output("its header of the PROXY protocol did not come");
}

#[test]
fn header_comes_before_requests_of_memcached_too() {
    let memcached = Memcached::start();
    let proxy =
        Proxy::ringroad(&Pool::memcached([&memcached]).with("proxy_protocol", "[127.0.0.1]"));
    let mut client = proxy.client();
    client.send(&v2_header([192, 0, 2, 7], &[]));
    assert_eq!(show(&client.say("set k 0 0 1\r\nv")), "STORED\\r\\n");
    assert_eq!(
        show(&client.say("get k")),
        "VALUE k 0 1\\r\\nv\\r\\nEND\\r\\n"
    );
}

#[test]
fn header_comes_before_the_handshake_of_tls() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &["ringroad.test"]);
    let pool = behind(&server)
        .listening_for_tls()
        .with("tls_cert", own.cert.display())
        .with("tls_key", own.key.display());
    let proxy = Proxy::ringroad(&pool);
    let setup = Setup::new(&ca.file(), None);
    let mut client = setup.connect_after(V1, proxy.tls_address(), "ringroad.test");
    let info = show(&client.ask("CLIENT INFO"));
    assert!(info.contains(" addr=192.0.2.7:4097 "), "{info}");
    // Whoever fails is told by the address of the header.
    let mut plain = Client::connect(proxy.tls_address());
    let _ = plain.try_send(&[V1, &words("PING")].concat());
    plain.read_to_close();
    proxy
        .process()
        .await_output("TLS client refused pool=p client=192.0.2.7:4097");
}

#[test]
fn haproxy_tells_addresses_in_both_versions() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&behind(&server));
    for version in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options unique-id",
    ] {
        let (ip, directory) = (fresh_ip(&[16121]), TempDir::new().unwrap());
        let conf = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen l\n  bind {ip}:16121\n  unique-id-format abc\n  server s {} {version} check inter 100 {}\n",
            proxy.address(),
            if version == "send-proxy" {
                "check-send-proxy"
            } else {
                ""
            },
        );
        let path = directory.path().join("haproxy.cfg");
        std::fs::write(&path, conf).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(&path);
        let _haproxy = Process::spawn(command);
        let at = (ip, 16121).into();
        let mut client = eventually("it listens", || Client::try_connect(at).ok());
        client.converse(&[("SET k v", OK), ("GET k", "$1\r\nv\r\n")]);
        assert_eq!(address_of(&mut client), client.local_address().to_string());
    }
    // Nor are its checks failures.
    for name in ["client_denied", "proxy_header_errors"] {
        assert_eq!(count(&proxy, name), 0, "{name}");
    }
}

#[test]
fn peers_that_go_without_a_word_are_no_failures() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&behind(&server));
    let before = proxy.stat(&["client_eof"]);
    for _ in 0..10 {
        drop(proxy.client());
    }
    eventually("all have gone", || {
        (proxy.stat(&["client_eof"]) >= before + 10).then_some(())
    });
    for name in ["client_denied", "proxy_header_errors"] {
        assert_eq!(count(&proxy, name), 0, "{name}");
    }
    let log = proxy.process().output();
    assert!(!log.contains("client refused"), "{log}");
}
