//! Files that change while a proxy runs.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use crate::admin::changes::Controlled;
use crate::support::{Client, Memcached, Pool, Proxy, RedisServer, eventually, show};

use super::certificates::{Ca, Files};
use super::{NAME, SERVER_NAME, Setup, connect, tls_pool, tls_server, with_server_tls};

fn certificate(files: &Files) -> Vec<u8> {
    CertificateDer::from_pem_file(&files.cert).unwrap().to_vec()
}

#[test]
fn certificate_is_replaced_under_load_without_a_lost_connection() {
    const CLIENTS: usize = 8;
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let proxy = Proxy::ringroad(&tls_pool([&server], &own));
    let first = certificate(&own);
    let setup = Setup::new(&ca.file(), None);
    let (stop, replies) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for nth in 0..CLIENTS {
            let (setup, address) = (setup.clone(), proxy.tls_address());
            let (stop, replies) = (&stop, &replies);
            scope.spawn(move || {
                let mut client = setup.connect(address, NAME);
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let reply = client.ask(&format!("INCR counter{nth}"));
                    assert_eq!(show(&reply), format!(":{number}\\r\\n"));
                    replies.fetch_add(1, Ordering::Relaxed);
                    // Others come and go meanwhile.
                    if number % 50 == 0 {
                        let mut other = setup.connect(address, NAME);
                        assert_eq!(show(&other.ask("PING")), "+PONG\\r\\n");
                    }
                }
            });
        }
        own.become_those_of(&ca.issue("next", &[NAME]));
        let second = certificate(&own);
        assert_ne!(first, second);
        // Nobody tells the proxy.
        eventually("new clients see the new certificate", || {
            let fresh = Setup::new(&ca.file(), None);
            let client = fresh.connect(proxy.tls_address(), NAME);
            (client.peer_certificate() == second).then_some(())
        });
        let before = replies.load(Ordering::Relaxed);
        eventually("the old clients go on", || {
            (replies.load(Ordering::Relaxed) > before + 100 * CLIENTS).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    let output = proxy.process().output();
    assert!(!output.contains("refused"), "{output}");
    assert!(output.contains("tls_cert: "), "{output}");
}

#[test]
fn faulty_files_leave_the_old_ones_in_use() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let pool = tls_pool([&server], &own);
    let controlled = Controlled::start(&pool);
    let proxy = &controlled.proxy;
    let good = ca.issue("good", &[NAME]);
    // The key of another certificate.
    fs::copy(&good.key, &own.key).unwrap();
    let text = format!(
        "is not the key of the certificate in '{}'",
        own.cert.display()
    );
    proxy.process().await_output(&text);
    proxy.process().await_output("the old one stays in use");
    assert_eq!(show(&connect(proxy, &ca).ask("PING")), "+PONG\\r\\n");
    eventually("it is counted", || {
        let refused = proxy.metric("ringroad_pool_tls_reload_errors_total{");
        (refused == 1).then_some(())
    });
    let told = controlled.ctl(&["status"]);
    let problem = format!(
        "pool p: 'tls_key': '{}' {text}; the old one is in use\n",
        own.key.display()
    );
    assert!(told.contains(&problem), "{told}");
    // A reload says the same.
    let outcome = proxy.reload_text(&pool.yaml(proxy.address()));
    assert!(outcome.contains(&text), "{outcome}");
    assert!(outcome.contains("the old configuration stays"), "{outcome}");
    fs::copy(&good.cert, &own.cert).unwrap();
    eventually("the right pair is in use", || {
        let client = connect(proxy, &ca);
        (client.peer_certificate() == certificate(&good)).then_some(())
    });
    let status = controlled.json(&["status"]);
    assert_eq!(status["tls_problems"], json!([]), "{status}");
}

#[test]
fn revoked_client_does_not_resume_its_session() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let client = ca.issue("client", &["client.test"]);
    let pool = tls_pool([&server], &own)
        .with("tls_client_ca", ca.file().display())
        .with("tls_client_crl", ca.revoke(&[666]).display());
    let proxy = Proxy::ringroad(&pool);
    let setup = Setup::new(&ca.file(), Some(&client));
    setup.connect(proxy.tls_address(), NAME).ask("PING");
    let mut again = setup.connect(proxy.tls_address(), NAME);
    again.ask("PING");
    assert!(again.is_resumed());
    ca.revoke(&[0]);
    proxy.process().await_output("tls_client_crl: ");
    let mut revoked = setup.connect(proxy.tls_address(), NAME);
    assert!(revoked.ends());
    proxy.process().await_output("its certificate is revoked");
    // Who is in stays in.
    assert_eq!(show(&again.ask("PING")), "+PONG\\r\\n");
}

#[test]
fn new_ca_of_servers_makes_new_connections() {
    let (old, new) = (Ca::new(), Ca::new());
    let of_server = old.issue("server", &[SERVER_NAME]);
    let server = tls_server(&old, &of_server, &["--tls-auth-clients", "no"]);
    let pool = with_server_tls(Pool::of([&server]), &old);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    client.converse(&[("SET key value", "+OK\r\n"), ("GET key", "$5\r\nvalue\r\n")]);
    let connects = || proxy.metric("ringroad_server_connects_total{");
    let before = connects();
    // The old one is trusted still.
    let both = [old.file(), new.file()].map(|file| fs::read_to_string(file).unwrap());
    old.write("ca.pem", &both.concat());
    proxy.process().await_output("server_tls_ca: ");
    client.converse(&[("GET key", "$5\r\nvalue\r\n")]);
    eventually("there is a new connection", || {
        client.ask("GET key");
        (connects() > before).then_some(())
    });
    assert_eq!(proxy.stat(&["client_err"]), 0);
}

