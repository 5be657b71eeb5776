//! Users that an operator changes with `ringroad ctl`.

use serde_json::Value;

use crate::admin::changes::Controlled;
use crate::support::{Pool, RedisServer};

const OK: &str = "+OK\r\n";

fn of(users: &Value, name: &str) -> Value {
    let users = users["users"].as_array().unwrap();
    let found = users.iter().find(|user| user["user"] == name);
    found.cloned().unwrap_or_default()
}

#[test]
fn operator_changes_users_of_all_workers_at_once() {
    let server = RedisServer::start();
    let controlled = Controlled::start(&Pool::of([&server]));
    let made = controlled.ctl(&["setuser", "p", "shop", "on", ">hunter2", "~shop:*", "+@all"]);
    assert!(!made.contains("hunter2"), "{made}");
    let mut clients: Vec<_> = (0..8).map(|_| controlled.proxy.client()).collect();
    for client in &mut clients {
        client.converse(&[
            ("AUTH shop hunter2", OK),
            ("SET shop:1 v", OK),
            (
                "GET other",
                "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
            ),
        ]);
    }
    let shop = of(&controlled.json(&["users", "p"]), "shop");
    assert_eq!(shop["clients"], 8);
    assert_eq!(shop["passwords"], 1);
    assert_eq!(shop["keys"], "~shop:*");
    controlled.ctl(&["setuser", "p", "shop", "-get"]);
    for client in &mut clients {
        client.converse(&[(
            "GET shop:1",
            "-NOPERM this user has no permissions to run the 'get' command\r\n",
        )]);
    }
    let deleted = controlled.ctl(&["deluser", "p", "shop"]);
    assert_eq!(
        deleted,
        "pool 'p': user 'shop' deleted, clients disconnected: 8\n"
    );
    for client in &mut clients {
        client.expect_close();
    }
    assert!(of(&controlled.json(&["users"]), "shop").is_null());
    let events = controlled.ctl(&["events"]);
    assert!(
        events.contains("user 'shop' deleted by an operator"),
        "{events}"
    );
    let log = controlled.proxy.process().output();
    assert!(log.contains("user set by an operator"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn wrong_change_of_an_operator_changes_nothing() {
    let server = RedisServer::start();
    let controlled = Controlled::start(&Pool::of([&server]));
    controlled.ctl(&["setuser", "p", "shop", "on", "nopass"]);
    for (command, expected) in [
        (
            &["setuser", "p", "shop", "+get", "hunter2"][..],
            "what stands in place 2 behind the name is no rule",
        ),
        (
            &["setuser", "p", "shop", "+get", "+gett"],
            "rule '+gett': Unknown command or category name in ACL",
        ),
        (&["setuser", "q", "shop", "on"], "no pool 'q'"),
        (&["deluser", "p", "nobody"], "no user 'nobody' in pool 'p'"),
        (
            &["deluser", "p", "default"],
            "the default user cannot be deleted; set it 'off'",
        ),
    ] {
        let (first, details) = controlled.refusal(command);
        assert!(first.contains(expected), "{command:?}: {first}");
        assert!(!format!("{first}{details}").contains("hunter2"), "{first}");
    }
    let shop = of(&controlled.json(&["users", "p"]), "shop");
    assert_eq!(shop["commands"], "-@all");
}

#[test]
fn words_that_are_none_are_not_sent() {
    let server = RedisServer::start();
    let controlled = Controlled::start(&Pool::of([&server]));
    for words in [
        ["", "on"],
        ["shop", ""],
        ["shop", "on\t+@all"],
        ["a b", "on"],
    ] {
        let output = controlled.run(&[&["setuser", "p"], &words[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("words without spaces, and not empty"),
            "{said}"
        );
    }
}
