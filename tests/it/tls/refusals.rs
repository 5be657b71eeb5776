//! Who is refused, and the log line that says what and whose.

use std::process::Command;

use crate::support::{Client, FakeServer, Pool, Process, Proxy, RedisServer, eventually, show};

use super::certificates::{Ca, Files, Special};
use super::{NAME, SERVER_NAME, Setup, plain_server, tls_pool, tls_server, with_server_tls};

/// The one line with this text, which must name the pool and the subject.
fn assert_line(process: &Process, text: &str, subject: &str) {
    process.await_output(text);
    let output = process.output();
    let lines: Vec<_> = output.lines().filter(|line| line.contains(text)).collect();
    assert_eq!(lines.len(), 1, "{output}");
    assert!(lines[0].contains("pool=p"), "{}", lines[0]);
    assert!(lines[0].contains(subject), "{}", lines[0]);
}

#[test]
fn clients_with_wrong_certificates_are_refused() {
    let (ca, stranger, server) = (Ca::new(), Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let special = |file: &str, special| ca.issue_special(file, &["client.test"], special);
    let pool = tls_pool([&server], &own)
        .with("tls_client_ca", ca.file().display())
        .with("tls_client_crl", ca.revoke(&[666]).display());
    let expired = Special {
        is_expired: true,
        ..Special::default()
    };
    let early = Special {
        is_early: true,
        ..Special::default()
    };
    let revoked = Special {
        serial: 666,
        ..Special::default()
    };
    let proxy = Proxy::ringroad(&pool);
    let cases: [(Option<Files>, &str); 5] = [
        (
            Some(special("expired", expired)),
            "its certificate has expired",
        ),
        (
            Some(special("early", early)),
            "its certificate is not valid yet",
        ),
        (
            Some(special("revoked", revoked)),
            "its certificate is revoked",
        ),
        (
            Some(stranger.issue("stranger", &["client.test"])),
            "its certificate is not signed by a CA that is trusted",
        ),
        (None, "it presents no certificate"),
    ];
    let refused = cases.len() as u64;
    for (files, text) in cases {
        // In TLS 1.3 a client learns of its refusal behind its handshake.
        let setup = Setup::new(&ca.file(), files.as_ref());
        let mut client = setup.connect(proxy.tls_address(), NAME);
        let from = client.tcp.local_addr().unwrap();
        assert!(client.ends(), "{text}");
        assert_line(proxy.process(), text, &format!("client={from} "));
    }
    let good = ca.issue("good", &["client.test"]);
    let mut client = Setup::new(&ca.file(), Some(&good)).connect(proxy.tls_address(), NAME);
    assert_eq!(show(&client.ask("PING")), "+PONG\\r\\n");
    eventually("all are counted", || {
        let errors = proxy.metric("ringroad_pool_tls_handshake_errors_total{");
        (errors == refused).then_some(())
    });
}

#[test]
fn clients_of_old_versions_are_refused() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let pool = tls_pool([&server], &own);
    let modern = pool.clone().with("tls_min_version", "1.3");
    for (pool, version) in [(pool, "-tls1_1"), (modern, "-tls1_2")] {
        let proxy = Proxy::ringroad(&pool);
        let output = Command::new("openssl")
            .args(["s_client", version, "-cipher", "DEFAULT:@SECLEVEL=0"])
            .args(["-connect", &proxy.tls_address().to_string()])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{output:?}");
        let text = "it offers no version of TLS that is allowed";
        assert_line(proxy.process(), text, "client=127.");
    }
}

#[test]
fn plain_bytes_on_a_tls_listener_are_refused() {
    let (_ca, _server, proxy) = plain_server();
    let mut client = Client::connect(proxy.tls_address());
    client.send(b"*1\r\n$4\r\nPING\r\n");
    client.read_to_close();
    assert_line(proxy.process(), "it does not speak TLS", "client=127.");
}

#[test]
fn tls_on_a_plain_listener_is_refused() {
    let (_ca, _server, proxy) = plain_server();
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &proxy.address().to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    let text = "it speaks TLS on a plain listener";
    assert_line(proxy.process(), text, "client=127.");
}

#[test]
fn silent_clients_are_closed_in_time() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let pool = tls_pool([&server], &own).with("tls_handshake_timeout", 200);
    let proxy = Proxy::ringroad(&pool);
    let mut silent = Client::connect(proxy.tls_address());
    let mut slow = Client::connect(proxy.tls_address());
    // The begin of a handshake.
    slow.send(&[0x16, 3, 1, 2, 0, 1, 0, 1]);
    silent.expect_close();
    slow.expect_close();
    proxy
        .process()
        .await_output("its TLS handshake took too long");
}

