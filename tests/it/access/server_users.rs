//! A user of the proxy at the servers, apart from the password of its clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::OK;
use crate::support::{Client, Kind, Launch, Pool, Proxy, RedisServer, eventually, show};

/// A server that lets in only `admin`, and the users of these passwords.
fn closed(users: &[(&str, &str)]) -> RedisServer {
    let server = RedisServer::start();
    close(&server, users);
    server
}

fn close(server: &RedisServer, users: &[(&str, &str)]) {
    let mut client = server.client();
    client.converse(&[("ACL SETUSER admin on >root ~* &* +@all", OK)]);
    for (user, password) in users {
        let request = format!("ACL SETUSER {user} on >{password} ~* &* +@all");
        client.converse(&[(&request, OK)]);
    }
    client.converse(&[("AUTH admin root", OK), ("ACL SETUSER default off", OK)]);
}

fn admin(server: &RedisServer) -> Client {
    let mut client = server.client();
    client.converse(&[("AUTH admin root", OK)]);
    client
}

/// The users of all connections to a server.
fn users(server: &RedisServer) -> Vec<String> {
    let list = String::from_utf8(admin(server).ask("CLIENT LIST")).unwrap();
    let users = list
        .split(' ')
        .filter_map(|field| field.strip_prefix("user="));
    users.map(str::to_owned).collect()
}

fn await_users_gone(server: &RedisServer, user: &str) {
    eventually("its connections are closed", || {
        let users = users(server);
        (!users.iter().any(|other| other == user)).then_some(())
    });
}

fn client_of(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.converse(&[("AUTH clients", OK)]);
    client
}

#[test]
fn servers_and_clients_have_passwords_of_their_own() {
    let server = closed(&[("proxy", "servers")]);
    let pool = Pool::of([&server])
        .with("redis_auth", "clients")
        .with("server_user", "proxy")
        .with("server_password", "servers");
    let proxy = Proxy::ringroad(&pool);
    let mut client = client_of(&proxy);
    client.converse(&[("SET k v", OK), ("SELECT 3", OK), ("SET k w", OK)]);
    assert!(proxy.ask("AUTH servers").starts_with(b"-WRONGPASS"));
    assert!(users(&server).iter().any(|user| user == "proxy"));
    // Clients of a pool without a password of their own need none.
    proxy.reload(&pool.without("redis_auth"));
    assert_eq!(show(&proxy.ask("GET k")), "$1\\r\\nv\\r\\n");
}

#[test]
fn password_of_clients_changes_without_new_connections() {
    let server = closed(&[("proxy", "servers")]);
    let pool = Pool::of([&server])
        .with("server_user", "proxy")
        .with("server_password", "servers");
    let before = pool.clone().with("redis_auth", "clients");
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &before, &launch);
    client_of(&proxy).converse(&[("SET k v", OK)]);
    let connections = |proxy: &Proxy| proxy.stat(&["s0", "server_connections"]);
    let before = connections(&proxy);
    proxy.reload(&pool.with("redis_auth", "others"));
    let mut client = proxy.client();
    client.converse(&[("AUTH others", OK), ("GET k", "$1\r\nv\r\n")]);
    assert_eq!(connections(&proxy), before);
    assert!(proxy.ask("AUTH clients").starts_with(b"-WRONGPASS"));
}

