//! Quotas of what the clients of a user hold in the proxy.

use std::thread;

use super::{OK, proxy_with_workers};
use crate::support::{Client, Pool, Proxy, RedisServer, command, eventually, show};

/// A request that announces more than it sends.
const HEADER: &[u8] = b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$536870912\r\n";

const REFUSED: &str =
    "ringroad_pool_user_refusals_total{pool=\"p\",user=\"shop\",quota=\"memory\"}";

fn with_quota(server: &RedisServer) -> Pool {
    Pool::of([server])
        .with(
            "users",
            "['shop on nopass ~* +@all', 'report on nopass ~* +@all']",
        )
        .with("user_quotas", "['shop memory=8mb']")
}

fn client_of(proxy: &Proxy, user: &str) -> Client {
    let mut client = proxy.client();
    client.converse(&[(&format!("AUTH {user} x"), OK)]);
    client
}

fn buffered(proxy: &Proxy) -> u64 {
    proxy.metric("ringroad_pool_buffered_bytes{")
}

#[test]
fn clients_of_a_user_hold_only_so_much() {
    let server = RedisServer::start();
    let proxy = proxy_with_workers(&with_quota(&server), 2);
    let mut report = client_of(&proxy, "report");
    report.converse(&[("SET a 1", OK)]);
    let part = [HEADER, &vec![b'x'; 4 << 20]].concat();
    let greedy: Vec<_> = (0..16).map(|_| client_of(&proxy, "shop")).collect();
    let sent: Vec<_> = greedy
        .into_iter()
        .map(|mut client| {
            let part = part.clone();
            thread::spawn(move || {
                let _ = client.try_send(&part);
                client
            })
        })
        .collect();
    eventually("clients are refused or closed", || {
        report.converse(&[("GET a", "$1\r\n1\r\n")]);
        (proxy.metric(REFUSED) > 0).then_some(())
    });
    // Another user may hold what it likes.
    report.send(&command(&[
        b"SET".as_slice(),
        b"big",
        &vec![b'x'; 12 << 20],
    ]));
    report.expect("a large value", b"+OK\r\n");
    drop(
        sent.into_iter()
            .map(|sent| sent.join().unwrap())
            .collect::<Vec<_>>(),
    );
    eventually("all is given back", || {
        (buffered(&proxy) == 0).then_some(())
    });
    let mut shop = client_of(&proxy, "shop");
    shop.send(&command(&[b"SET".as_slice(), b"big", &vec![b'x'; 4 << 20]]));
    shop.expect("there is room again", b"+OK\r\n");
}

#[test]
fn large_request_of_a_user_near_its_quota_is_refused() {
    let server = RedisServer::start();
    let proxy = proxy_with_workers(&with_quota(&server), 1);
    let mut greedy = client_of(&proxy, "shop");
    greedy.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$8000000\r\n");
    greedy.send(&vec![b'x'; 7_900_000]);
    eventually("nearly all of it is buffered", || {
        (buffered(&proxy) >= 7_400_000).then_some(())
    });
    let mut other = client_of(&proxy, "shop");
    other.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$2000000\r\n");
    assert_eq!(
        show(&other.reply()),
        "-ERR user \\'shop\\' is over its quota of 8mb of memory (user_quotas)\\r\\n"
    );
    other.expect_close();
    // As who has none.
    let mut other = client_of(&proxy, "report");
    other.send(&command(&[b"SET".as_slice(), b"k", &vec![b'x'; 2_000_000]]));
    other.expect("a large value", b"+OK\r\n");
    // What was accepted before is executed.
    greedy.send(&vec![b'x'; 100_000]);
    greedy.send(b"\r\n");
    greedy.expect("the request", b"+OK\r\n");
    assert_eq!(proxy.metric(REFUSED), 1);
}
