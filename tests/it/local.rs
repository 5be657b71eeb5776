//! What the proxy answers itself.

use std::collections::BTreeMap;

use crate::support::{Client, Pool, Proxy, RedisServer, show};

/// The fields of a section of `INFO`, or of all.
fn info(client: &mut Client, sections: &str) -> BTreeMap<String, String> {
    let reply = client.ask(format!("INFO {sections}").trim_end());
    let text = String::from_utf8(reply).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> u64 {
    fields[name]
        .parse()
        .unwrap_or_else(|error| panic!("{name}:{}: {error}", fields[name]))
}

#[test]
fn what_a_pool_switches_off_is_refused_and_nothing_else() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with(
        "disabled_commands",
        "[get, 'client setname', COMMAND|DOCS, OBJECT]",
    );
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let reason = "the option 'disabled_commands' of this pool names it";
    for (request, disabled) in [
        ("GET a", "GET"),
        ("gEt a", "GET"),
        ("CLIENT SETNAME me", "CLIENT SETNAME"),
        ("COMMAND DOCS get", "COMMAND DOCS"),
        ("OBJECT ENCODING a", "OBJECT ENCODING"),
        ("OBJECT HELP", "OBJECT HELP"),
    ] {
        let expected = format!("-ERR disabled command '{disabled}': {reason}\r\n");
        assert_eq!(show(&client.ask(request)), show(expected.as_bytes()));
    }
    for (request, expected) in [
        ("SET a 1", "+OK\r\n"),
        ("MGET a", "*1\r\n$1\r\n1\r\n"),
        ("GETEX a", "$1\r\n1\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        (
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
    ] {
        assert_eq!(show(&client.ask(request)), show(expected.as_bytes()));
    }
    let refused = info(&mut client, "ringroad");
    assert_eq!(number(&refused, "requests_refused"), 7);
}

#[test]
fn info_counts_what_all_workers_did() {
    let servers = RedisServer::several::<2>();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        for request in ["SET a 1", "MGET a b c d", "PING", "GET"] {
            client.ask(request);
        }
    }
    let asker = &mut clients[0];
    let first = info(asker, "");
    // Workers publish what they have counted when they like: once each of them has, all is there.
    let fields = crate::support::eventually("all workers' counts", || {
        let fields = info(asker, "");
        (number(&fields, "total_commands_processed") >= 12).then_some(fields)
    });
    assert!(number(&fields, "total_connections_received") >= 4);
    assert_eq!(fields["redis_version"], "7.0.15");
    assert_eq!(fields["run_id"], first["run_id"]);
    assert_eq!(fields["run_id"].len(), 40);
    assert_eq!(fields["loading"], "0");
    assert_eq!(fields["role"], "master");
    assert_eq!(fields["ringroad_servers"], "2");
    assert!(number(&fields, "used_memory_rss") > 1_000_000);
    assert!(number(&fields, "total_net_input_bytes") > 100);
    assert!(fields["used_cpu_user"].parse::<f64>().is_ok());
    let connected = crate::support::eventually("the count of clients", || {
        let fields = info(asker, "clients");
        (number(&fields, "connected_clients") == 4).then_some(fields)
    });
    assert!(!connected.contains_key("redis_version"));
}
