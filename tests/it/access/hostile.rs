//! Peers that connect too often, or guess passwords.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{OK, ask_through, count, v1_header};
use crate::support::{Pool, Proxy, RedisServer, eventually, show, words};

fn behind(server: &RedisServer) -> Pool {
    Pool::of([server]).with("proxy_protocol", "[127.0.0.1]")
}

#[test]
fn address_that_connects_too_often_is_refused() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&behind(&server).with("client_address_rate", 5));
    let is_let_in =
        |address: &str| ask_through(&proxy, &v1_header(address), "PING") == b"+PONG\r\n";
    let many = (0..40).filter(|_| is_let_in("192.0.2.1")).count();
    assert!((5..40).contains(&many), "{many}");
    // All of them have one network of IPv6.
    let many = (0..40)
        .filter(|n| is_let_in(&format!("2001:db8::{n:x}")))
        .count();
    assert!((5..40).contains(&many), "{many}");
    assert!(is_let_in("192.0.2.2") && is_let_in("2001:db8:0:1::1"));
    assert!(count(&proxy, "client_address_limited") > 0);
    proxy
        .process()
        .await_output("its address has reached client_address_rate");
    eventually("it may connect again", || {
        is_let_in("192.0.2.1").then_some(())
    });
}

#[test]
fn address_has_a_number_of_connections() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("client_address_connections", 3));
    // Those that the harness has made are closed.
    let mut open = eventually("three are served", || {
        let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
        let are_served = clients.iter_mut().all(|client| {
            let _ = client.try_send(&words("PING"));
            client.read_to_close_or_reply() == b"+PONG\r\n"
        });
        are_served.then_some(clients)
    });
    assert_eq!(show(&proxy.client().read_to_close()), "");
    proxy
        .process()
        .await_output("its address has reached client_address_connections");
    open.pop();
    eventually("there is room for another", || {
        let mut client = proxy.client();
        let _ = client.try_send(&words("PING"));
        (client.read_to_close_or_reply() == b"+PONG\r\n").then_some(())
    });
    for client in &mut open {
        client.converse(&[("SET k v", OK)]);
    }
}

#[test]
fn client_that_does_not_authenticate_is_closed() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let pool = Pool::of([&server])
        .with("redis_auth", "secret")
        .with("auth_timeout", 1500);
    let proxy = Proxy::ringroad(&pool);
    let mut silent = proxy.client();
    let mut talking = proxy.client();
    let mut inside = proxy.client();
    inside.converse(&[("AUTH secret", OK), ("SET k v", OK)]);
    talking.send(&words("PING"));
    assert!(talking.reply().starts_with(b"-NOAUTH"));
    // Byte by byte, as slow loris does.
    let trickle = thread::spawn(move || {
        while talking.try_send(b"P").is_ok() {
            thread::park_timeout(Duration::from_millis(20));
        }
    });
    silent.expect_close();
    trickle.join().unwrap();
    proxy
        .process()
        .await_output("it has not authenticated within auth_timeout");
    assert!(count(&proxy, "auth_timeouts") >= 1);
    inside.converse(&[("GET k", "$1\r\nv\r\n")]);
    // A pool without a password waits for none.
    proxy.reload(
        &Pool::of([&server])
            .with("auth_timeout", 1)
            .with("server_password", "secret"),
    );
    let mut client = proxy.client();
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        client.converse(&[("PING", "+PONG\r\n")]);
    }
}

#[test]
fn guesses_of_an_address_are_slowed_down() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let proxy = Proxy::ringroad(&behind(&server).with("redis_auth", "secret"));
    let try_from = |address: &str, password: &str| {
        ask_through(&proxy, &v1_header(address), &format!("AUTH {password}"))
    };
    let guesses: Vec<_> = (0..100)
        .map(|n| try_from("192.0.2.1", &format!("guess-{n}")))
        .collect();
    let evaluated = guesses
        .iter()
        .filter(|reply| reply.starts_with(b"-WRONGPASS"));
    let evaluated = evaluated.count();
    assert!((10..100).contains(&evaluated), "{evaluated}");
    let refused = &guesses[99];
    assert!(
        refused.starts_with(b"-ERR too many failed attempts"),
        "{}",
        show(refused)
    );
    // HELLO is no way around, and other addresses are not concerned.
    let hello = ask_through(
        &proxy,
        &v1_header("192.0.2.1"),
        "HELLO 2 AUTH default guess",
    );
    assert!(hello.starts_with(b"-ERR too many"), "{}", show(&hello));
    assert_eq!(try_from("192.0.2.2", "secret"), b"+OK\r\n");
    assert!(count(&proxy, "auth_failures") >= 10);
    proxy
        .process()
        .await_output("client failed to authenticate");
    assert!(count(&proxy, "auth_throttled") > 50);
    let throttled = "client not authenticated pool=p client=192.0.2.1:4097 \
                     reason=its address has reached client_address_auth_failures";
    proxy.process().await_output(throttled);
    eventually("it may try again", || {
        (try_from("192.0.2.1", "secret") == b"+OK\r\n").then_some(())
    });
    let log = proxy.process().output();
    assert!(!log.contains("guess"), "{log}");
}

#[test]
fn flood_of_connections_disturbs_no_client() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("client_address_rate", 20));
    let mut inside = proxy.client();
    inside.converse(&[("SET k v", OK)]);
    let address = proxy.address();
    let floods: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..1000 {
                    drop(TcpStream::connect(address));
                }
            })
        })
        .collect();
    let mut asked = 0;
    while asked < 100 || floods.iter().any(|flood| !flood.is_finished()) {
        inside.converse(&[("GET k", "$1\r\nv\r\n")]);
        asked += 1;
    }
    for flood in floods {
        flood.join().unwrap();
    }
    eventually("most were refused", || {
        (count(&proxy, "client_address_limited") > 2000).then_some(())
    });
    let log = proxy.process().output();
    assert!(log.matches("client refused").count() <= 20, "{log}");
}

#[test]
fn client_that_need_not_authenticate_any_more_stays() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let pool = Pool::of([&server])
        .with("redis_auth", "secret")
        .with("auth_timeout", 1000);
    let proxy = Proxy::ringroad(&pool);
    let begin = Instant::now();
    let (mut silent, mut inside) = (proxy.client(), proxy.client());
    silent.converse(&[("PING", "-NOAUTH Authentication required.\r\n")]);
    inside.converse(&[("AUTH secret", OK), ("ACL SETUSER default nopass", OK)]);
    while begin.elapsed() < Duration::from_millis(1500) {
        silent.converse(&[("PING", "+PONG\r\n")]);
    }
    assert_eq!(count(&proxy, "auth_timeouts"), 0);
}