/// A pool whose server cannot be connected with, because of this.
fn assert_server_refused(pool: &Pool, text: &str) {
    let proxy = Proxy::ringroad(&pool.clone().with("timeout", 2000));
    let reply = proxy.ask("GET key");
    assert!(reply.starts_with(b"-ERR"), "{}", show(&reply));
    assert_line(proxy.process(), &format!("TLS: {text}"), "server=s0 ");
}

#[test]
fn servers_with_wrong_certificates_are_refused() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let expired = Special {
        is_expired: true,
        ..Special::default()
    };
    let names = [SERVER_NAME];
    let good = ca.issue("good", &names);
    let cases = [
        (
            ca.issue_special("expired", &names, expired),
            "its certificate has expired",
        ),
        (
            stranger.issue("stranger", &names),
            "its certificate is not signed by a CA that is trusted",
        ),
        (
            ca.issue("other", &["other.test"]),
            "its certificate is for another name",
        ),
    ];
    for (files, text) in cases {
        let server = tls_server(&ca, &files, &["--tls-auth-clients", "no"]);
        assert_server_refused(&with_server_tls(Pool::of([&server]), &ca), text);
        // Nothing is checked of it if the file says so.
        let insecure = Pool::of([&server])
            .with("server_tls", true)
            .with("server_tls_insecure_skip_verify", true);
        let proxy = Proxy::ringroad(&insecure);
        assert_eq!(show(&proxy.ask("SET key value")), "+OK\\r\\n");
        let warning = "anybody between the proxy and a server can pretend to be the server";
        assert_line(proxy.process(), warning, "");
    }
    let picky = tls_server(&ca, &good, &["--tls-auth-clients", "yes"]);
    assert_server_refused(
        &with_server_tls(Pool::of([&picky]), &ca),
        "it refuses the TLS connection: it wants a certificate",
    );
    // Without a name, the address counts.
    let server = tls_server(&ca, &good, &["--tls-auth-clients", "no"]);
    let nameless = with_server_tls(Pool::of([&server]), &ca).without("server_tls_name");
    assert_server_refused(&nameless, "its certificate is for another name");
    let old = tls_server(
        &ca,
        &good,
        &[
            "--tls-auth-clients",
            "no",
            "--tls-protocols",
            "TLSv1.1",
            "--tls-ciphers",
            "DEFAULT:@SECLEVEL=0",
        ],
    );
    assert_server_refused(
        &with_server_tls(Pool::of([&old]), &ca),
        "it offers no version of TLS that is allowed",
    );
}

#[test]
fn server_without_tls_is_refused() {
    let ca = Ca::new();
    let server = FakeServer::start(|_, mut peer| peer.send(b"-ERR what?\r\n"));
    let pool = with_server_tls(Pool::at([server.address()]), &ca);
    assert_server_refused(&pool, "it does not speak TLS");
}

#[test]
fn plain_connection_with_a_tls_server_is_told() {
    let ca = Ca::new();
    let own = ca.issue("server", &[SERVER_NAME]);
    let server = tls_server(&ca, &own, &["--tls-auth-clients", "no"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("timeout", 2000));
    let reply = proxy.ask("GET key");
    assert!(reply.starts_with(b"-ERR"), "{}", show(&reply));
    // Redis does not say why.
    proxy
        .process()
        .await_output("server connection failed pool=p server=s0 error=");
}

#[test]
fn revoked_servers_are_refused() {
    let ca = Ca::new();
    let revoked = Special {
        serial: 666,
        ..Special::default()
    };
    let names = [SERVER_NAME];
    let open = ["--tls-auth-clients", "no"];
    let bad = tls_server(&ca, &ca.issue_special("revoked", &names, revoked), &open);
    let good = tls_server(&ca, &ca.issue("good", &names), &open);
    let pool = |server| {
        let pool = with_server_tls(Pool::of([server]), &ca);
        pool.with("server_tls_crl", ca.revoke(&[666]).display())
    };
    assert_server_refused(&pool(&bad), "its certificate is revoked");
    let proxy = Proxy::ringroad(&pool(&good));
    assert_eq!(show(&proxy.ask("SET key value")), "+OK\\r\\n");
    // The list is followed, too.
    ca.revoke(&[666, 0]);
    proxy.process().await_output("server_tls_crl: ");
    eventually("the server is refused", || {
        let reply = proxy.ask("GET key");
        reply.starts_with(b"-ERR").then_some(())
    });
    proxy
        .process()
        .await_output("TLS: its certificate is revoked");
}
