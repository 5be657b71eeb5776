//! Keys that are moved, copied and looked for on servers that speak nothing but TLS.

use std::process::Command;

use crate::sentinel::failovers::Writer;
use crate::support::{Client, Pool, Proxy, RedisServer, show};

use super::fleet::Fleet;

const KEYS: usize = 300;

/// Runs a tool with files of pools `old.yml` and `new.yml` to its successful end.
fn succeed(fleet: &Fleet, [old, new]: [&Pool; 2], words: &str) -> String {
    let listen = "127.0.0.1:16121".parse().unwrap();
    fleet.write("old.yml", &old.yaml(listen));
    let file = fleet.write("new.yml", &new.yaml(listen));
    let output = Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .current_dir(file.parent().unwrap())
        .args(words.split(' '))
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{words}: {text}");
    text
}

fn fill(client: &mut Client) {
    for n in 0..KEYS {
        client.converse(&[(&format!("SET key{n} value{n}"), "+OK\r\n")]);
        client.converse(&[(&format!("RPUSH list{n} a b c"), ":3\r\n")]);
    }
}

fn assert_filled(client: &mut Client) {
    for n in 0..KEYS {
        let reply = show(&client.ask(&format!("GET key{n}")));
        assert!(reply.contains(&format!("value{n}\\r")), "{n}: {reply}");
        let reply = show(&client.ask(&format!("LRANGE list{n} 0 -1")));
        assert_eq!(
            reply,
            "*3\\r\\n$1\\r\\na\\r\\n$1\\r\\nb\\r\\n$1\\r\\nc\\r\\n"
        );
    }
}

fn number_of_keys(fleet: &Fleet, server: &RedisServer) -> usize {
    let reply = show(&fleet.ask(server, "DBSIZE"));
    let digits = reply.trim_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap()
}

#[test]
fn pool_is_copied_over_tls() {
    let fleet = Fleet::new();
    let servers = [(); 3].map(|()| fleet.server());
    let old = fleet.pool(Pool::of(&servers[..1]));
    let new = fleet.pool(Pool::of(&servers[1..]).with("hash", "murmur"));
    fill(&mut Proxy::ringroad(&old).client());
    let words = "copy --from old.yml --to new.yml --once --yes --json";
    let report = succeed(&fleet, [&old, &new], words);
    assert!(report.contains("\"equal\":true"), "{report}");
    assert_filled(&mut Proxy::ringroad(&new).client());
    succeed(&fleet, [&old, &new], "verify -c new.yml");
}

#[test]
fn keys_move_over_tls_under_load() {
    let fleet = Fleet::new();
    let servers = [(); 3].map(|()| fleet.server());
    let [old, new] = [&servers[..2], &servers[..]]
        .map(|servers| fleet.pool(Pool::of(servers)).with("placement_guard", true));
    let proxy = Proxy::ringroad(&old);
    let mut client = proxy.client();
    fill(&mut client);
    let writer = Writer::start(&proxy);
    let words = "reshard start -c old.yml --to new.yml --yes";
    let report = succeed(&fleet, [&old, &new], words);
    assert!(
        report.contains("all keys are where the new file"),
        "{report}"
    );
    assert!(number_of_keys(&fleet, &servers[2]) > KEYS / 4);
    assert_filled(&mut client);
    let acknowledged = writer.end().to_string();
    let counted = format!("${}\r\n{acknowledged}\r\n", acknowledged.len());
    client.converse(&[("GET n", &counted)]);
    succeed(&fleet, [&old, &new], "verify -c new.yml");
}

#[test]
fn server_over_tls_is_replaced_by_replication() {
    let fleet = Fleet::new();
    let servers = [(); 3].map(|()| fleet.server());
    let [first, second, third] = servers.each_ref();
    let [old, new] = [[first, second], [first, third]]
        .map(|servers| fleet.pool(Pool::of(servers)).with("placement_guard", true));
    let proxy = Proxy::ringroad(&old);
    let mut client = proxy.client();
    fill(&mut client);
    let moved = number_of_keys(&fleet, second);
    let words = "reshard start -c old.yml --to new.yml --by replication --yes";
    let report = succeed(&fleet, [&old, &new], words);
    assert!(
        report.contains("all keys are where the new file"),
        "{report}"
    );
    assert!(number_of_keys(&fleet, third) >= moved);
    assert_filled(&mut client);
    succeed(&fleet, [&old, &new], "verify -c new.yml");
}
