//! Quotas of connections.

use super::{OK, over, proxy_with_workers};
use crate::support::{Client, Ended, Pool, Proxy, RedisServer, eventually, show};

const USERS: &str =
    "['default on nopass +@all ~*', 'shop on >s ~* +@all', 'report on >r ~* +@all']";

fn pool(server: &RedisServer, quotas: &str) -> Pool {
    Pool::of([server])
        .with("users", USERS)
        .with("user_quotas", quotas)
}

fn over_connections(user: &str, limit: u32) -> String {
    over(&format!(
        "user '{user}' is over its quota of {limit} connections (user_quotas)"
    ))
}

fn client_of(proxy: &Proxy, user: &str) -> Client {
    let mut client = proxy.client();
    client.converse(&[(&format!("AUTH {user} {}", &user[..1]), OK)]);
    client
}

#[test]
fn connections_of_a_user_are_limited_on_all_workers() {
    let server = RedisServer::start();
    let proxy = proxy_with_workers(&pool(&server, "['shop connections=3']"), 2);
    let mut clients: Vec<_> = (0..3).map(|_| client_of(&proxy, "shop")).collect();
    let mut fourth = proxy.client();
    let refused = over_connections("shop", 3);
    fourth.converse(&[
        ("AUTH shop s", &refused),
        ("ACL WHOAMI", "$7\r\ndefault\r\n"),
        ("HELLO 3 AUTH shop s", &refused),
        (
            "HELLO 2 AUTH report r SETNAME",
            "-ERR Syntax error in HELLO option 'SETNAME'\r\n",
        ),
        ("AUTH shop s", &refused),
        ("ACL WHOAMI", "$6\r\nreport\r\n"),
        (
            "AUTH shop wrong",
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        ),
    ]);
    let metric = "ringroad_pool_quota_connections_refused_total";
    assert_eq!(proxy.metric(metric), 3);
    let metric =
        "ringroad_pool_user_refusals_total{pool=\"p\",user=\"shop\",quota=\"connections\"}";
    assert_eq!(proxy.metric(metric), 3);
    // Who is in stays in, and may say so again.
    clients[0].converse(&[
        ("AUTH shop s", OK),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
    ]);
    fourth.converse(&[("AUTH shop s", &refused)]);
    // A place is free when a client becomes another user, is reset, or leaves.
    clients[0].converse(&[("AUTH report r", OK)]);
    fourth.converse(&[("AUTH shop s", OK)]);
    clients[1].converse(&[("RESET", "+RESET\r\n"), ("ACL WHOAMI", "$7\r\ndefault\r\n")]);
    clients[0].converse(&[("AUTH shop s", OK)]);
    clients[1].converse(&[("AUTH shop s", &refused)]);
    drop(clients.pop());
    eventually("the place of the client that left is free", || {
        (clients[1].ask("AUTH shop s") == OK.as_bytes()).then_some(())
    });
}

#[test]
fn surplus_clients_of_the_default_user_are_closed() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&pool(&server, "['default connections=2']"));
    let refused = over_connections("default", 2);
    // Whoever has looked whether the proxy listens may not have left.
    let let_in = || {
        let mut client = proxy.client();
        client.try_send(b"PING\r\n").ok()?;
        (client.try_reply() == Ok(b"+PONG\r\n".to_vec())).then_some(client)
    };
    let mut one = eventually("a client is let in", let_in);
    let _other = eventually("another client is let in", let_in);
    let mut third = proxy.client();
    third.expect("nothing", refused.as_bytes());
    assert_eq!(third.try_reply(), Err(Ended::Closed));
    one.converse(&[("AUTH shop s", OK)]);
    let mut third = proxy.client();
    third.converse(&[("PING", "+PONG\r\n")]);
    // It would be one of the default user again.
    one.converse(&[("GET a", "$-1\r\n"), ("RESET", &refused)]);
    assert_eq!(one.try_reply(), Err(Ended::Closed));
    third.converse(&[("RESET", "+RESET\r\n"), ("PING", "+PONG\r\n")]);
}

#[test]
fn lower_limit_closes_nobody() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&pool(&server, "['shop connections=10']"));
    // These never say anything again.
    let _clients: Vec<_> = (0..3).map(|_| client_of(&proxy, "shop")).collect();
    let mut client = client_of(&proxy, "shop");
    proxy.reload(&pool(&server, "['* connections=3']"));
    let refused = over_connections("shop", 3);
    proxy.client().converse(&[("AUTH shop s", &refused)]);
    client.converse(&[("GET a", "$-1\r\n"), ("AUTH shop s", OK)]);
    drop(client);
    proxy.client().converse(&[("AUTH shop s", &refused)]);
    proxy.reload(&pool(&server, "['shop requests_per_second=1000000']"));
    client_of(&proxy, "shop");
}

#[test]
fn authenticating_in_turns_leaves_no_connection_behind() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&pool(
        &server,
        "['shop connections=4', 'report connections=4']",
    ));
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for nth in 0..200 {
        let request = ["AUTH shop s", "AUTH report r", "RESET", "PING"][nth % 4];
        let reply = clients[nth % 3].ask(request);
        assert!(!reply.starts_with(b"-ERR"), "{}", show(&reply));
    }
    clients.clear();
    eventually("all places are free", || {
        let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
        let reply = |client: &mut Client| client.ask("AUTH shop s");
        clients
            .iter_mut()
            .all(|client| reply(client) == OK.as_bytes())
            .then_some(())
    });
}
