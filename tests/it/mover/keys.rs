//! Keys of all types, and what is compared of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::thread::JoinHandle;

use crate::support::{Client, RedisServer, array_items, command, eventually};

/// The options of a server whose keys are compared.
pub(crate) const COMPARABLE: [&str; 2] = ["--enable-debug-command", "yes"];

/// A server whose keys are compared.
pub(crate) fn server() -> RedisServer {
    RedisServer::start_with(&COMPARABLE)
}

/// Sends a request and returns the reply, which must be no error.
pub(crate) fn ask<A: AsRef<[u8]>>(client: &mut Client, args: &[A]) -> Vec<u8> {
    client.send(&command(args));
    let reply = client.reply();
    let sent = args
        .iter()
        .map(|arg| arg.as_ref().escape_ascii().to_string());
    let sent: Vec<_> = sent.collect();
    assert_ne!(
        reply.first(),
        Some(&b'-'),
        "{}: {}",
        sent.join(" "),
        reply.escape_ascii()
    );
    reply
}

/// As [`ask`], with a request that is written as words.
pub(crate) fn tell(client: &mut Client, request: &str) -> Vec<u8> {
    let args: Vec<_> = request.split(' ').collect();
    ask(client, &args)
}

/// Writes about 20 keys of all types under a prefix, some of which expire in an hour.
pub(crate) fn write_all_types(client: &mut Client, prefix: &str) {
    for request in [
        "SET P:string value",
        "SET P:number 42",
        "SET P:expires value EX 3600",
        "HSET P:hash f v g w",
        "RPUSH P:list a b c",
        "SADD P:set a b c",
        "SADD P:intset 1 2 3",
        "ZADD P:zset 1 a 2.5 b",
        "PFADD P:hll a b c",
        "GEOADD P:geo 13.36 38.11 Palermo",
        "SETBIT P:bits 77 1",
        "XADD P:stream 1-1 f v",
        "XADD P:stream 2-1 f v",
        "XGROUP CREATE P:stream g 0",
        "XREADGROUP GROUP g c COUNT 1 STREAMS P:stream >",
        "EXPIRE P:hash 3600",
        "PEXPIRE P:stream 3600123",
    ] {
        tell(client, &request.replace("P:", &format!("{prefix}:")));
    }
    let key = |name: &[u8]| [prefix.as_bytes(), name].concat();
    ask(client, &[&b"SET"[..], &key(b"\x00\xff\r\n '"), b"\r\n\x00"]);
    ask(client, &[&b"SET"[..], &key(b":empty"), b""]);
    for (name, verb) in [(&b":manyset"[..], "SADD"), (b":manylist", "RPUSH")] {
        let mut args = vec![verb.as_bytes().to_vec(), key(name)];
        args.extend((0..2000).map(|n| format!("member number {n}").into_bytes()));
        ask(client, &args);
    }
}

/// All keys of a database but marks, each with its expiry and a digest of its value.
pub(crate) fn contents(server: &RedisServer, database: u32) -> BTreeMap<Vec<u8>, String> {
    let mut client = server.client();
    tell(&mut client, &format!("SELECT {database}"));
    let keys = array_items(&tell(&mut client, "KEYS *"));
    let keys = keys
        .into_iter()
        .filter(|key| !key.starts_with(b"ringroad:"));
    keys.map(|key| {
        let is_stream = ask(&mut client, &[&b"TYPE"[..], &key]) == b"+stream\r\n";
        let expiry = ask(&mut client, &[&b"PEXPIRETIME"[..], &key]);
        let digest = ask(&mut client, &[&b"DEBUG"[..], b"DIGEST-VALUE", &key]);
        let mut text = [expiry, digest].concat().escape_ascii().to_string();
        if is_stream {
            // The digest knows no groups.
            let dump = ask(&mut client, &[&b"DUMP"[..], &key]);
            text += &dump.escape_ascii().to_string();
        }
        (key, text)
    })
    .collect()
}

/// Waits until no key is left that expires within a minute: what is compared does not change by itself.
pub(crate) fn await_expiries(server: &RedisServer) {
    let script = "local n = 0 for _, key in ipairs(redis.call('KEYS', '*')) do local left = redis.call('PTTL', key) \
                  if left >= 0 and left < 60000 then n = n + 1 end end return n";
    eventually("short-lived keys expire", || {
        let count = ask(&mut server.client(), &["EVAL", script, "0"]);
        (count == b":0\r\n").then_some(())
    });
}

/// Fails, naming some keys, if these are not the same.
pub(crate) fn assert_same(found: &BTreeMap<Vec<u8>, String>, expected: &BTreeMap<Vec<u8>, String>) {
    let differs = |key: &&Vec<u8>| found.get(*key) != expected.get(*key);
    let all = found.keys().chain(expected.keys()).filter(differs);
    let shown: Vec<_> = all
        .take(5)
        .map(|key| {
            (
                key.escape_ascii().to_string(),
                found.get(key),
                expected.get(key),
            )
        })
        .collect();
    assert!(
        shown.is_empty(),
        "{} and {} keys: {shown:#?}",
        found.len(),
        expected.len()
    );
}

/// A client that writes keys of all types at random until it is stopped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    pub(crate) fn start(server: &RedisServer, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = server.client();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                let request = random_write(&mut random);
                client.send(&command(&request.split(' ').collect::<Vec<_>>()));
                client.reply();
                count += 1;
            }
            count
        });
        Self { stop, thread }
    }

    /// The number of its requests.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn random_write(random: &mut fastrand::Rng) -> String {
    let n = random.u32(..200);
    let value = random.u32(..1000);
    match random.u32(..22) {
        0 => format!("SET w:s:{n} {value}"),
        1 => format!("SET w:s:{n} {value} PX {}", random.u32(1..400)),
        2 => format!("SET w:s:{n} {value} EX 3600"),
        3 => format!("INCR w:c:{n}"),
        4 => format!("DEL w:s:{n} w:h:{n} w:x:{n}"),
        5 => format!("HSET w:h:{n} f{value} {value}"),
        6 => format!("HDEL w:h:{n} f{value}"),
        7 => format!("RPUSH w:l:{n} {value}"),
        8 => format!("LPOP w:l:{n}"),
        9 => format!("SADD w:set:{n} {value}"),
        10 => format!("SREM w:set:{n} {value}"),
        11 => format!("ZADD w:z:{n} {value} m{value}"),
        12 => format!("PEXPIRE w:h:{n} {}", random.u32(1..2000)),
        13 => format!("PERSIST w:h:{n}"),
        14 => format!("XADD w:x:{n} * f {value}"),
        15 => format!("XGROUP CREATE w:x:{n} g 0 MKSTREAM"),
        16 => format!(
            "XREADGROUP GROUP g c{} COUNT 2 STREAMS w:x:{n} >",
            value % 3
        ),
        17 => format!("XAUTOCLAIM w:x:{n} g c0 0 0 COUNT 1"),
        18 => format!("RENAME w:s:{n} w:s:{value}"),
        19 => format!("APPEND w:s:{n} {value}"),
        20 => format!("EVAL redis.call('INCR','w:lua:{n}') 0"),
        _ => format!("XTRIM w:x:{n} MAXLEN 5"),
    }
}
