//! Commands that the proxy answers, within the transactions of a pool with one server.

use crate::leases::leases;

use super::{ABORTED, OK, QUEUED};
use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show, words};

/// A server, a proxy before it, and a server that is asked the same directly.
fn both() -> (RedisServer, RedisServer, Proxy) {
    let (alone, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("databases", 16));
    (alone, server, proxy)
}

fn replies(client: &mut Client, requests: &[&str]) -> Vec<(String, String)> {
    let ask = |request: &&str| (request.to_string(), show(&client.ask(request)));
    requests.iter().map(ask).collect()
}

#[test]
fn local_commands_are_executed_in_order_by_exec() {
    let (alone, _server, proxy) = both();
    let requests = [
        "SET k zero",
        "MULTI",
        "CLIENT SETNAME a",
        "CLIENT GETNAME",
        "GET k",
        "SELECT 1",
        "SET k one",
        "CLIENT SETNAME b",
        "SELECT 16",
        "SELECT x",
        "INCR k",
        "SELECT 2",
        "SET k two",
        "WAIT 0 0",
        "CLIENT GETNAME",
        "CLIENT NO-EVICT OFF",
        "ACL WHOAMI",
        "ROLE",
        "EXEC",
        "CLIENT GETNAME",
        "GET k",
        "SELECT 1",
        "GET k",
        "SELECT 0",
        "GET k",
        "MULTI",
        "CLIENT GETNAME",
        "EXEC",
    ];
    let expected = replies(&mut alone.client(), &requests);
    assert_eq!(replies(&mut proxy.client(), &requests), expected);
    // The connections of other clients are still in the first database.
    for _ in 0..8 {
        proxy.client().converse(&[("GET k", "$4\r\nzero\r\n")]);
    }
}

#[test]
fn failed_transaction_executes_no_local_command() {
    let (_alone, server, proxy) = both();
    let mut client = proxy.client();
    let change = [("CLIENT SETNAME x", QUEUED), ("SELECT 1", QUEUED)];
    let unchanged = [("CLIENT GETNAME", "$-1\r\n"), ("GET k", "$1\r\n0\r\n")];
    client.converse(&[("SET k 0", OK), ("MULTI", OK)]);
    client.converse(&change);
    client.converse(&[("DISCARD", OK)]);
    client.converse(&unchanged);
    client.converse(&[("MULTI", OK)]);
    client.converse(&change);
    assert!(client.ask("NONSENSE").starts_with(b"-ERR unknown command"));
    client.converse(&[("EXEC", ABORTED)]);
    client.converse(&unchanged);
    client.converse(&[("WATCH k", OK), ("MULTI", OK)]);
    client.converse(&change);
    server.client().converse(&[("SET k 0", OK)]);
    client.converse(&[("EXEC", "*-1\r\n")]);
    client.converse(&unchanged);
    // With a watch that holds, all of it is executed.
    client.converse(&[("WATCH k", OK), ("MULTI", OK), ("INCR k", QUEUED)]);
    client.converse(&change);
    client.converse(&[
        ("EXEC", "*3\r\n:1\r\n+OK\r\n+OK\r\n"),
        ("CLIENT GETNAME", "$1\r\nx\r\n"),
        ("GET k", "$-1\r\n"),
    ]);
}

#[test]
fn information_in_a_transaction_is_that_of_the_proxy() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("server_parameters", true));
    let mut client = proxy.client();
    client.converse(&[
        ("SET k v", OK),
        ("MULTI", OK),
        ("INFO", QUEUED),
        ("CONFIG SET maxmemory-samples 7", QUEUED),
        ("CONFIG GET maxmemory-samples", QUEUED),
        ("CLIENT GETNAME", QUEUED),
        ("PING", QUEUED),
    ]);
    let reply = String::from_utf8(client.ask("EXEC")).unwrap();
    assert!(reply.starts_with("*5\r\n$"), "{reply}");
    assert!(reply.contains("\r\ndb0:keys=1,"), "{reply}");
    assert!(reply.contains("# Ringroad\r\n"), "{reply}");
    let rest = "+OK\r\n*2\r\n$17\r\nmaxmemory-samples\r\n$1\r\n7\r\n$-1\r\n+PONG\r\n";
    assert!(reply.ends_with(rest), "{reply}");
}

#[test]
fn pipeline_behind_a_local_command_waits_for_exec() {
    let (alone, _server, proxy) = both();
    let batch: Vec<u8> = [
        "SET k 0",
        "MULTI",
        "SELECT 3",
        "SET k 3",
        "EXEC",
        "GET k",
        "MULTI",
        "GET k",
        "SELECT 0",
        "EXEC",
        "GET k",
        "CLIENT GETNAME",
    ]
    .iter()
    .flat_map(|request| words(request))
    .collect();
    let talk = |mut client: Client| {
        client.send(&batch);
        (0..12).map(|_| show(&client.reply())).collect::<Vec<_>>()
    };
    assert_eq!(talk(proxy.client()), talk(alone.client()));
    eventually("the connections with another database are closed", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
}
