//! Users of the configuration file, and of a file of their own.

use super::{list, same};
use crate::support::{Kind, Launch, Pool, Proxy, RedisServer, eventually, show};

/// A proxy with these users, by a list or by a file of their own.
fn refusal(pool: &Pool) -> String {
    let dir = tempfile::TempDir::new().unwrap();
    let conf = dir.path().join("p.yml");
    std::fs::write(&conf, pool.yaml("127.0.0.1:1".parse().unwrap())).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .args(["-t", "-c"])
        .arg(&conf)
        .output()
        .unwrap();
    let text =
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    text.replace(&dir.path().display().to_string(), "DIR")
}

#[test]
fn wrong_users_are_refused_with_their_line() {
    let pool = || Pool::named(["127.0.0.1:1:1".to_owned()]);
    for (users, expected) in [
        (
            "['alice on +nosuch']",
            "DIR/p.yml:4: pool 'p': key 'users': user 'alice': rule '+nosuch': Unknown command or category name in ACL",
        ),
        (
            "['alice (+get)']",
            "user 'alice': rule '(+get)': Selectors are not supported by the proxy; give the user one set of rules",
        ),
        (
            "['alice #hunter2']",
            "user 'alice': a password: The password hash must be exactly 64 characters",
        ),
        (
            "['alice on', 'alice off']",
            "user 'alice' is a duplicate; the first is on line 4",
        ),
        ("[' ']", "an entry must begin with a user's name"),
        ("alice", "must be a list of users"),
        (
            "\n    - alice on ~* #hunter2",
            "DIR/p.yml:5: pool 'p': key 'users': has an unquoted '#' behind a space",
        ),
        ("['a on']\n  users_file: x", "is not possible with 'users'"),
    ] {
        let text = refusal(&pool().with("users", users));
        assert!(text.contains(expected), "{users}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = refusal(&pool().with("users_file", "nosuch.acl"));
    assert!(text.contains("DIR/nosuch.acl cannot be read"), "{text}");
    let text = refusal(&pool().speaking_memcached().with("users", "['a on']"));
    assert!(text.contains("is only valid with 'redis: true'"), "{text}");
}

#[test]
fn file_of_users_is_read_again_by_a_reload() {
    let server = RedisServer::start();
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("users.acl");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("user alice on >one ~a:* +@all\r\n\nuser default off resetchannels -@all\n");
    let pool = Pool::of([&server]).with("users_file", file.display());
    let proxy = Proxy::ringroad(&pool);
    let (mut alice, mut other) = (proxy.client(), proxy.client());
    other.converse(&[("PING", "-NOAUTH Authentication required.\r\n")]);
    alice.converse(&[("AUTH alice one", "+OK\r\n"), ("SET a:1 x", "+OK\r\n")]);
    write("user alice on >two ~b:* +@all\nuser bob on nopass +@all\n");
    proxy.reload(&pool);
    alice.converse(&[
        (
            "SET a:1 x",
            "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
        ),
        ("SET b:1 x", "+OK\r\n"),
    ]);
    other.converse(&[
        ("PING", "+PONG\r\n"),
        (
            "AUTH alice one",
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        ),
        ("AUTH bob x", "+OK\r\n"),
    ]);
    write("user bob on nopass +@all\nuser carl off (+get)\n");
    let outcome = proxy.reload_text(&pool.yaml(proxy.address()));
    assert!(
        outcome.contains("users.acl:2: user 'carl': rule '(+get)'"),
        "{outcome}"
    );
    alice.converse(&[("SET b:1 x", "+OK\r\n")]);
    write("user bob on nopass +@all\n");
    proxy.reload(&pool);
    alice.expect_close();
    other.converse(&[("PING", "+PONG\r\n")]);
}

#[test]
fn reload_changes_only_users_that_the_file_changes() {
    let server = RedisServer::start();
    let pool = |users: &[&str]| Pool::of([&server]).with("users", list(users));
    let kept = "kept on nopass ~* +@all";
    let proxy = Proxy::ringroad(&pool(&[kept, "changed on nopass ~* +@all", "gone on"]));
    let mut admin = proxy.client();
    for request in [
        "ACL SETUSER kept -get",
        "ACL SETUSER changed -get",
        "ACL SETUSER new on nopass",
    ] {
        admin.converse(&[(request, "+OK\r\n")]);
    }
    admin.converse(&[("ACL DELUSER gone", ":1\r\n")]);
    proxy.reload(&pool(&[kept, "changed on nopass ~* +@all -set", "gone on"]));
    let users = String::from_utf8(admin.ask("ACL LIST")).unwrap();
    for line in [
        "user kept on nopass ~* resetchannels +@all -get\r\n",
        "user changed on nopass ~* resetchannels +@all -set\r\n",
        "user new on nopass resetchannels -@all\r\n",
        "user default on nopass ~* &* +@all\r\n",
    ] {
        assert!(users.contains(line), "{users}");
    }
    assert!(!users.contains("user gone"), "{users}");
}

#[test]
fn default_user_is_what_redis_auth_says() {
    let (real, server) = (
        RedisServer::start_with(&["--requirepass", "secret"]),
        RedisServer::start_with(&["--requirepass", "secret"]),
    );
    let pool = Pool::of([&server]).with("redis_auth", "secret");
    let proxy = Proxy::ringroad(
        &pool
            .clone()
            .with("users", list(&["alice on >one ~* +@all"])),
    );
    let mut clients = [real.client(), proxy.client()];
    let mut admin = real.client();
    admin.converse(&[
        ("AUTH secret", "+OK\r\n"),
        ("ACL SETUSER alice on >one ~* +@all", "+OK\r\n"),
    ]);
    for request in [
        "PING",
        "HELLO",
        "EXEC",
        "AUTH wrong",
        "AUTH alice two",
        "AUTH alice one",
        "SET a b",
        "RESET",
        "PING",
        "AUTH secret",
        "GET a",
        "ACL LIST",
    ] {
        same(&mut clients, request);
    }
    // With a default user of its own, it is only the password of the servers.
    let users = list(&["default on >other ~* &* +@all"]);
    let proxy = Proxy::ringroad(&pool.with("users", users));
    let mut client = proxy.client();
    assert!(client.ask("AUTH secret").starts_with(b"-WRONGPASS"));
    client.converse(&[("AUTH other", "+OK\r\n"), ("GET a", "$1\r\nb\r\n")]);
    let said = proxy.process().output();
    assert!(!said.contains("other"), "{}", show(said.as_bytes()));
}

#[test]
fn watched_file_of_users_is_read_when_it_changes() {
    let server = RedisServer::start();
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("users.acl");
    std::fs::write(&file, "user alice on nopass +@all\n").unwrap();
    let launch = Launch {
        args: vec!["--watch".to_owned()],
        ..Launch::default()
    };
    let pool = Pool::of([&server])
        .with("users_file", file.display())
        .with("client_address_auth_failures", 0);
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let lets_in = |name: &str| proxy.ask(&format!("AUTH {name} x")) == b"+OK\r\n";
    assert!(lets_in("alice"));
    for name in ["bob", "carol"] {
        std::fs::write(&file, format!("user {name} on nopass +@all\n")).unwrap();
        eventually("the file is read", || lets_in(name).then_some(()));
    }
    assert!(!lets_in("alice"));
    // A configuration that names it no longer comes as the file goes.
    let listed = Pool::of([&server])
        .with("users", list(&["dave on nopass +@all"]))
        .with("client_address_auth_failures", 0);
    std::fs::write(proxy.conf(), listed.yaml(proxy.address())).unwrap();
    std::fs::remove_file(&file).unwrap();
    eventually("the configuration is read", || {
        lets_in("dave").then_some(())
    });
}
