//! Clients that keep books of what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::guard::keyspace::page;
use crate::support::{Client, array_items, eventually, show};

/// What was acknowledged, by all clients.
#[derive(Default)]
pub(super) struct Books {
    is_over: AtomicBool,
    rounds: AtomicU64,
    next: AtomicU64,
    /// By counter: the sum of what was added.
    counters: Mutex<BTreeMap<String, u64>>,
    pushed: Mutex<BTreeSet<String>>,
    popped: Mutex<BTreeSet<String>>,
    /// By stream: entries that were added.
    added: Mutex<BTreeMap<String, u64>>,
    members: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// A scan that clients of both proxies continue in turn.
    scan: Mutex<Scan>,
}

/// A scan of all keys.
#[derive(Default)]
struct Scan {
    cursor: Option<String>,
    /// The keys that are never deleted, as far as they were returned.
    seen: BTreeSet<String>,
}

/// One round of a client's work.
pub(super) type Work = fn(&mut Client, &Books);

pub(super) static CLIENTS: [Work; 11] = [
    increment,
    pipeline,
    push_and_pop,
    block,
    set_and_get,
    add_to_set,
    transact,
    watch,
    stream,
    scan,
    list,
];

/// The number of keys that are never deleted.
const STILL: usize = 300;

/// Writes the keys that are never deleted.
pub(super) fn write_still_keys(client: &mut Client) {
    for number in 0..STILL {
        client.expect_for(&format!("SET still-{number} v"), "+OK\r\n");
    }
}

const KEYS: u8 = 60;

impl Books {
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn count(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for so many more rounds of the clients.
    pub(super) fn wait_for_rounds(&self, more: u64) {
        let until = self.rounds.load(Ordering::Relaxed) + more;
        eventually("clients go on", || {
            (self.rounds.load(Ordering::Relaxed) >= until).then_some(())
        });
    }

    fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn add(&self, counter: &str, by: u64) {
        *self
            .counters
            .lock()
            .unwrap()
            .entry(counter.to_owned())
            .or_default() += by;
    }

    /// Compares all books with what the servers have.
    pub(super) fn check(&self, client: &mut Client) {
        // The scan that has begun during the moves.
        while self.scan.lock().unwrap().cursor.is_some() {
            scan(client, self);
        }
        for (counter, sum) in &*self.counters.lock().unwrap() {
            let text = sum.to_string();
            let expected = format!("${}\r\n{text}\r\n", text.len());
            client.expect_for(&format!("GET {counter}"), &expected);
        }
        let mut left = self.popped.lock().unwrap().clone();
        for list in (0..KEYS).map(|key| format!("list-{key}")) {
            for item in array_items(&client.ask(&format!("LRANGE {list} 0 -1"))) {
                let item = String::from_utf8(item).unwrap();
                assert!(left.insert(item.clone()), "{item} was also popped");
            }
        }
        for item in array_items(&client.ask("LRANGE queue 0 -1")) {
            let item = String::from_utf8(item).unwrap();
            assert!(left.insert(item.clone()), "{item} was also popped");
        }
        assert_eq!(left, *self.pushed.lock().unwrap());
        for (stream, added) in &*self.added.lock().unwrap() {
            client.expect_for(&format!("XLEN {stream}"), &format!(":{added}\r\n"));
            let pending = show(&client.ask(&format!("XPENDING {stream} g")));
            assert!(
                pending.starts_with("*4\\r\\n:0\\r\\n"),
                "{stream}: {pending}"
            );
        }
        for (set, members) in &*self.members.lock().unwrap() {
            let found = array_items(&client.ask(&format!("SMEMBERS {set}")));
            let found: BTreeSet<_> = found
                .into_iter()
                .map(|m| String::from_utf8(m).unwrap())
                .collect();
            assert_eq!(found, *members, "{set}");
        }
    }
}

impl Client {
    fn expect_for(&mut self, request: &str, expected: &str) {
        let reply = show(&self.ask(request));
        assert_eq!(reply, show(expected.as_bytes()), "{request}");
    }

