//! The admin socket and `ringroad ctl`, against a real proxy.

pub(crate) mod changes;
mod commands;
mod diff;
mod facts;
mod fake;
mod fake_observe;
mod fake_users;
mod site;
mod socket;
mod stats_port;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use ringroad::admin::api;
use serde_json::Value;
use site::Site;

use crate::support::Client;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin-api.md");

#[test]
fn api_page_is_up_to_date() {
    let reference = api::reference();
    if std::env::var_os("RINGROAD_BLESS").is_some() {
        std::fs::write(PAGE, &reference).unwrap();
    }
    assert!(
        std::fs::read_to_string(PAGE).unwrap_or_default() == reference,
        "docs/admin-api.md is stale: run this test with RINGROAD_BLESS=1"
    );
}

/// The paths of all fields, those of the first element of each list: `servers[].state`.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                fields(value, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(list) => {
            let first = list.first().unwrap_or(&Value::Null);
            fields(first, &format!("{path}[]"), found);
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn fields_of(json: &str) -> BTreeSet<String> {
    let value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let mut found = BTreeSet::new();
    fields(&value, "", &mut found);
    found
}

#[test]
fn curl_commands_of_the_page_work() {
    let site = Site::start();
    // The page ejects a server, which other tests forbid.
    site.rewrite_conf(|yaml| {
        yaml.replacen("redis: true", "redis: true\n  auto_eject_hosts: true", 1)
    });
    site.ctl(&["reload"]);
    // The page disconnects client 7.
    let mut clients: Vec<Client> = (1..=7).map(|_| site.client()).collect();
    for client in &mut clients {
        client.converse(&[("PING", "+PONG\r\n")]);
    }
    clients[0].ask("NOSUCH");
    // There must be something slow, large and hot, on the server that is there.
    clients[0].converse(&[("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n")]);
    let key = (0..100)
        .map(|n| format!("k{n}"))
        .find(|key| clients[0].ask(&format!("SET {key} {}", "v".repeat(40_000))) == b"+OK\r\n");
    for _ in 0..600 {
        clients[0].ask(&format!("GET {}", key.as_ref().unwrap()));
    }
    let page = api::reference();
    let examples: Vec<_> = page.split("```\n$ ").skip(1).collect();
    assert_eq!(examples.len(), api::Operation::ALL.len());
    // There must be something to reload.
    site.rewrite_conf(|yaml| yaml.replacen("redis: true", "redis: true\n  timeout: 777", 1));
    for example in examples {
        let (command, rest) = example.split_once('\n').unwrap();
        let (expected, _) = rest.split_once("\n```").unwrap();
        let mut curl = Command::new("sh")
            .args(["-c", command])
            .env("RINGROAD_ADMIN", site.socket())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // There must be something that passes.
        while command.contains("/tap") && curl.try_wait().unwrap().is_none() {
            clients[0].ask("HGETALL user:1000");
        }
        let output = curl.wait_with_output().unwrap();
        let json = String::from_utf8(output.stdout).unwrap();
        if command.ends_with("/failover") {
            // Its servers have no replicas.
            assert!(
                json.contains("neither 'sentinels' nor 'replicas'"),
                "{json}"
            );
            continue;
        }
        if command.ends_with("/upgrade") {
            assert!(json.contains("No such file or directory"), "{json}");
            continue;
        }
        assert_eq!(fields_of(&json), fields_of(expected), "{command}: {json}");
        assert!(json.ends_with('\n'), "{command}: {json}");
    }
    assert_eq!(
        site.process().exit().code(),
        Some(0),
        "the last one stops it"
    );
}

#[test]
fn requests_are_answered_with_their_status() {
    let site = Site::start();
    let get = |target: &str| site.http(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let post = |target: &str, body: &str| {
        let length = body.len();
        site.http(&format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };
    let long = format!("{{\"pool\": \"{}\"}}", "x".repeat(70_000));
    let cases = [
        (get("/status"), 200, "\"version\""),
        (get("/"), 200, "\"/clients/kill\""),
        (get("/servers?pool=cache"), 200, "\"s0\""),
        (get("/servers?pool=nope"), 404, "no pool 'nope'"),
        (get("/servers?pol=cache"), 400, "unknown parameter 'pol'"),
        (
            get("/servers?pool=cache&pool=mc"),
            400,
            "'pool' is given twice",
        ),
        (get("/status?x=1"), 400, "unknown parameter 'x'"),
        (get("/nope"), 404, "no operation has the path '/nope'"),
        (get("/stop"), 405, "'/stop' takes POST"),
        (
            get("/clients?pool=mc"),
            200,
            "\"unlisted\":[{\"pool\":\"mc\"",
        ),
        (post("/status", ""), 405, "'/status' takes GET"),
        (post("/log-level", "{\"level\": 6}"), 200, "\"debug\""),
        (
            post("/log-level", "{\"step\": \"down\"}"),
            200,
            "\"level\":5",
        ),
        (post("/log-level", "{\"level\": 12}"), 400, "12 is above 11"),
        (
            post("/log-level", "{\"level\": 5, \"step\": \"up\"}"),
            400,
            "either",
        ),
        (
            post("/log-level", "{\"levl\": 5}"),
            400,
            "unknown field `levl`",
        ),
        (post("/log-level", "[5]"), 400, "not a JSON object"),
        (post("/log-level", "{"), 400, "the body is invalid"),
        (post("/log-level?level=5", ""), 400, "in its body"),
        (post("/clients/kill", ""), 400, "either 'id' or 'address'"),
        (
            post("/clients/kill", "{\"id\": 999}"),
            404,
            "no client with id 999",
        ),
        (
            post("/clients/kill", "{\"address\": \"1.2.3.4:5\"}"),
            404,
            "no client with address '1.2.3.4:5'",
        ),
        (
            post("/clients/kill", "{\"id\": 1, \"pool\": \"mc\"}"),
            409,
            "keeps no list of its clients",
        ),
        (post("/clients/kill", &long), 400, "longer than 65536 bytes"),
    ];
    for (nth, ((status, body), expected, text)) in cases.into_iter().enumerate() {
        assert_eq!(status, expected, "{nth}: {body}");
        let json: Value = serde_json::from_str(&body).unwrap();
        assert!(body.contains(text), "{nth}: {body}");
        assert_eq!(
            json.get("error").is_some(),
            expected != 200,
            "{nth}: {body}"
        );
    }
}