#[test]
fn server_user_is_rotated_under_load_without_an_error() {
    let servers = [(); 2].map(|()| closed(&[("one", "secret-one")]));
    let pool = |user: &str| {
        Pool::of(&servers)
            .with("redis_auth", "clients")
            .with("server_user", user)
            .with("server_password", format!("secret-{user}"))
            .with("placement_guard", true)
            .with("server_probe_interval", 20)
    };
    let proxy = Proxy::ringroad(&pool("one"));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let works: [fn(&mut Client, usize); 4] = [set_and_get, transact, block, subscribe];
        for (number, work) in works.into_iter().enumerate() {
            let (mut client, is_over) = (client_of(&proxy), &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    work(&mut client, number);
                }
            });
        }
        let users = ["one", "two", "three", "four"];
        for (before, user) in users.iter().zip(&users[1..]) {
            for server in &servers {
                await_user(server, before);
                let request = format!("ACL SETUSER {user} on >secret-{user} ~* &* +@all");
                admin(server).converse(&[(&request, OK)]);
            }
            proxy.reload(&pool(user));
            for server in &servers {
                await_user(server, user);
                await_users_gone(server, before);
                admin(server).converse(&[(&format!("ACL DELUSER {before}"), ":1\r\n")]);
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let errors: i64 = ["s0", "s1"]
        .iter()
        .map(|name| proxy.stat(&[name, "server_err"]))
        .sum();
    assert_eq!(errors, 0);
    let log = proxy.process().output();
    assert!(
        !log.contains("WRONGPASS") && !log.contains("secret"),
        "{log}"
    );
}

fn await_user(server: &RedisServer, user: &str) {
    eventually("it has connections", || {
        users(server)
            .iter()
            .any(|other| other == user)
            .then_some(())
    });
}

fn set_and_get(client: &mut Client, _: usize) {
    let (key, value) = (fastrand::u8(..), fastrand::u64(..).to_string());
    let reply = format!("${}\r\n{value}\r\n", value.len());
    let (set, get) = (format!("SET own-{key} {value}"), format!("GET own-{key}"));
    client.converse(&[(&set, OK), (&get, &reply)]);
}

fn transact(client: &mut Client, _: usize) {
    let key = fastrand::u8(..);
    let (watch, set) = (format!("WATCH tx-{key}"), format!("SET tx-{key} 1"));
    client.converse(&[(&watch, OK), ("MULTI", OK), (&set, "+QUEUED\r\n")]);
    // A watch on a connection that is closed ends the transaction as if its key had changed.
    let reply = show(&client.ask("EXEC"));
    assert!(
        ["*1\\r\\n+OK\\r\\n", "*-1\\r\\n"].contains(&&*reply),
        "{reply}"
    );
}

fn block(client: &mut Client, _: usize) {
    let key = format!("queue-{}", fastrand::u8(..));
    client.converse(&[(&format!("BLPOP {key} 0.02"), "*-1\r\n")]);
}

fn subscribe(client: &mut Client, number: usize) {
    let channel = format!("channel-{number}-{}", fastrand::u8(..));
    let len = channel.len();
    let confirmed = |word: &str, count| {
        format!(
            "*3\r\n${}\r\n{word}\r\n${len}\r\n{channel}\r\n:{count}\r\n",
            word.len()
        )
    };
    client.converse(&[
        (&format!("SUBSCRIBE {channel}"), &confirmed("subscribe", 1)),
        (
            &format!("UNSUBSCRIBE {channel}"),
            &confirmed("unsubscribe", 0),
        ),
    ]);
}

#[test]
fn watchers_of_roles_follow_a_rotated_user() {
    let users_of = [("one", "first"), ("two", "second")];
    let primary = closed(&users_of);
    let replica = RedisServer::start_with(&["--masteruser", "admin", "--masterauth", "root"]);
    close(&replica, &users_of);
    let at = primary.address();
    let follow = format!("REPLICAOF {} {}", at.ip(), at.port());
    admin(&replica).converse(&[(&follow, OK)]);
    eventually("it replicates", || {
        let info = String::from_utf8(admin(&replica).ask("INFO replication")).unwrap();
        info.contains("master_link_status:up").then_some(())
    });
    let pool = |user: &str, password: &str| {
        Pool::of([&primary])
            .with("server_user", user)
            .with("server_password", password)
            .with("replicas", format!("['{} s0']", replica.address()))
            .with("read_from", "replica")
    };
    let proxy = Proxy::ringroad(&pool("one", "first"));
    let mut client = proxy.client();
    client.converse(&[("SET k v", OK)]);
    await_user(&replica, "one");
    proxy.reload(&pool("two", "second"));
    for server in [&primary, &replica] {
        await_user(server, "two");
        await_users_gone(server, "one");
        admin(server).converse(&[("ACL DELUSER one", ":1\r\n")]);
    }
    client.converse(&[("SET k w", OK)]);
    eventually("the replica answers", || {
        client.converse(&[("GET k", "$1\r\nw\r\n")]);
        let stats = String::from_utf8(admin(&replica).ask("INFO commandstats")).unwrap();
        stats.contains("cmdstat_get:").then_some(())
    });
}
