//! The addresses that a balancer has told go with the clients.

use super::site::{Site, await_end};
use crate::support::{eventually, show, words};

#[test]
fn address_of_a_header_stays_known_and_counted() {
    let site = Site::start();
    site.rewrite_conf(|yaml| {
        let lines = "redis: true\n  proxy_protocol: [127.0.0.1]\n  client_address_connections: 2";
        yaml.replacen("redis: true", lines, 1)
    });
    site.ctl(&["reload"]);
    let connect = || {
        let mut client = site.client();
        let header = &b"PROXY TCP4 192.0.2.7 127.0.0.1 4097 80\r\n"[..];
        let _ = client.try_send(&[header, &words("CLIENT INFO")].concat());
        let said = show(&client.read_to_close_or_reply());
        said.contains(" addr=192.0.2.7:4097 ").then_some(client)
    };
    let (mut first, second) = (connect().unwrap(), connect().unwrap());
    assert!(connect().is_none());
    let before = site.serving_pid();
    let new = site.upgrade();
    await_end(before);
    assert_eq!(site.serving_pid(), new);
    let info = show(&first.ask("CLIENT INFO"));
    assert!(info.contains(" addr=192.0.2.7:4097 "), "{info}");
    assert!(connect().is_none());
    drop(second);
    eventually("there is room for another", connect);
}

#[test]
fn silent_client_is_closed_after_an_upgrade_too() {
    let site = Site::start();
    site.rewrite_conf(|yaml| {
        let lines = "redis: true\n  redis_auth: secret\n  server_user: default\n  server_password: any\n  \
                     auth_timeout: 4000";
        yaml.replacen("redis: true", lines, 1)
    });
    site.ctl(&["reload"]);
    let (mut silent, mut inside) = (site.client(), site.client());
    inside.converse(&[("AUTH secret", "+OK\r\n")]);
    silent.converse(&[("PING", "-NOAUTH Authentication required.\r\n")]);
    let before = site.serving_pid();
    site.upgrade();
    await_end(before);
    // The new process has it.
    silent.converse(&[("PING", "-NOAUTH Authentication required.\r\n")]);
    silent.expect_close();
    inside.converse(&[("SET k v", "+OK\r\n")]);
}