    /// Executes a transaction; returns the reply to EXEC.
    fn transact(&mut self, requests: &[&str]) -> String {
        self.converse(&[("MULTI", "+OK\r\n")]);
        for request in requests {
            self.converse(&[(*request, "+QUEUED\r\n")]);
        }
        show(&self.ask("EXEC"))
    }
}

fn increment(client: &mut Client, books: &Books) {
    let counter = format!("counter-{}", fastrand::u8(..KEYS));
    let reply = show(&client.ask(&format!("INCR {counter}")));
    assert!(reply.starts_with(':'), "{reply}");
    books.add(&counter, 1);
}

fn pipeline(client: &mut Client, books: &Books) {
    let counters: Vec<_> = (0..50)
        .map(|_| format!("counter-{}", fastrand::u8(..KEYS)))
        .collect();
    let requests: Vec<_> = counters
        .iter()
        .flat_map(|counter| crate::support::words(&format!("INCRBY {counter} 3")))
        .collect();
    client.send(&requests);
    for counter in &counters {
        let reply = show(&client.reply());
        assert!(reply.starts_with(':'), "{reply}");
        books.add(counter, 3);
    }
}

/// Continues the scan by a page.
fn scan(client: &mut Client, books: &Books) {
    let mut scan = books.scan.lock().unwrap();
    let cursor = scan.cursor.take().unwrap_or_else(|| "0".to_owned());
    let (cursor, keys) = page(&client.ask(&format!("SCAN {cursor} COUNT 40")));
    assert!(
        !keys.iter().any(|key| key.starts_with("ringroad:")),
        "{keys:?}"
    );
    scan.seen
        .extend(keys.into_iter().filter(|key| key.starts_with("still-")));
    if cursor == "0" {
        assert_eq!(scan.seen.len(), STILL, "{:?}", scan.seen);
        scan.seen.clear();
    } else {
        scan.cursor = Some(cursor);
    }
}

/// Lists keys that are there all the time, once each, and one that is deleted.
fn list(client: &mut Client, books: &Books) {
    let gone = format!("gone-{}", books.unique());
    client.expect_for(&format!("SET {gone} v"), "+OK\r\n");
    client.expect_for(
        &format!("KEYS {gone}"),
        &format!("*1\r\n${}\r\n{gone}\r\n", gone.len()),
    );
    client.expect_for(&format!("DEL {gone}"), ":1\r\n");
    client.expect_for(&format!("KEYS {gone}"), "*0\r\n");
    let listed = array_items(&client.ask("KEYS still-*"));
    let distinct: BTreeSet<_> = listed.iter().collect();
    assert_eq!((listed.len(), distinct.len()), (STILL, STILL));
    let drawn = show(&client.ask("RANDOMKEY"));
    assert!(drawn.starts_with('$') && drawn != "$-1\\r\\n", "{drawn}");
    assert!(!drawn.contains("ringroad:"), "{drawn}");
}

fn push_and_pop(client: &mut Client, books: &Books) {
    let list = format!("list-{}", fastrand::u8(..KEYS));
    let item = format!("item-{}", books.unique());
    // Noted before: another client may pop it before the reply is here.
    books.pushed.lock().unwrap().insert(item.clone());
    let reply = show(&client.ask(&format!("RPUSH {list} {item}")));
    assert!(reply.starts_with(':'), "{reply}");
    let popped = client.ask(&format!("LPOP {list}"));
    note_popped(&popped, books);
}

fn note_popped(reply: &[u8], books: &Books) {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    assert!(text.starts_with('$'), "{text}");
    if let Some(item) = text.lines().nth(1) {
        let is_first = books.popped.lock().unwrap().insert(item.to_owned());
        assert!(is_first, "{item} was popped twice");
    }
}

fn block(client: &mut Client, books: &Books) {
    if fastrand::bool() {
        let item = format!("item-{}", books.unique());
        books.pushed.lock().unwrap().insert(item.clone());
        let reply = show(&client.ask(&format!("RPUSH queue {item}")));
        assert!(reply.starts_with(':'), "{reply}");
    }
    let reply = client.ask("BLPOP queue 0.2");
    let text = show(&reply);
    assert!(text.starts_with('*'), "{text}");
    if text != "*-1\\r\\n" {
        let item = String::from_utf8(array_items(&reply)[1].clone()).unwrap();
        let is_first = books.popped.lock().unwrap().insert(item.clone());
        assert!(is_first, "{item} was popped twice");
    }
}

fn set_and_get(client: &mut Client, books: &Books) {
    let value = format!("value-{}", books.unique());
    let key = format!("own-{}-{}", fastrand::u8(..KEYS), value);
    client.expect_for(&format!("SET {key} {value} PX 600000"), "+OK\r\n");
    let found = format!("${}\r\n{value}\r\n", value.len());
    client.expect_for(&format!("GET {key}"), &found);
    let left = show(&client.ask(&format!("PTTL {key}")));
    let left: u64 = left
        .trim_start_matches(':')
        .trim_end_matches("\\r\\n")
        .parse()
        .unwrap();
    assert!((1..=600_000).contains(&left), "{left}");
    client.expect_for(&format!("DEL {key}"), ":1\r\n");
    client.expect_for(&format!("GET {key}"), "$-1\r\n");
}

fn add_to_set(client: &mut Client, books: &Books) {
    let (set, member) = (
        format!("set-{}", fastrand::u8(..KEYS)),
        format!("m{}", books.unique()),
    );
    client.expect_for(&format!("SADD {set} {member}"), ":1\r\n");
    if fastrand::bool() {
        client.expect_for(&format!("SREM {set} {member}"), ":1\r\n");
    } else {
        books
            .members
            .lock()
            .unwrap()
            .entry(set)
            .or_default()
            .insert(member);
    }
}

fn transact(client: &mut Client, books: &Books) {
    let tag = fastrand::u8(..KEYS);
    let [one, other] = ["a", "b"].map(|name| format!("{{tag-{tag}}}{name}"));
    let (first, second) = (format!("INCR {one}"), format!("INCR {other}"));
    let reply = client.transact(&[&first, &second]);
    assert!(reply.starts_with("*2\\r\\n:"), "{reply}");
    books.add(&one, 1);
    books.add(&other, 1);
}

/// Adds one by a loop of WATCH, GET and EXEC.
fn watch(client: &mut Client, books: &Books) {
    let key = format!("watched-{}", fastrand::u8(..5));
    loop {
        client.expect_for(&format!("WATCH {key}"), "+OK\r\n");
        let found = String::from_utf8(client.ask(&format!("GET {key}"))).unwrap();
        let value: u64 = found
            .lines()
            .nth(1)
            .map_or(0, |value| value.parse().unwrap());
        let reply = client.transact(&[&format!("SET {key} {}", value + 1)]);
        if reply == "*1\\r\\n+OK\\r\\n" {
            break;
        }
        // Another client has changed the key, or it has changed hands.
        assert_eq!(reply, "*-1\\r\\n");
    }
    books.add(&key, 1);
}

/// Adds to a stream, reads it in a group, and acknowledges what was read.
fn stream(client: &mut Client, books: &Books) {
    let stream = format!("stream-{}", fastrand::u8(..20));
    let made = show(&client.ask(&format!("XGROUP CREATE {stream} g 0 MKSTREAM")));
    assert!(
        made == "+OK\\r\\n" || made.starts_with("-BUSYGROUP"),
        "{made}"
    );
    let added = show(&client.ask(&format!("XADD {stream} * f v")));
    assert!(added.starts_with('$'), "{added}");
    *books
        .added
        .lock()
        .unwrap()
        .entry(stream.clone())
        .or_default() += 1;
    let read =
        String::from_utf8(client.ask(&format!("XREADGROUP GROUP g c COUNT 10 STREAMS {stream} >")))
            .unwrap();
    let ids = read
        .lines()
        .filter(|line| line.contains('-') && !line.contains("stream-"));
    let ids: Vec<_> = ids.filter(|line| !line.starts_with('*')).collect();
    if !ids.is_empty() {
        let reply = show(&client.ask(&format!("XACK {stream} g {}", ids.join(" "))));
        assert_eq!(reply, format!(":{}\\r\\n", ids.len()));
    }
}
