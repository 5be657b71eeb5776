//! Typical uses of the `redis` crate, in RESP2 (its default) and in RESP3.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use redis::{Client, Commands, Connection, ControlFlow, Pipeline, PubSubCommands, Script};

use crate::support::eventually;

/// All features, one after another.
pub(super) fn try_all(address: SocketAddr, protocol: &str) {
    let client = Client::open(format!("redis://{address}/{protocol}")).unwrap();
    let connect = || client.get_connection().unwrap();
    pipelines(&mut connect());
    transactions(&mut connect(), &mut connect());
    scripts(&mut connect());
    iterators(&mut connect());
    publish_and_subscribe(&mut connect(), connect());
    blocking(&mut connect(), connect());
    large(&mut connect());
    databases(&client, address, protocol);
}

fn pipelines(connection: &mut Connection) {
    let mut pipeline = redis::pipe();
    for n in 0..100 {
        pipeline
            .set(format!("key-{n}"), n)
            .ignore()
            .get(format!("key-{n}"));
    }
    let numbers: Vec<u32> = pipeline.query(connection).unwrap();
    assert_eq!(numbers, (0..100).collect::<Vec<u32>>());
}

fn transactions(connection: &mut Connection, other: &mut Connection) {
    let replies: (i32, String) = redis::pipe()
        .atomic()
        .set("{t}a", 1)
        .ignore()
        .incr("{t}a", 41)
        .get("{t}a")
        .query(connection)
        .unwrap();
    assert_eq!(replies, (42, "42".to_owned()));
    // The first attempt is aborted by another client, so the second one counts.
    let mut attempts = 0;
    let (value,): (i32,) = redis::transaction(
        connection,
        &["{t}n"],
        |connection, pipeline: &mut Pipeline| {
            attempts += 1;
            let value: i32 = connection
                .get::<_, Option<i32>>("{t}n")
                .map(Option::unwrap_or_default)?;
            if attempts == 1 {
                let () = other.set("{t}n", 10)?;
            }
            pipeline
                .set("{t}n", value + 1)
                .ignore()
                .get("{t}n")
                .query(connection)
        },
    )
    .unwrap();
    assert_eq!((value, attempts), (11, 2));
}

fn scripts(connection: &mut Connection) {
    let script = Script::new("return redis.call('get', KEYS[1]) .. ARGV[1]");
    for n in 0..40 {
        let key = format!("key-{n}");
        let reply: String = script.key(&key).arg("!").invoke(connection).unwrap();
        assert_eq!(reply, format!("{n}!"));
    }
}

fn iterators(connection: &mut Connection) {
    let pairs: Vec<(String, u32)> = (0..2000).map(|n| (format!("scan-{n}"), n)).collect();
    let () = connection.mset(&pairs).unwrap();
    let found: Vec<String> = connection
        .scan_match("scan-*")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(found.len(), 2000);
    let wanted: HashSet<&String> = pairs.iter().map(|(name, _)| name).collect();
    assert_eq!(found.iter().collect::<HashSet<_>>(), wanted);
}

fn publish_and_subscribe(connection: &mut Connection, mut subscriber: Connection) {
    let listener = std::thread::spawn(move || {
        let channels: Vec<String> = (0..20).map(|n| format!("channel-{n}")).collect();
        let mut received = Vec::new();
        let () = subscriber
            .subscribe(&channels, |message| {
                received.push((
                    message.get_channel_name().to_owned(),
                    message.get_payload::<u32>().unwrap(),
                ));
                if received.len() < 20 {
                    ControlFlow::Continue
                } else {
                    ControlFlow::Break(())
                }
            })
            .unwrap();
        received.sort();
        received
    });
    // A server may count the subscriber of one channel before all are confirmed.
    eventually("all subscriptions are confirmed", || {
        let list: String = redis::cmd("CLIENT").arg("LIST").query(connection).unwrap();
        list.contains(" sub=20 ").then_some(())
    });
    for n in 0..20 {
        let receivers: usize = connection.publish(format!("channel-{n}"), n).unwrap();
        assert_eq!(receivers, 1);
    }
    let mut expected: Vec<_> = (0..20).map(|n| (format!("channel-{n}"), n)).collect();
    expected.sort();
    assert_eq!(listener.join().unwrap(), expected);
}

fn blocking(connection: &mut Connection, mut popping: Connection) {
    let popper = std::thread::spawn(move || {
        let none: Option<(String, String)> = popping.blpop("{b}none", 0.05).unwrap();
        assert_eq!(none, None);
        popping
            .blpop::<_, (String, String)>(&["{b}other", "{b}list"], 20.0)
            .unwrap()
    });
    let () = connection.rpush("{b}list", "first").unwrap();
    assert_eq!(
        popper.join().unwrap(),
        ("{b}list".to_owned(), "first".to_owned())
    );
}

fn large(connection: &mut Connection) {
    let value: Vec<u8> = (0..10 << 20)
        .map(|n: u32| n.to_le_bytes()[1] ^ n.to_le_bytes()[0])
        .collect();
    let () = connection.set("large", &value).unwrap();
    assert!(connection.get::<_, Vec<u8>>("large").unwrap() == value);
    let pairs: Vec<(String, u32)> = (0..10_000).map(|n| (format!("many-{n}"), n)).collect();
    let () = connection.mset(&pairs).unwrap();
    let names: Vec<&String> = pairs.iter().map(|(name, _)| name).collect();
    let all: Vec<u32> = connection.mget(&names).unwrap();
    assert_eq!(all, (0..10_000).collect::<Vec<u32>>());
    assert_eq!(connection.del::<_, u32>(&names), Ok(10_000));
}

fn databases(client: &Client, address: SocketAddr, protocol: &str) {
    let other = Client::open(format!("redis://{address}/3{protocol}")).unwrap();
    let mut other = other
        .get_connection_with_timeout(Duration::from_secs(20))
        .unwrap();
    let () = other.set("of db 3", 1).unwrap();
    let here: Option<u32> = client.get_connection().unwrap().get("of db 3").unwrap();
    assert_eq!(here, None);
    assert_eq!(other.get("of db 3"), Ok(1));
}
