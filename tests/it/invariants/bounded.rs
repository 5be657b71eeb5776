//! Floods: at a limit the proxy stops reading from the flooding client, never from others, and resumes when there is
//! room again.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Client, FakeServer, Kind, Launch, PATIENCE, Pool, Proxy, RedisServer, command, eventually,
    show, usual_wait, words,
};

const OK: &str = "+OK\r\n";

/// The maximum wait of an ordinary client.
const MOST_WAIT: Duration = Duration::from_secs(1);

#[test]
fn flood_without_reading_is_throttled_and_resumes() {
    const VALUE_BYTES: usize = 1024;
    /// Far beyond what the proxy takes: 64 MiB of requests and pending replies. Socket buffers hold the rest.
    const FLOOD_BYTES: usize = 160 << 20;
    /// Pending replies and replies in flight, once more for the slack of growing buffers, half of both for the buffers
    /// before they grew last, which the allocator returns to the system within ten seconds, and the program itself.
    const MOST_BYTES: u64 = 3 * (64 << 20) + (48 << 20);
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut other = proxy.client();
    let value = vec![b'x'; VALUE_BYTES];
    // As long as the value: otherwise the replies to 64 MiB of requests would take minutes.
    let key = vec![b'k'; VALUE_BYTES];
    other.send(&command(&[b"SET".as_slice(), &key, &value]));
    assert_eq!(other.reply(), OK.as_bytes());

    let flood = TcpStream::connect(proxy.address()).unwrap();
    flood.set_write_timeout(Some(MOST_WAIT)).unwrap();
    flood.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = command(&[b"GET".as_slice(), &key]);
    let batch = request.repeat(1000);
    let mut writer = flood.try_clone().unwrap();
    let flooding = thread::spawn(move || {
        let mut sent_bytes = 0;
        while sent_bytes < FLOOD_BYTES {
            match writer.write(&batch[sent_bytes % batch.len()..]) {
                Ok(len) => sent_bytes += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {sent_bytes} bytes: {error}"),
            }
        }
        sent_bytes
    });
    let usual = converse_until(&mut other, || flooding.is_finished());
    let sent_bytes = flooding.join().unwrap();
    assert!(
        sent_bytes < FLOOD_BYTES,
        "all {sent_bytes} bytes were taken"
    );
    assert!(usual < MOST_WAIT, "another client waited {usual:?}");
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(peak_bytes < MOST_BYTES, "the proxy took {peak_bytes} bytes");

    // From here on the proxy accepts everything, however long a busy machine needs for it.
    flood.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writer = flood.try_clone().unwrap();
    let missing = (request.len() - sent_bytes % request.len()) % request.len();
    let rest = request[request.len() - missing..].to_vec();
    let finishing = thread::spawn(move || writer.write_all(&rest));
    let reply = [format!("${VALUE_BYTES}\r\n").as_bytes(), &value, b"\r\n"].concat();
    let replies = sent_bytes.div_ceil(request.len());
    expect_repeated(&flood, &reply, replies);
    finishing.join().unwrap().unwrap();
}

#[test]
fn flood_to_a_stopped_server_is_bounded_and_delivered() {
    const FLOODERS: usize = 3;
    const REQUESTS: usize = 300;
    /// Each of several clients has at most 128 requests in flight.
    const VALUE_BYTES: usize = 128 << 10;
    /// The queue limit of one connection, and a request of each flooder over it, with its header.
    const MOST_QUEUED_BYTES: usize = (16 << 20) + 2 * FLOODERS * VALUE_BYTES;
    let servers: [RedisServer; 2] = RedisServer::several();
    // The limit is per connection, and each worker has its own.
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        descriptors: None,
        ..Launch::default()
    };
    let pool = Pool::of(&servers).with("hash", "murmur");
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let mut other = proxy.client();
    let (there, elsewhere) = a_key_on_each(&servers[0], &mut other);
    // Before its first reply, a client has only a few requests in flight.
    let clients = [(); FLOODERS].map(|()| {
        let mut client = proxy.client();
        client.converse(&[(&format!("SET {elsewhere} 1"), OK)]);
        client
    });
    servers[0].stop();
    let value = vec![b'x'; VALUE_BYTES];
    let request = command(&[b"SET".as_slice(), there.as_bytes(), &value]);
    let flooding: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let request = request.clone();
            thread::spawn(move || {
                client.send(&request.repeat(REQUESTS));
                for _ in 0..REQUESTS {
                    assert_eq!(show(&client.reply()), show(OK.as_bytes()));
                }
            })
        })
        .collect();
    // 118 MB are pending; a limit of 16 MiB is reached, and the sockets' buffers are full.
    eventually("the queue is full", || {
        (proxy.stat(&["s0", "in_queue_bytes"]) >= 16 << 20).then_some(())
    });
    let enough = Instant::now() + MOST_WAIT;
    let set = format!("SET {elsewhere} 1");
    let usual = converse_with(&mut other, &set, || Instant::now() > enough);
    assert!(usual < MOST_WAIT, "another client waited {usual:?}");
    let queued_bytes = proxy.stat(&["s0", "in_queue_bytes"]);
    assert!(
        usize::try_from(queued_bytes).unwrap() <= MOST_QUEUED_BYTES,
        "{queued_bytes} bytes are queued"
    );
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(peak_bytes < 64 << 20, "the proxy took {peak_bytes} bytes");
    assert!(
        flooding.iter().all(|flooder| !flooder.is_finished()),
        "a stopped server has answered"
    );

    servers[0].cont();
    for flooder in flooding {
        flooder.join().unwrap();
    }
    let total = i64::try_from(FLOODERS * REQUESTS).unwrap();
    assert!(proxy.stat(&["s0", "requests"]) >= total);
}

