//! Sequences of client requests that failed in the past.

use crate::support::{Client, Pool, Proxy, RedisServer, command, eventually, show, words};

#[test]
fn script_returning_noscript_runs_once() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    let script = b"redis.call('incr', KEYS[1]) return {err='NOSCRIPT gone'}".as_slice();
    client.send(&command(&[b"SCRIPT".as_slice(), b"LOAD", script]));
    let loaded = client.reply();
    let sha = show(&loaded[5..45]);
    client.converse(&[
        (&format!("EVALSHA {sha} 1 k"), "-NOSCRIPT gone\r\n"),
        ("GET k", "$1\r\n1\r\n"),
    ]);
}

#[test]
fn subscriber_hello_applies_after_earlier_requests() {
    let servers: [RedisServer; 4] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let mut subscriber = proxy.client();
    let mut publisher = proxy.client();
    subscriber.send(&words("HELLO 3"));
    subscriber.reply();
    subscriber.converse(&[("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")]);
    // A key on another server than the channel: with the others stopped, only the channel is served.
    let say_x = |publisher: &mut Client| publisher.ask("PUBLISH c x");
    say_x(&mut publisher);
    subscriber.expect(
        "what comes next",
        b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n",
    );
    let server_index = servers
        .iter()
        .position(|server| show(&server.client().ask("PUBSUB NUMSUB c")).contains(":1"))
        .unwrap();
    let other = (server_index + 1) % servers.len();
    let key = (0..1000)
        .map(|n| format!("key{n}"))
        .find(|key| {
            publisher.ask(&format!("SET {key} 1"));
            servers[other].client().ask(&format!("EXISTS {key}")) == b":1\r\n"
        })
        .unwrap();
    servers[other].stop();
    subscriber.send(&[words(&format!("GET {key}")), words("HELLO 2")].concat());
    eventually("the request waits at the stopped server", || {
        (proxy.stat(&[&format!("s{other}"), "in_queue"])
            + proxy.stat(&[&format!("s{other}"), "out_queue"])
            > 0)
        .then_some(())
    });
    say_x(&mut publisher);
    subscriber.expect(
        "what comes next",
        b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n",
    );
    servers[other].cont();
    subscriber.expect("what comes next", b"$1\r\n1\r\n");
    subscriber.reply();
    say_x(&mut publisher);
    subscriber.expect(
        "what comes next",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n",
    );
}

#[test]
fn suppressed_reply_is_not_given_to_a_later_request() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for mut client in [server.client(), proxy.client()] {
        client.send(
            &[
                words("CLIENT REPLY SKIP"),
                words("SUBSCRIBE c"),
                words("PING"),
            ]
            .concat(),
        );
        client.expect(
            "what comes next",
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        );
        client.expect("what comes next", b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    }
}
