//! Passwords from files and the environment, which nothing shows.

use std::fs;
use std::process::{Command, Output};

use super::{OK, env};
use crate::support::{Client, Kind, Launch, Pool, Proxy, RedisServer, show};

const CLIENTS: &str = "hunter2-of-clients";
const SERVERS: &str = "hunter2-of-servers";
const OTHERS: &str = "hunter2-of-others";

fn launch(args: &[&str]) -> Launch {
    Launch {
        args: args.iter().map(ToString::to_string).collect(),
        env: env(&[("RINGROAD_CLIENTS", CLIENTS), ("RINGROAD_SERVERS", SERVERS)]),
        ..Launch::default()
    }
}

fn ringroad(args: &[&str]) -> Output {
    let mut command = Command::new(std::env!("CARGO_BIN_EXE_ringroad"));
    command.env("RINGROAD_CLIENTS", CLIENTS);
    command.args(args).output().unwrap()
}

fn text_of(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

fn assert_hidden(what: &str, text: &str) {
    assert!(!text.contains("hunter2"), "{what} shows a password: {text}");
}

#[test]
fn passwords_come_from_files_and_the_environment() {
    let server = RedisServer::start_with(&["--requirepass", SERVERS]);
    let pool = Pool::of([&server]);
    let proxy = Proxy::start(
        Kind::Ringroad,
        &pool
            .clone()
            .with("redis_auth", "${RINGROAD_CLIENTS}")
            .with("server_password", "${RINGROAD_SERVERS}"),
        &launch(&[]),
    );
    let client_with = |password: &str| {
        let mut client = proxy.client();
        client.converse(&[(&format!("AUTH {password}"), OK)]);
        client
    };
    client_with(CLIENTS).converse(&[("SET k v", OK)]);
    // Relative to the configuration file.
    let directory = proxy.conf().parent().unwrap();
    fs::write(directory.join("clients"), format!("{OTHERS}\n")).unwrap();
    fs::write(directory.join("servers"), SERVERS).unwrap();
    let in_files = pool
        .with("redis_auth", "file:clients")
        .with("server_password", "file:servers");
    proxy.reload(&in_files);
    client_with(OTHERS).converse(&[("GET k", "$1\r\nv\r\n")]);
    assert!(
        proxy
            .ask(&format!("AUTH {CLIENTS}"))
            .starts_with(b"-WRONGPASS")
    );
    // A changed file counts from the next reload on.
    let request = format!("CONFIG SET requirepass {OTHERS}");
    let mut admin = server.client();
    admin.converse(&[(&format!("AUTH {SERVERS}"), OK), (&request, OK)]);
    fs::write(directory.join("servers"), OTHERS).unwrap();
    let outcome = proxy.reload_text(&in_files.yaml(proxy.address()));
    assert!(outcome.contains("server_password: changed"), "{outcome}");
    client_with(OTHERS).converse(&[("SET k w", OK)]);
    fs::remove_file(directory.join("servers")).unwrap();
    let outcome = proxy.reload_text(&in_files.yaml(proxy.address()));
    let expected = "pool.yml:5: pool 'p': key 'server_password': '";
    assert!(outcome.contains(expected), "{outcome}");
    assert!(outcome.contains("the old configuration stays"), "{outcome}");
    client_with(OTHERS).converse(&[("GET k", "$1\r\nw\r\n")]);
    assert_hidden("the log", &proxy.process().output());
}

#[test]
fn hash_of_a_password_lets_clients_in() {
    let server = RedisServer::start_with(&["--requirepass", SERVERS]);
    // That of `hunter2`.
    let hash = "sha256:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    let proxy = Proxy::ringroad(
        &Pool::of([&server])
            .with("redis_auth", hash)
            .with("server_password", SERVERS),
    );
    for refused in [&hash[7..], hash, "hunter3"] {
        let reply = proxy.ask(&format!("AUTH {refused}"));
        assert!(
            reply.starts_with(b"-WRONGPASS"),
            "{refused}: {}",
            show(&reply)
        );
    }
    proxy
        .client()
        .converse(&[("AUTH hunter2", OK), ("SET k v", OK)]);
    let hello = proxy.ask("HELLO 3 AUTH default hunter2");
    assert!(hello.starts_with(b"%7"), "{}", show(&hello));
}