#[test]
fn pipeline_sent_before_any_read_does_not_deadlock() {
    const REQUESTS: usize = 200_000;
    // Forty megabytes of replies, more than sockets hold: the proxy must read requests while it cannot write.
    const VALUE_BYTES: usize = 200;
    let servers: [RedisServer; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let value = vec![b'v'; VALUE_BYTES];
    let mut client = proxy.client();
    for key in ["a", "b", "c", "d"] {
        client.send(&command(&[b"SET".as_slice(), key.as_bytes(), &value]));
        assert_eq!(client.reply(), OK.as_bytes());
    }
    let pipeline = words("GET a").repeat(REQUESTS / 4);
    let pipeline = [
        pipeline,
        ["b", "c", "d"]
            .map(|key| words(&format!("GET {key}")))
            .concat()
            .repeat(REQUESTS / 4),
    ]
    .concat();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&pipeline).unwrap();
    let reply = [format!("${VALUE_BYTES}\r\n").as_bytes(), &value, b"\r\n"].concat();
    expect_repeated(&stream, &reply, REQUESTS);
}

/// Sends ordinary requests until `done`; returns the usual wait for a reply.
fn converse_until(client: &mut Client, done: impl Fn() -> bool) -> Duration {
    converse_with(client, "SET other 1", done)
}

/// As [`converse_until`], with this SET.
fn converse_with(client: &mut Client, set: &str, done: impl Fn() -> bool) -> Duration {
    let mut waits = Vec::new();
    loop {
        let start = Instant::now();
        client.converse(&[(set, OK)]);
        waits.push(start.elapsed());
        if done() {
            return usual_wait(waits);
        }
    }
}

/// Fails unless `reply` is received so many times.
fn expect_repeated(mut stream: &TcpStream, reply: &[u8], times: usize) {
    let mut left_bytes = reply.len() * times;
    let expected = reply.repeat(1 + (1 << 18) / reply.len());
    let mut piece = vec![0; 1 << 18];
    let mut at = 0;
    while left_bytes > 0 {
        let len = stream
            .read(&mut piece[..left_bytes.min(1 << 18)])
            .unwrap_or_else(|error| panic!("{left_bytes} bytes before the end: {error}"));
        assert!(len > 0, "closed {left_bytes} bytes before the end");
        for chunk in piece[..len].chunks(expected.len() - reply.len()) {
            assert!(
                chunk == &expected[at..at + chunk.len()],
                "differs {left_bytes} bytes before the end"
            );
            at = (at + chunk.len()) % reply.len();
        }
        left_bytes -= len;
    }
}

/// A key on `server`, and one on another.
fn a_key_on_each(server: &RedisServer, client: &mut Client) -> (String, String) {
    let keys: Vec<_> = (0..100).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        client.converse(&[(&format!("SET {key} 1"), OK)]);
    }
    let there = server.keys();
    let lives_there = |key: &&String| there.contains(&key.as_bytes().to_vec());
    let found = keys.iter().find(lives_there).unwrap().clone();
    let other = keys.iter().find(|key| !lives_there(key)).unwrap().clone();
    (found, other)
}

/// Replies that a client does not read are not requested: other clients would wait behind them on the shared connection.
#[test]
fn unread_large_replies_are_not_requested() {
    const REQUESTS: usize = 200;
    /// Replies that socket buffers hold, those that the proxy holds, and those in flight meanwhile.
    const MOST_REQUESTED: usize = 24;
    let large = [b"$1048576\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
    let requested = Arc::new(AtomicUsize::new(0));
    let (count, reply) = (Arc::clone(&requested), large.clone());
    let server = FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.request() {
            if request == words("GET large") {
                count.fetch_add(1, Ordering::SeqCst);
                peer.send(&reply);
            } else {
                peer.send(b"$-1\r\n");
            }
        }
    });
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        descriptors: None,
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &Pool::at([server.address()]), &launch);
    let mut greedy = proxy.client();
    greedy.send(&words("GET large").repeat(REQUESTS));
    let mut other = proxy.client();
    let mut before = 0;
    eventually("no more is requested", || {
        for _ in 0..500 {
            other.converse(&[("GET small", "$-1\r\n")]);
        }
        let now = requested.load(Ordering::SeqCst);
        (now > 0 && now == std::mem::replace(&mut before, now)).then_some(())
    });
    assert!(before <= MOST_REQUESTED, "{before} requested");
    for nth in 0..REQUESTS {
        assert!(greedy.reply() == large, "reply {nth}");
    }
}
