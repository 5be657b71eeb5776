//! Quotas of users.

use std::thread;

use super::{OK, flood, over, proxy_with_workers, spend_a_minute};
use crate::support::{Client, Pool, Proxy, RedisServer, show};

const USERS: &str = "['default off', 'shop on >s ~* &* +@all', 'report on >r ~* &* +@all', 'admin on >a ~* &* +@all']";

/// A pool with users and these quotas.
fn pool(server: &RedisServer, quotas: &str) -> Pool {
    Pool::of([server])
        .with("users", USERS)
        .with("user_quotas", quotas)
}

fn client_of(proxy: &Proxy, user: &str) -> Client {
    let mut client = proxy.client();
    client.converse(&[(&format!("AUTH {user} {}", &user[..1]), OK)]);
    client
}

fn over_bytes(user: &str) -> String {
    over(&format!(
        "user '{user}' is over its quota of 1kb per second (user_quotas)"
    ))
}

fn refused(proxy: &Proxy, user: &str, quota: &str) -> u64 {
    let labels = format!("pool=\"p\",user=\"{user}\",quota=\"{quota}\"");
    proxy.metric(&format!("ringroad_pool_user_refusals_total{{{labels}}}"))
}

#[test]
fn user_beyond_its_quota_affects_no_other() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&pool(&server, "['shop bytes_per_second=1kb']"));
    let mut shop = client_of(&proxy, "shop");
    let mut same_user = client_of(&proxy, "shop");
    let mut report = client_of(&proxy, "report");
    spend_a_minute(&mut shop);
    for client in [&mut shop, &mut same_user] {
        client.converse(&[("GET a", &over_bytes("shop"))]);
    }
    report.converse(&[("GET a", "$-1\r\n"), ("PING", "+PONG\r\n")]);
    spend_a_minute(&mut report);
    report.converse(&[("GET a", "$-1\r\n")]);
    assert_eq!(refused(&proxy, "shop", "bytes_per_second"), 2);
    assert_eq!(refused(&proxy, "shop", "requests_per_second"), 0);
    assert_eq!(proxy.metric("ringroad_pool_quota_bytes_refused_total"), 2);
}

#[test]
fn users_without_a_row_have_each_their_own() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&pool(
        &server,
        "['* bytes_per_second=1kb', 'admin requests_per_second=1000000']",
    ));
    let [mut shop, mut report, mut admin] =
        ["shop", "report", "admin"].map(|user| client_of(&proxy, user));
    spend_a_minute(&mut shop);
    shop.converse(&[("GET a", &over_bytes("shop"))]);
    report.converse(&[("GET a", "$-1\r\n")]);
    spend_a_minute(&mut admin);
    // One that is made while the proxy runs has the same quota.
    admin.converse(&[("ACL SETUSER temp on >t ~* +@all", OK)]);
    let mut temp = client_of(&proxy, "temp");
    spend_a_minute(&mut temp);
    temp.converse(&[("GET a", &over_bytes("temp"))]);
    // Its rules may change, it is the same user.
    admin.converse(&[("ACL SETUSER temp reset on >t ~* +@all", OK)]);
    temp.converse(&[("GET a", &over_bytes("temp"))]);
    client_of(&proxy, "temp").converse(&[("GET a", &over_bytes("temp"))]);
    assert_eq!(refused(&proxy, "*", "bytes_per_second"), 4);
}

#[test]
fn quota_is_that_of_the_user_who_sends() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&pool(&server, "['shop bytes_per_second=1kb']"));
    let mut client = client_of(&proxy, "shop");
    spend_a_minute(&mut client);
    let requests =
        "GET a\r\nAUTH report r\r\nGET a\r\nAUTH shop wrong\r\nGET a\r\nHELLO 2 AUTH shop s\r\n";
    client.send(requests.as_bytes());
    let expected = format!(
        "{}+OK\r\n$-1\r\n-WRONGPASS invalid username-password pair or user is disabled.\r\n$-1\r\n",
        over_bytes("shop")
    );
    client.expect(requests, expected.as_bytes());
    assert!(client.reply().starts_with(b"*14\r\n"));
    client.converse(&[("GET a", &over_bytes("shop")), ("RESET", "+RESET\r\n")]);
    client.converse(&[("GET a", "-NOAUTH Authentication required.\r\n")]);
}