#[test]
fn passwords_are_shown_nowhere() {
    let server = RedisServer::start_with(&["--requirepass", SERVERS]);
    let directory = tempfile::TempDir::new().unwrap();
    let socket = directory.path().join("admin");
    let socket = socket.to_str().unwrap();
    let pool = Pool::of([&server])
        .with("redis_auth", "${RINGROAD_CLIENTS}")
        .with("server_password", SERVERS)
        .with("server_probe_interval", 10);
    let proxy = Proxy::start(
        Kind::Ringroad,
        &pool,
        &launch(&["-v", "11", "--admin", socket]),
    );
    let mut client = proxy.client();
    client.converse(&[(&format!("AUTH {CLIENTS}"), OK), ("SET k v", OK)]);
    assert!(
        client
            .ask(&format!("AUTH {OTHERS}"))
            .starts_with(b"-WRONGPASS")
    );
    for request in [
        "INFO",
        "CLIENT LIST",
        "CONFIG GET *",
        "SLOWLOG GET",
        "ACL LIST",
    ] {
        assert_hidden(request, &show(&client.ask(request)));
    }
    let conf = proxy.conf().to_str().unwrap();
    let changed = directory.path().join("changed.yml");
    let text = fs::read_to_string(conf).unwrap().replace(SERVERS, OTHERS);
    fs::write(&changed, &text).unwrap();
    let changed = changed.to_str().unwrap();
    for args in [
        &["-t", "-c", conf][..],
        &["-t", "-c", changed, "--against", socket],
        &["diff", conf, changed],
        &["diff", "--json", conf, changed],
        &["route", "-c", conf, "k"],
        &["ctl", "--admin", socket, "status"],
        &["ctl", "--admin", socket, "--json", "pools"],
        &["ctl", "--admin", socket, "servers"],
        &["ctl", "--admin", socket, "diff", changed],
        &["ctl", "--admin", socket, "reload"],
    ] {
        let output = ringroad(args);
        assert_hidden(&args.join(" "), &text_of(&output));
        // 1: `diff` has found differences.
        let is_answer = matches!(output.status.code(), Some(0 | 1));
        assert!(is_answer, "{args:?}: {}", text_of(&output));
    }
    for request in ["AUTHH user hunter2", "ACL DRYRUN default AUTH hunter2"] {
        client.ask(request);
    }
    // Files with errors at, before and behind a password, and passwords that are written wrongly.
    let http = |path: &str| {
        let mut reader = Client::connect(proxy.stats_address());
        reader.send(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        show(&reader.read_to_close())
    };
    for fault in [
        "hassh: md5",
        "redis_auth: hunter2",
        "timeout: [",
        "server_user: {}",
        "users: ['shop on hunter2 ~* +@all']",
        "users: ['shop on >my hunter2 ~* +@all']",
        "users: ['>hunter2 shop on']",
        "users: ['shop on #hunter2']",
        "users: ['shop on <hunter2']",
        "sentinel_auth: sha256:hunter2",
    ] {
        let faulty = text.replace("  servers:\n", &format!("  {fault}\n  servers:\n"));
        fs::write(changed, &faulty).unwrap();
        let output = ringroad(&["-t", "-c", changed]);
        assert!(!output.status.success(), "{fault}");
        assert_hidden(fault, &text_of(&output));
        assert_hidden(fault, &proxy.reload_text(&faulty));
        for command in ["status", "events", "refusals"] {
            let output = ringroad(&["ctl", "--admin", socket, command]);
            assert!(output.status.success(), "{}", text_of(&output));
            assert_hidden(command, &text_of(&output));
        }
        for path in ["/api/overview", "/api/status", "/api/refusals", "/metrics"] {
            let answer = http(path);
            assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
            assert_hidden(path, &answer);
        }
    }
    proxy.reload(
        &pool
            .without("server_password")
            .with("server_password", OTHERS),
    );
    drop(client);
    assert_hidden("/metrics", &http("/metrics"));
    let mut reader = Client::connect(proxy.stats_address());
    assert_hidden("the stats port", &show(&reader.read_to_close()));
    assert_hidden("the log", &proxy.process().output());
}
