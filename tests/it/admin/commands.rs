//! Each command of `ringroad ctl`: its table, its JSON, and its exit code.

use std::process::Command;

use ringroad::admin::api::Operation;
use serde_json::{Value, json};

use super::site::{Site, ctl};
use crate::support::eventually;

fn json(site: &Site, args: &[&str]) -> Value {
    serde_json::from_str(&site.ctl(&[&["--json"], args].concat())).unwrap()
}

#[test]
fn status_shows_the_proxy() {
    let site = Site::start();
    let _clients = [site.client(), site.client()];
    let status = eventually("both clients are counted", || {
        let status = json(&site, &["status"]);
        (status["clients"] == 2).then_some(status)
    });
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], site.process().pid());
    assert_eq!(status["state"], "serving");
    assert_eq!(
        (&status["pools"], &status["log_level"]),
        (&json!(2), &json!(5))
    );
    let file = site.socket().with_file_name("pool.yml");
    assert_eq!(status["config_file"], file.to_str().unwrap());
    let text = site.ctl(&["status"]);
    let pid = format!("\npid          {}\n", site.process().pid());
    assert!(
        text.contains(&pid) && text.contains("\nstate        serving\n"),
        "{text}"
    );
}

#[test]
fn pools_and_servers_show_their_counts() {
    let site = Site::start();
    let mut client = site.client();
    client.converse(&[("SET a{s0} 1", "+OK\r\n")]);
    let server = |name: &str| {
        let servers = json(&site, &["servers", "cache"]);
        let servers = servers["servers"].as_array().unwrap().clone();
        servers
            .into_iter()
            .find(|server| server["server"] == name)
            .unwrap()
    };
    // Half of the keys have no server: some request fails.
    for key in 0..50 {
        client.ask(&format!("GET {key}"));
    }
    let missing = eventually("the missing server is noticed", || {
        let server = server("s1");
        (server["errors"].as_u64() > Some(0)).then_some(server)
    });
    assert_eq!(
        (&missing["weight"], &missing["state"]),
        (&json!(2), &json!("live"))
    );
    let live = server("s0");
    assert_eq!(
        (&live["pool"], &live["queued"]),
        (&json!("cache"), &json!(0))
    );
    assert!(
        live["requests"].as_u64() > Some(0) && live["connections"].as_u64() > Some(0),
        "{live}"
    );

    let table = site.ctl(&["servers"]);
    let header: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    let expected = "POOL SERVER ADDRESS WEIGHT STATE CONNECTIONS QUEUED IN_FLIGHT REQUESTS ERRORS";
    assert_eq!(header.join(" "), expected);
    assert_eq!(table.lines().count(), 1 + 3, "{table}");

    let pools = eventually("a rate is known", || {
        let pools = json(&site, &["pools"]);
        let is_known = pools["pools"][1]["requests_per_second"].is_u64();
        is_known.then_some(pools)
    });
    let cache = &pools["pools"][1];
    assert_eq!(
        (&cache["pool"], &cache["protocol"]),
        (&json!("cache"), &json!("redis"))
    );
    assert_eq!(
        (&cache["servers"], &cache["live_servers"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(cache["clients"], 1);
    let table = site.ctl(&["pools"]);
    assert!(table.starts_with("POOL   PROTOCOL   LISTEN "), "{table}");
}

#[test]
fn commands_and_refusals_are_listed_with_their_counts() {
    let site = Site::start();
    let mut client = site.client();
    for request in [
        "SET a{s0} 1",
        "GET a{s0}",
        "GET a{s0}",
        "LPUSH a{s0} 1",
        "GET",
        "NOSUCH secret",
        "nosuch",
        "CONFIG NOSUCH",
        "SWAPDB 0 1",
        "MSETNX a{s0} 1 b{s1} 2 c 3 d 4 e 5 f 6 g 7",
        "FLUSHALL",
    ] {
        client.ask(request);
    }
    let find = |path: &str, command: &str| -> Value {
        let answer = json(&site, &[path, "cache"]);
        let all = answer[path].as_array().unwrap().clone();
        let found = all.into_iter().find(|one| one["command"] == command);
        found.unwrap_or_else(|| panic!("no {command} in {answer}"))
    };
    let get = find("commands", "get");
    assert_eq!(
        (
            &get["class"],
            &get["calls"],
            &get["errors"],
            &get["refused"]
        ),
        (&json!("read"), &json!(2), &json!(0), &json!(1))
    );
    let [p50, total] = [&get["p50_us"], &get["total_us"]].map(|micros| micros.as_u64().unwrap());
    assert!(p50 > 0 && total > 0, "{get}");
    assert_eq!(find("commands", "lpush")["errors"], 1);
    assert_eq!(find("commands", "swapdb")["p50_us"], Value::Null);
    for (command, reason, unknown, count) in [
        ("NOSUCH", "unknown_command", true, 2),
        ("CONFIG|NOSUCH", "unknown_subcommand", true, 1),
        ("get", "wrong_arguments", false, 1),
        ("swapdb", "unsupported_command", false, 1),
        ("msetnx", "keys_on_several_servers", false, 1),
    ] {
        let refused = find("refusals", command);
        assert_eq!(
            (&refused["reason"], &refused["unknown"], &refused["count"]),
            (&json!(reason), &json!(unknown), &json!(count)),
            "{refused}"
        );
        assert!(refused["age_seconds"].as_u64() < Some(60), "{refused}");
        // That to an unknown command has its arguments.
        let reply = refused["reply"].as_str().unwrap();
        let is_hidden = reason == "unknown_command" && reply.is_empty();
        assert!(is_hidden || reply.starts_with("ERR "), "{refused}");
    }
    assert_eq!(json(&site, &["refusals", "mc"]), json!({ "refusals": [] }));
    let table = site.ctl(&["commands"]);
    assert!(table.starts_with("POOL   COMMAND "), "{table}");
}

#[test]
fn clients_are_listed_and_killed() {
    let site = Site::start();
    let [mut first, mut second, mut third] = ["one", "two", "three"].map(|name| {
        let mut client = site.client();
        client.converse(&[(&format!("CLIENT SETNAME {name}"), "+OK\r\n")]);
        client
    });
    let listed = |args: &[&str]| {
        let answer = json(&site, args);
        let clients = answer["clients"].as_array().unwrap().iter();
        let names = clients.map(|client| client["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for args in [
        &["clients"][..],
        &["clients", "list"],
        &["clients", "cache"],
        &["clients", "cache", "list"],
        &["clients", "--pool", "cache"],
    ] {
        assert_eq!(listed(args), ["one", "two", "three"], "{args:?}");
    }
    let of = |name: &str, field: &str| {
        let answer = json(&site, &["clients"]);
        let clients = answer["clients"].as_array().unwrap().clone();
        let client = clients.into_iter().find(|client| client["name"] == name);
        client.unwrap()[field].clone()
    };
    let id = of("one", "id").to_string();
    let killed = site.ctl(&["clients", "kill", &id]);
    assert!(
        killed.starts_with(&format!("client {id} of pool cache killed: ")),
        "{killed}"
    );
    first.expect_close();

    let address = of("two", "address").as_str().unwrap().to_owned();
    let killed = json(&site, &["clients", "cache", "kill", &address]);
    assert_eq!(killed["killed"][0]["address"], address);
    second.expect_close();
    assert_eq!(listed(&["clients"]), ["three"]);

    let table = site.ctl(&["clients"]);
    assert!(table.starts_with("POOL   ID  ADDRESS "), "{table}");
    let note = "\nnote: pool mc has 0 clients; memcached pools keep no list of them\n";
    assert!(table.ends_with(note), "{table}");
    third.converse(&[("PING", "+PONG\r\n")]);
}

#[test]
fn log_level_is_read_and_set() {
    let site = Site::start();
    assert_eq!(site.ctl(&["loglevel"]), "log level 5: info\n");
    assert_eq!(site.ctl(&["loglevel", "up"]), "log level 6: debug\n");
    assert_eq!(site.ctl(&["loglevel", "11"]), "log level 11: trace\n");
    assert_eq!(site.ctl(&["loglevel", "up"]), "log level 11: trace\n");
    assert_eq!(site.ctl(&["loglevel", "down"]), "log level 10: trace\n");
    assert_eq!(
        json(&site, &["loglevel", "0"]),
        json!({"level": 0, "shows": "off"})
    );
    site.process()
        .await_output("log level set by an operator level=10");
}

#[test]
fn refusals_are_the_words_of_the_proxy() {
    let site = Site::start();
    let cases: [(&[&str], &str); 7] = [
        (&["drain", "nope"], "no server 'nope' in any pool"),
        (
            &["admit", "--pool", "mc", "s0"],
            "no server 's0' in pool 'mc'",
        ),
        (&["eject", "--pool", "x", "s0"], "no pool 'x'"),
        (&["servers", "nope"], "no pool 'nope'"),
        (&["clients", "a b&c=%", "list"], "no pool 'a b&c=%'"),
        (&["clients", "kill", "999"], "no client with id 999"),
        (
            &["clients", "mc", "kill", "1"],
            "pool 'mc' is a memcached pool, which keeps no list of its clients",
        ),
    ];
    for (args, error) in cases {
        let output = site.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("ringroad: {error}\n"));
        assert!(output.stdout.is_empty(), "{args:?}");

        let output = site.run(&[&["--json"], args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer, json!({"error": error, "details": []}));
    }
}

#[test]
fn invalid_arguments_exit_2_with_the_usage() {
    let cases: [(&[&str], &str); 21] = [
        (&["status", "--check"], "unrecognized option '--check'"),
        (&["drain"], "drain requires the name of a server"),
        (&["failover"], "failover requires the name of a server"),
        (
            &["failover", "s0", "--to", "x"],
            "'x' is no address of a replica, as in 10.0.0.5:6379",
        ),
        (&["admit", "a", "b"], "unexpected argument 'b'"),
        (&["diff"], "diff requires a file"),
        (&["diff", "a", "b"], "unexpected argument 'b'"),
        (&["reload", "now"], "unexpected argument 'now'"),
        (&["reload", "--swap"], "option --swap requires a name"),
        (&[], "ctl requires a command"),
        (&["--json"], "ctl requires a command"),
        (
            &["statsu"],
            "unknown command 'statsu'; did you mean 'status'?",
        ),
        (&["status", "now"], "unexpected argument 'now'"),
        (&["status", "-z"], "invalid option -- 'z'"),
        (&["servers", "a", "b"], "unexpected argument 'b'"),
        (&["servers", "a", "--pool", "b"], "unexpected argument 'a'"),
        (
            &["clients", "kill"],
            "kill requires a client's id or address",
        ),
        (
            &["clients", "a", "b", "kill", "1"],
            "unexpected argument 'b'",
        ),
        (
            &["loglevel", "12"],
            "log level '12' is not 0 to 11, up or down",
        ),
        (
            &["status", "--admin"],
            "option --admin requires a file name",
        ),
        (&["status", "--pool", "x"], "unrecognized option '--pool'"),
    ];
    for (args, message) in cases {
        let output = ctl(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected = format!("ringroad: {message}\nUsage: ringroad ctl ");
        assert!(stderr.starts_with(&expected), "{args:?}: {stderr}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn help_lists_every_command() {
    for args in [&["-h"][..], &["--help"], &["servers", "-h"]] {
        let output = ctl(args);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        for operation in Operation::ALL {
            let command = operation.endpoint().command;
            assert!(
                text.contains(&format!("\n  {command} ")),
                "{command}: {text}"
            );
        }
    }
}

#[test]
fn socket_may_come_from_the_environment() {
    let site = Site::start();
    let ask = |args: &[&str], variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        let output = command
            .arg("ctl")
            .args(args)
            .env("RINGROAD_ADMIN", variable);
        output.output().unwrap().status.code()
    };
    let socket = site.socket().display().to_string();
    assert_eq!(ask(&["status"], &socket), Some(0));
    assert_eq!(ask(&["status", "--admin", &socket], "/none"), Some(0));
    assert_eq!(ask(&["--admin", "/none", "status"], &socket), Some(3));
}

#[test]
fn completions_know_the_commands() {
    let script = |shell: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        let output = command.args(["completions", shell]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["zsh", "fish"] {
        let script = script(shell);
        for word in ["loglevel", "conf-file", "completions", "route"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let complete = |words: &str, last: usize| {
        let ask = concat!(
            "\nCOMP_WORDS=($1); COMP_CWORD=$2\n",
            "_ringroad ringroad \"${COMP_WORDS[$2]}\" \"${COMP_WORDS[$2-1]}\"\n",
            "echo ${COMPREPLY[*]}",
        );
        let output = Command::new("bash")
            .args([
                "-c",
                &(script("bash") + ask),
                "bash",
                words,
                &last.to_string(),
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("ringroad ctl cl", 2), "clients");
    assert_eq!(
        complete("ringroad ctl s", 2),
        "status servers setuser slowlog stop"
    );
    assert_eq!(complete("ringroad ctl servers --po", 3), "--pool");
    assert_eq!(complete("ringroad ctl di", 2), "diff");
    assert_eq!(complete("ringroad --ag", 1), "--against");
    assert_eq!(complete("ringroad comp", 1), "completions");
    assert_eq!(complete("ringroad --workers", 1), "--workers");
}
