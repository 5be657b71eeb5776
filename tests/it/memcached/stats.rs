//! The counters of the proxy: in the `stats` command and at the stats port.

use std::collections::BTreeMap;

use super::fleet::Fleet;
use crate::support::{Client, eventually, show};

#[test]
fn stats_command_reports_proxy_counters() {
    let fleet = Fleet::of(4);
    let mut client = fleet.client();
    let first = figures(&mut client);
    let pid = fleet.proxy.process().pid().to_string();
    assert_eq!(first["pid"], pid);
    for name in [
        "uptime",
        "time",
        "version",
        "pointer_size",
        "curr_connections",
        "total_connections",
    ] {
        assert!(first.contains_key(name), "no {name} in {first:?}");
    }
    let _others: Vec<Client> = (0..5)
        .map(|_| {
            let mut other = fleet.client();
            other.chat(&[("mn\r\n", "MN\r\n")]);
            other
        })
        .collect();
    for n in 0..100 {
        client.chat(&[(&format!("get key-{n}\r\n"), "END\r\n")]);
    }
    // Counts are collected from several threads, and so may be slightly old.
    eventually("the connections are counted", || {
        let now = figures(&mut client);
        (number(&now, "curr_connections") == 6 && number(&now, "total_connections") >= 6)
            .then_some(())
    });
    for figure in first.values() {
        assert!(!figure.is_empty());
    }
}

#[test]
fn stats_subcommands_are_refused() {
    let fleet = Fleet::of(2);
    let mut client = fleet.client();
    for what in [
        "items",
        "slabs",
        "settings",
        "sizes",
        "conns",
        "reset",
        "detail on",
    ] {
        let answer = show(&client.say(&format!("stats {what}")));
        assert!(
            answer.starts_with("CLIENT_ERROR ") && answer.contains("server"),
            "{what}: {answer}"
        );
        client.chat(&[("mn\r\n", "MN\r\n")]);
    }
    client.chat(&[("stats noreply\r\nstats nonsense\r\n", "ERROR\r\nERROR\r\n")]);
    assert_eq!(
        figures(&mut client)["pid"],
        fleet.proxy.process().pid().to_string()
    );
}

#[test]
fn stats_port_counts_memcached_requests() {
    let fleet = Fleet::of(2);
    let mut client = fleet.client();
    for n in 0..40 {
        client.chat(&[(&format!("set key-{n} 0 0 5\r\nvalue\r\n"), "STORED\r\n")]);
    }
    client.chat(&[(
        "get nothing none key-0\r\n",
        "VALUE key-0 0 5\r\nvalue\r\nEND\r\n",
    )]);
    client.chat(&[("flush_all\r\n", "OK\r\n")]);
    let stat = |path: &[&str]| fleet.proxy.stat(path);
    let both = |name: &str| stat(&["s0", name]) + stat(&["s1", name]);
    // 40 sets, the fragments of one get and two flushes.
    eventually("every request is counted", || {
        let requests = both("requests");
        (requests == both("responses") && (43..=45).contains(&requests)).then_some(())
    });
    assert_eq!(stat(&["client_connections"]), 1);
    assert_eq!(both("in_queue") + both("out_queue"), 0);
    let bytes = |name: &str| usize::try_from(both(name)).unwrap();
    assert!(bytes("request_bytes") >= 40 * "set key-0 0 0 5\r\nvalue\r\n".len());
    assert!(bytes("response_bytes") >= 40 * "STORED\r\n".len());
    assert_eq!(stat(&["fragments"]), both("requests") - 40);
    assert_eq!(stat(&["forward_error"]) + both("server_err"), 0);

    fleet
        .servers
        .iter()
        .for_each(crate::support::Memcached::kill);
    eventually("the servers are gone", || {
        (both("server_connections") == 0).then_some(())
    });
    client.chat(&[("get a\r\n", "SERVER_ERROR Connection refused\r\n")]);
    eventually("the error is counted", || {
        (both("server_err") >= 1).then_some(())
    });
}

#[test]
fn refused_requests_and_lost_clients_are_counted() {
    let fleet = Fleet::of(1);
    let mut client = fleet.client();
    client.send(b"nonsense\r\nset a 0 0 x\r\n");
    client.read_to_close();
    eventually("the client is gone", || {
        (fleet.proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    assert_eq!(fleet.proxy.stat(&["client_err"]), 1);
}

/// The names and texts of a `stats` reply.
fn figures(client: &mut Client) -> BTreeMap<String, String> {
    let reply = String::from_utf8(client.say("stats")).unwrap();
    let lines = reply.lines().filter_map(|line| line.strip_prefix("STAT "));
    let pairs = lines.map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line}")));
    pairs
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

fn number(figures: &BTreeMap<String, String>, name: &str) -> u64 {
    figures[name].parse().unwrap()
}