#[test]
fn changing_users_in_a_pipeline_gains_nothing() {
    let server = RedisServer::start();
    let pool = pool(&server, "['shop requests_per_second=5']");
    let proxy = proxy_with_workers(&pool, 1);
    let mut client = proxy.client();
    let gets = "GET a\r\n".repeat(10);
    let requests = format!("AUTH shop s\r\n{gets}RESET\r\n").repeat(10);
    client.send(requests.as_bytes());
    let mut passed = 0;
    for _ in 0..120 {
        passed += usize::from(client.reply() == b"$-1\r\n");
    }
    assert!((4..=6).contains(&passed), "{passed} passed");
}

#[test]
fn changed_quota_holds_for_connected_clients() {
    let server = RedisServer::start();
    let with = |quotas| pool(&server, quotas);
    let proxy = Proxy::ringroad(&with("['report requests_per_second=1000000']"));
    let mut shop = client_of(&proxy, "shop");
    spend_a_minute(&mut shop);
    shop.converse(&[("GET a", "$-1\r\n")]);
    proxy.reload(&with("['shop bytes_per_second=1kb']"));
    spend_a_minute(&mut shop);
    shop.converse(&[("GET a", &over_bytes("shop"))]);
    // Its debt is a minute's worth of bytes, whatever the rate.
    proxy.reload(&with("['shop bytes_per_second=1gb']"));
    shop.converse(&[("GET a", "$-1\r\n")]);
    spend_a_minute(&mut shop);
    shop.converse(&[("GET a", "$-1\r\n")]);
    proxy.reload(&with("['* bytes_per_second=1kb']"));
    spend_a_minute(&mut shop);
    shop.converse(&[("GET a", &over_bytes("shop"))]);
    proxy.reload(&with(
        "['*  bytes_per_second=1kb', 'shop requests_per_second=1000000']",
    ));
    shop.converse(&[("GET a", "$-1\r\n")]);
    proxy.reload(&with("['* bytes_per_second=1kb']").without("user_quotas"));
    shop.converse(&[("GET a", "$-1\r\n")]);
}

#[test]
fn quota_of_the_pool_is_for_all_its_users() {
    let server = RedisServer::start();
    let pool = pool(&server, "['shop bytes_per_second=1kb']").with("bytes_per_second", "2kb");
    let proxy = Proxy::ringroad(&pool);
    let [mut shop, mut report] = ["shop", "report"].map(|user| client_of(&proxy, user));
    spend_a_minute(&mut report);
    let of_pool = over("pool 'p' is over its quota of 2kb per second (bytes_per_second)");
    shop.converse(&[("GET a", &of_pool)]);
    report.converse(&[("GET a", &of_pool)]);
}

#[test]
fn flood_of_one_user_costs_another_no_request() {
    let server = RedisServer::start();
    let pool = pool(&server, "['shop requests_per_second=200']");
    let proxy = proxy_with_workers(&pool, 2);
    let floods: Vec<_> = (0..4)
        .map(|_| client_of(&proxy, "shop"))
        .map(|mut client| thread::spawn(move || flood(&mut client, "GET a", 40)))
        .collect();
    let mut report = client_of(&proxy, "report");
    for nth in 0..500 {
        let reply = report.ask(&format!("SET key {nth}"));
        assert_eq!(show(&reply), OK.escape_default().to_string());
    }
    let passed: u32 = floods
        .into_iter()
        .map(|flood| flood.join().unwrap().0)
        .sum();
    assert!(passed >= 200, "{passed} passed");
    assert_eq!(
        u64::from(4 * 40 * 50 - passed),
        refused(&proxy, "shop", "requests_per_second")
    );
}