#[test]
fn expiry_is_a_metric_and_a_warning() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue_for_days("proxy", &[NAME], 5);
    let controlled = Controlled::start(&tls_pool([&server], &own));
    let proxy = &controlled.proxy;
    proxy.process().await_output("expires in 4 days");
    let told = controlled.ctl(&["status"]);
    let problem = format!(
        "pool p: 'tls_cert': '{}' expires in 4 days\n",
        own.cert.display()
    );
    assert!(told.contains(&problem), "{told}");
    let line = format!(
        "ringroad_tls_expiry_seconds{{pool=\"p\",file=\"{}\"}}",
        own.cert.display()
    );
    let left = proxy.metric(&line);
    assert!((4 * 86_400 - 60..5 * 86_400).contains(&left), "{left}");
}

#[test]
fn faulty_files_are_found_by_the_check_of_a_configuration() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let garbage = Files {
        cert: ca.write("garbage", "no certificate\n"),
        key: own.key.clone(),
    };
    let missing = Files {
        cert: own.cert.clone(),
        key: "/nowhere/at-all.key".into(),
    };
    let swapped = Files {
        cert: own.key,
        key: own.cert,
    };
    for (files, key, text) in [
        (
            &garbage,
            "tls_cert",
            "garbage' has no certificate in PEM form",
        ),
        (
            &missing,
            "tls_key",
            "'/nowhere/at-all.key' cannot be read: No such file",
        ),
        (&swapped, "tls_cert", "has no certificate in PEM form"),
    ] {
        let conf = ca.write(
            "pool.yml",
            &tls_pool([&server], files).yaml("127.0.0.1:16121".parse().unwrap()),
        );
        let output = Command::new(env!("CARGO_BIN_EXE_ringroad"))
            .arg("-t")
            .arg("-c")
            .arg(&conf)
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(
            shown.contains(&format!(": pool 'p': key '{key}': ")),
            "{shown}"
        );
        assert!(shown.contains(text), "{shown}");
    }
}

#[test]
fn tools_reach_servers_over_tls() {
    let ca = Ca::new();
    let of_server = ca.issue("server", &[SERVER_NAME]);
    let servers = [0, 1].map(|_| tls_server(&ca, &of_server, &["--tls-auth-clients", "no"]));
    let pool = with_server_tls(Pool::of(&servers), &ca);
    let proxy = Proxy::ringroad(&pool);
    let mut client: Client = proxy.client();
    for n in 0..100 {
        client.ask(&format!("SET key{n} {}", "v".repeat(1000 * n)));
    }
    let verify = |conf: &std::path::Path| {
        Command::new(env!("CARGO_BIN_EXE_ringroad"))
            .args(["verify", "-c"])
            .arg(conf)
            .output()
            .unwrap()
    };
    let output = verify(proxy.conf());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stranger = Ca::new();
    let distrusting = with_server_tls(Pool::of(&servers), &stranger);
    let conf = stranger.write("pool.yml", &distrusting.yaml(proxy.address()));
    let output = verify(&conf);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.contains("TLS: its certificate is not signed by a CA that is trusted"),
        "{shown}"
    );
}

#[test]
fn memcached_pool_is_served_over_tls() {
    let memcached = Memcached::start();
    let ca = Ca::new();
    let own = ca.issue("proxy", &[NAME]);
    let pool = Pool::memcached([&memcached])
        .listening_for_tls()
        .with("tls_cert", own.cert.display())
        .with("tls_key", own.key.display());
    let proxy = Proxy::ringroad(&pool);
    let mut client = connect(&proxy, &ca);
    client.send(b"set key 0 0 5\r\nvalue\r\nget key\r\nquit\r\n");
    let expected = "STORED\\r\\nVALUE key 0 5\\r\\nvalue\\r\\nEND\\r\\n";
    assert_eq!(show(&client.read_to_close()), expected);
}

#[test]
fn tls_listener_alone_serves_a_pool() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let pool = tls_pool([&server], &own);
    let proxy = Proxy::ringroad(&pool);
    let mut client = connect(&proxy, &ca);
    let yaml = pool.yaml(proxy.address());
    let lines = yaml.split_inclusive('\n');
    let alone: String = lines
        .filter(|line| !line.starts_with("  listen:"))
        .collect();
    let outcome = proxy.reload_text(&alone);
    assert!(outcome.contains("the configuration is in use"), "{outcome}");
    assert_eq!(show(&client.ask("PING")), "+PONG\\r\\n");
    assert_eq!(show(&connect(&proxy, &ca).ask("PING")), "+PONG\\r\\n");
    assert!(std::net::TcpStream::connect(proxy.address()).is_err());
    let outcome = proxy.reload_text(&yaml);
    assert!(outcome.contains("the configuration is in use"), "{outcome}");
    proxy.client().converse(&[("PING", "+PONG\r\n")]);
    assert_eq!(show(&client.ask("PING")), "+PONG\\r\\n");
}
