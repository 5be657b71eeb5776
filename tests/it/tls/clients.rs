//! Clients as they are used, over TLS on both sides.

use std::path::Path;
use std::process::{Command, Stdio};

use redis::{ClientTlsConfig, Commands as _, TlsCertificates};

use crate::support::{Proxy, RedisServer, run_client_with, show};

use super::certificates::{Ca, Files};
use super::{NAME, SERVER_NAME, Setup, tls_pool, tls_server, with_server_tls};

/// A CA, a certificate of a client, two servers that want certificates, and a proxy that wants one of clients.
struct Mutual {
    ca: Ca,
    client: Files,
    servers: [RedisServer; 2],
    proxy: Proxy,
}

fn mutual() -> Mutual {
    let ca = Ca::new();
    // Clients connect to an address.
    let own = ca.issue("proxy", &[NAME, "localhost", "127.0.0.1"]);
    let client = ca.issue("client", &["client.test"]);
    let of_server = ca.issue("server", &[SERVER_NAME]);
    let servers = [0, 1].map(|_| tls_server(&ca, &of_server, &["--tls-auth-clients", "yes"]));
    let pool = with_server_tls(tls_pool(&servers, &own), &ca)
        .with("hash", "murmur")
        .with("server_tls_cert", client.cert.display())
        .with("server_tls_key", client.key.display())
        .with("tls_client_ca", ca.file().display());
    let proxy = Proxy::ringroad(&pool);
    let ip = proxy.tls_address().ip().to_string();
    own.become_those_of(&ca.issue("proxy-with-address", &[NAME, &ip]));
    let outcome = proxy.reload_text(&pool.yaml(proxy.address()));
    assert!(outcome.contains("has another content"), "{outcome}");
    Mutual {
        ca,
        client,
        servers,
        proxy,
    }
}

#[test]
fn redis_py_and_node_redis_over_mutual_tls() {
    let site = mutual();
    let (address, ca) = (site.proxy.tls_address(), site.ca.file());
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let variables: [(&str, &Path); 3] = [
        ("TLS_CA", &ca),
        ("TLS_CERT", &site.client.cert),
        ("TLS_KEY", &site.client.key),
    ];
    for (interpreter, program) in [
        ("venv/bin/python", "redis_py.py"),
        ("node", "node_redis.js"),
    ] {
        run_client_with(interpreter, program, &[&ip, &port], &variables);
        site.proxy.ask("FLUSHALL");
    }
    assert!(site.servers.iter().all(RedisServer::is_running));
}

#[test]
fn redis_rs_over_mutual_tls() {
    let site = mutual();
    let read = |path: &Path| std::fs::read(path).unwrap();
    let certificates = TlsCertificates {
        client_tls: Some(ClientTlsConfig {
            client_cert: read(&site.client.cert),
            client_key: read(&site.client.key),
        }),
        root_cert: Some(read(&site.ca.file())),
    };
    // It takes what the process has.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("rediss://{}/", site.proxy.tls_address());
    let client = redis::Client::build_with_tls(url, certificates).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut pipeline = redis::pipe();
    for n in 0..100 {
        pipeline
            .set(format!("k{n}"), n)
            .ignore()
            .get(format!("k{n}"));
    }
    let numbers: Vec<u32> = pipeline.query(&mut connection).unwrap();
    assert_eq!(numbers, (0..100).collect::<Vec<u32>>());
    let value: String = connection.get("k7").unwrap();
    assert_eq!(value, "7");
}

#[test]
fn redis_cli_over_mutual_tls() {
    let site = mutual();
    let address = site.proxy.tls_address();
    let run = |args: &[&str]| {
        let output = Command::new("redis-cli")
            .args(["-h", &address.ip().to_string()])
            .args(["-p", &address.port().to_string(), "--tls", "--cacert"])
            .arg(site.ca.file())
            .args(args)
            .output()
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8(all).unwrap()
    };
    let own = [
        "--cert",
        site.client.cert.to_str().unwrap(),
        "--key",
        site.client.key.to_str().unwrap(),
    ];
    let set = run(&[&own[..], &["set", "key", "value"]].concat());
    assert_eq!(set, "OK\n");
    assert_eq!(run(&[&own[..], &["get", "key"]].concat()), "value\n");
    let refused = run(&["get", "key"]);
    assert!(!refused.contains("value"), "{refused}");
    site.proxy
        .process()
        .await_output("it presents no certificate");
}

#[test]
fn openssl_client_of_either_version_is_served() {
    let site = mutual();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", version])
            .args(["-connect", &site.proxy.tls_address().to_string()])
            .args(["-servername", NAME, "-verify_hostname", NAME])
            .arg("-CAfile")
            .arg(site.ca.file())
            .arg("-cert")
            .arg(&site.client.cert)
            .arg("-key")
            .arg(&site.client.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"PING\r\nQUIT\r\n").unwrap();
        let output = client.wait_with_output().unwrap();
        drop(stdin);
        assert_eq!(show(&output.stdout), "+PONG\\r\\n+OK\\r\\n", "{version}");
    }
}

#[test]
fn optional_certificate_may_be_missing_but_not_wrong() {
    let (ca, stranger, server) = (Ca::new(), Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let pool = tls_pool([&server], &own)
        .with("tls_client_ca", ca.file().display())
        .with("tls_client_auth", "optional");
    let proxy = Proxy::ringroad(&pool);
    for own in [None, Some(ca.issue("client", &["client.test"]))] {
        let mut client = Setup::new(&ca.file(), own.as_ref()).connect(proxy.tls_address(), NAME);
        assert_eq!(show(&client.ask("PING")), "+PONG\\r\\n");
    }
    let wrong = stranger.issue("client", &["client.test"]);
    let mut client = Setup::new(&ca.file(), Some(&wrong)).connect(proxy.tls_address(), NAME);
    assert!(client.ends());
    let text = "its certificate is not signed by a CA that is trusted";
    proxy.process().await_output(text);
}
