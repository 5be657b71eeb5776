//! Users that are changed while clients use them.

use super::{Beside, list, same};
use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show};

const DENIED: &str = "-NOPERM this user has no permissions to run the 'get' command\r\n";

#[test]
fn changed_rules_apply_to_connected_clients_at_once() {
    let server = RedisServer::start();
    let users = list(&["alice on >one ~* +@all", "bob on >two ~* +get"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("users", users));
    let mut admin = proxy.client();
    // On all workers.
    let mut alices: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    for alice in &mut alices {
        alice.converse(&[("AUTH alice one", "+OK\r\n"), ("GET a", "$-1\r\n")]);
    }
    for _ in 0..20 {
        admin.converse(&[("ACL SETUSER alice -get", "+OK\r\n")]);
        for alice in &mut alices {
            alice.converse(&[("GET a", DENIED)]);
        }
        admin.converse(&[("ACL SETUSER alice +get resetpass off", "+OK\r\n")]);
        for alice in &mut alices {
            alice.converse(&[("GET a", "$-1\r\n")]);
        }
    }
    let mut late = proxy.client();
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    late.converse(&[("AUTH alice one", wrong)]);
    // In one pipeline.
    admin.send(
        &[
            "ACL SETUSER default -get",
            "GET a",
            "ACL SETUSER default +get",
            "GET a",
        ]
        .map(crate::support::words)
        .concat(),
    );
    for expected in ["+OK\r\n", DENIED, "+OK\r\n", "$-1\r\n"] {
        admin.expect("pipeline", expected.as_bytes());
    }
}

#[test]
fn clients_of_a_deleted_user_are_closed() {
    let beside = Beside::with(&["alice on nopass ~* &* +@all", "bob on nopass ~* &* +@all"]);
    let mut admins = beside.clients();
    let [mut idle, mut blocked, mut subscribed, mut queueing, mut bob] =
        [(); 5].map(|()| beside.clients());
    for clients in [&mut idle, &mut blocked, &mut subscribed, &mut queueing] {
        same(clients, "AUTH alice x");
    }
    same(&mut bob, "AUTH bob x");
    for client in &mut blocked {
        client.send(&crate::support::words("BLPOP list 0"));
    }
    same(&mut subscribed, "SUBSCRIBE news");
    same(&mut queueing, "MULTI");
    same(&mut queueing, "SET a b");
    for admin in &mut admins {
        eventually("the client is blocked", || {
            let text = admin.ask("CLIENT LIST TYPE normal");
            show(&text);
            String::from_utf8(text)
                .unwrap()
                .contains("flags=b")
                .then_some(())
        });
    }
    same(&mut admins, "ACL DELUSER nosuch");
    same(&mut admins, "ACL DELUSER alice alice nosuch");
    for clients in [&mut idle, &mut blocked, &mut subscribed, &mut queueing] {
        for client in clients {
            client.expect_close();
        }
    }
    same(&mut admins, "RPUSH list 1");
    same(&mut admins, "LLEN list");
    same(&mut admins, "GET a");
    same(&mut bob, "GET a");
    // Who deletes itself gets its reply first.
    same(&mut bob, "ACL DELUSER bob");
    bob.iter_mut().for_each(Client::expect_close);
    same(&mut admins, "ACL USERS");
    same(&mut admins, "CLIENT KILL USER bob");
}

#[test]
fn user_with_the_name_of_a_deleted_one_is_another() {
    let beside = Beside::with(&["alice on nopass ~* &* +@all"]);
    let (mut admins, mut alices) = (beside.clients(), beside.clients());
    same(&mut alices, "AUTH alice x");
    same(&mut admins, "ACL DELUSER alice");
    same(&mut admins, "ACL SETUSER alice on nopass ~* &* +@all");
    alices.iter_mut().for_each(Client::expect_close);
    let mut alices = beside.clients();
    same(&mut alices, "AUTH alice x");
    same(&mut admins, "CLIENT KILL USER alice");
    alices.iter_mut().for_each(Client::expect_close);
}

#[test]
fn subscribers_of_forbidden_channels_are_closed() {
    let beside = Beside::with(&["alice on nopass allchannels +@all"]);
    let mut admins = beside.clients();
    let alice = |requests: &[&str]| {
        let mut clients = beside.clients();
        same(&mut clients, "AUTH alice x");
        for request in requests {
            same(&mut clients, request);
        }
        clients
    };
    let mut literal = alice(&["SUBSCRIBE foo:1"]);
    let mut matched = alice(&["SUBSCRIBE bar:1"]);
    let mut pattern = alice(&["PSUBSCRIBE bar:*"]);
    let mut narrower = alice(&["PSUBSCRIBE bar:1*"]);
    let mut shard = alice(&["SSUBSCRIBE other"]);
    let mut idle = alice(&["PING"]);
    let rules = "ACL SETUSER alice resetchannels &foo:1 &bar:*";
    same(&mut admins, rules);
    for clients in [&mut narrower, &mut shard] {
        clients.iter_mut().for_each(Client::expect_close);
    }
    for clients in [&mut literal, &mut matched, &mut pattern, &mut idle] {
        same(clients, "PING");
    }
    same(&mut admins, "ACL SETUSER alice resetchannels &foo:1");
    for clients in [&mut matched, &mut pattern] {
        clients.iter_mut().for_each(Client::expect_close);
    }
    same(&mut literal, "PING");
    same(&mut admins, "ACL SETUSER alice allchannels");
    same(&mut literal, "SUBSCRIBE bar:1");
    same(&mut admins, "PUBLISH bar:1 hello");
    let [real, proxy] = &mut literal;
    assert_eq!(real.reply(), proxy.reply());
}

#[test]
fn clients_are_listed_and_killed_by_user() {
    let beside = Beside::with(&["alice on nopass ~* &* +@all"]);
    let mut admins = beside.clients();
    let (mut alices, mut others) = (beside.clients(), beside.clients());
    same(&mut alices, "AUTH alice x");
    same(&mut others, "PING");
    for (alice, admin) in alices.iter_mut().zip(&mut admins) {
        let info = String::from_utf8(alice.ask("CLIENT INFO")).unwrap();
        assert!(info.contains(" user=alice "), "{info}");
        let list = String::from_utf8(admin.ask("CLIENT LIST")).unwrap();
        let users = |user: &str| list.matches(&format!(" user={user} ")).count();
        assert_eq!((users("alice"), users("default")), (1, 2), "{list}");
    }
    same(&mut admins, "CLIENT KILL USER nosuch");
    same(&mut admins, "CLIENT KILL USER alice");
    alices.iter_mut().for_each(Client::expect_close);
    same(&mut others, "RESET");
}

#[test]
fn transaction_whose_user_lost_a_right_does_nothing() {
    let server = RedisServer::start();
    let users = list(&["alice on nopass ~a* +@all"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("users", users));
    let (mut admin, mut alice) = (proxy.client(), proxy.client());
    alice.converse(&[("AUTH alice x", "+OK\r\n")]);
    let lost = |reason: &str| {
        format!(
            "-EXECABORT Transaction discarded because of: NOPERM ACLs rules changed between the moment the transaction was \
             accumulated and the EXEC call. This command is no longer allowed for the following reason: {reason}\r\n"
        )
    };
    let command = lost("no permission to execute the command or subcommand");
    let key = lost("no permission to touch the specified keys");
    for (rules, reply) in [
        ("-get", command.as_str()),
        ("-select", &command),
        ("resetkeys ~b*", &key),
        ("-del", "*3\r\n+OK\r\n$1\r\n1\r\n+OK\r\n"),
    ] {
        let all = "ACL SETUSER alice resetkeys ~a* +@all";
        admin.converse(&[(all, "+OK\r\n")]);
        alice.converse(&[
            ("MULTI", "+OK\r\n"),
            ("SET a1 1", "+QUEUED\r\n"),
            ("GET a1", "+QUEUED\r\n"),
            ("SELECT 0", "+QUEUED\r\n"),
        ]);
        admin.converse(&[("EXISTS a1", ":0\r\n")]);
        admin.converse(&[(&format!("ACL SETUSER alice {rules}"), "+OK\r\n")]);
        alice.converse(&[("EXEC", reply)]);
    }
    admin.converse(&[("EXISTS a1", ":1\r\n")]);
    assert!(show(&admin.ask("ACL LOG 1")).contains("a1"));
}

#[test]
fn user_that_deletes_itself_in_a_transaction_is_closed() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut alice = proxy.client();
    // Redis closes it in the middle of the reply.
    alice.converse(&[
        ("ACL SETUSER alice on nopass ~* &* +@all", "+OK\r\n"),
        ("AUTH alice x", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("ACL DELUSER alice", "+QUEUED\r\n"),
        ("PING", "+QUEUED\r\n"),
        ("EXEC", "*2\r\n:1\r\n+PONG\r\n"),
    ]);
    alice.expect_close();
}
