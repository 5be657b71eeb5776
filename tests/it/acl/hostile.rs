//! Users that are many, patterns that are bombs, clients that try.

use std::time::{Duration, Instant};

use super::list;
use crate::support::{Pool, Proxy, RedisServer, command};

#[test]
fn pattern_bombs_delay_no_others() {
    let server = RedisServer::start();
    let bomb = format!("{}b", "*a".repeat(100));
    let users = list(&[
        &format!("bomber on nopass ~{bomb} &{bomb} +@all"),
        "other on nopass ~* +@all",
    ]);
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("users", users));
    let (mut bomber, mut other) = (proxy.client(), proxy.client());
    bomber.converse(&[("AUTH bomber x", "+OK\r\n")]);
    other.converse(&[("AUTH other x", "+OK\r\n")]);
    let key = "a".repeat(20_000);
    let begin = Instant::now();
    for _ in 0..20 {
        let bombs = [command(&["GET", &key]), command(&["PUBLISH", &key, "x"])];
        bomber.send(&bombs.concat());
        other.converse(&[("GET a", "$-1\r\n")]);
        for _ in bombs {
            assert!(bomber.reply().starts_with(b"-NOPERM"));
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
    // What is kept of the key is little.
    let log = other.ask("ACL LOG");
    assert!(log.len() < 10_000, "{}", log.len());
}

#[test]
fn ten_thousand_users_are_served() {
    let server = RedisServer::start();
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("users.acl");
    let line = |nth: u32| {
        format!("user u{nth} on >p{nth} ~u{nth}:* %R~shared:* &u{nth}.* +@all -@dangerous\n")
    };
    let text: String = (0..10_000).map(line).collect();
    std::fs::write(&file, &text).unwrap();
    let pool = Pool::of([&server]).with("users_file", file.display());
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    for nth in [0, 4_999, 9_999] {
        client.converse(&[
            (&format!("AUTH u{nth} p{nth}"), "+OK\r\n"),
            (&format!("SET u{nth}:1 x"), "+OK\r\n"),
            (
                "SET u5:1 x",
                "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
            ),
        ]);
    }
    let mut admin = proxy.client();
    for nth in 0..50 {
        admin.converse(&[(
            &format!("ACL SETUSER new{nth} on nopass ~* +get"),
            "+OK\r\n",
        )]);
    }
    assert!(admin.ask("ACL USERS").starts_with(b"*10051\r\n"));
    // All of them go, and with them the client.
    std::fs::write(&file, "user last on nopass +@all\n").unwrap();
    proxy.reload(&pool);
    client.expect_close();
    assert!(admin.ask("ACL USERS").starts_with(b"*52\r\n"));
}

#[test]
fn rules_of_any_bytes_are_answered() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    let mut random = fastrand::Rng::with_seed(17);
    let letters = b"+-@~%&><#!()|RW*?[]\\ \0\r\n\xffabcgetonfall";
    for _ in 0..2000 {
        let rule = |random: &mut fastrand::Rng| -> Vec<u8> {
            let length = random.usize(0..12);
            (0..length)
                .map(|_| letters[random.usize(..letters.len())])
                .collect()
        };
        let request = [
            b"ACL".to_vec(),
            b"SETUSER".to_vec(),
            rule(&mut random),
            rule(&mut random),
            rule(&mut random),
        ];
        client.send(&command(&request));
        let reply = client.reply();
        assert!(
            reply == b"+OK\r\n" || reply.starts_with(b"-ERR "),
            "{request:?}"
        );
    }
    // What was made is shown in one line each.
    assert!(client.ask("ACL LIST").starts_with(b"*"));
    client.converse(&[("PING", "+PONG\r\n")]);
}
