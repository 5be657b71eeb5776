//! Clients that check every reply while the configuration changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::{Client, show, words};

/// What the clients know of the changes.
pub(super) struct Load {
    /// Odd while a change is under way; another even number means that there was one.
    pub(super) changes: AtomicU64,
    pub(super) is_over: AtomicBool,
}

impl Load {
    /// Runs `act`. Returns true if nothing has changed meanwhile.
    fn is_quiet(&self, act: impl FnOnce()) -> bool {
        let before = self.changes.load(Ordering::SeqCst);
        act();
        before.is_multiple_of(2) && self.changes.load(Ordering::SeqCst) == before
    }
}

/// One round of a client's work.
pub(super) type Work = fn(&mut Client, &Load);

pub(super) static CLIENTS: [Work; 8] = [
    set_and_get,
    ask_where,
    pipeline,
    transact,
    watch,
    block,
    subscribe,
    scan,
];

pub(super) static MEMCACHED_CLIENTS: [Work; 1] = [memcached];

/// A value that was set is read, unless its key may have moved.
fn set_and_get(client: &mut Client, load: &Load) {
    let (key, value) = (fastrand::u8(..50), fastrand::u64(..));
    let mut found = String::new();
    let is_quiet = load.is_quiet(|| {
        client.converse(&[(&format!("SET own-{key} {value}"), "+OK\r\n")]);
        found = show(&client.ask(&format!("GET own-{key}")));
    });
    assert!(found.starts_with('$'), "{found}");
    assert!(!is_quiet || found.contains(&value.to_string()), "{found}");
}

/// Only servers that have the key answer.
fn ask_where(client: &mut Client, _: &Load) {
    let reply = show(&client.ask(&format!("GET where-{}", fastrand::u8(..20))));
    assert!(reply.starts_with("$1\\r\\n"), "{reply}");
}

/// Replies of servers and of the proxy come in the order of the requests.
fn pipeline(client: &mut Client, _: &Load) {
    let mut requests = Vec::new();
    for number in 0..100 {
        requests.extend(words(&format!("ECHO {number}")));
        requests.extend(words(&format!("GET where-{}", number % 20)));
        requests.extend(words(&format!(
            "SETRANGE order-{} 0 {number:03}",
            number % 7
        )));
    }
    client.send(&requests);
    for number in 0..100 {
        let text = number.to_string();
        client.expect("ECHO", format!("${}\r\n{text}\r\n", text.len()).as_bytes());
        let reply = show(&client.reply());
        assert!(reply.starts_with("$1\\r\\n"), "{reply}");
        client.expect("SETRANGE", b":3\r\n");
    }
}

/// A transaction is executed as a whole, or refused since its keys have moved.
fn transact(client: &mut Client, load: &Load) {
    let (value, key) = (fastrand::u64(..), fastrand::u8(..50));
    let set = format!("SET {{tx-{key}}}a {value}");
    let get = format!("GET {{tx-{key}}}a");
    let mut reply = String::new();
    let is_quiet = load.is_quiet(|| {
        let queued = "+QUEUED\r\n";
        client.converse(&[("MULTI", "+OK\r\n"), (&set, queued), (&get, queued)]);
        reply = show(&client.ask("EXEC"));
    });
    let is_done = reply.starts_with("*2\\r\\n+OK") && reply.contains(&value.to_string());
    let is_refused = reply.starts_with("-EXECABORT") && !is_quiet;
    assert!(is_done || is_refused, "{reply}");
}

/// A watch decides the transaction, or ends it as if its key had changed.
fn watch(client: &mut Client, load: &Load) {
    let mut reply = String::new();
    let is_quiet = load.is_quiet(|| {
        client.converse(&[("WATCH watched", "+OK\r\n")]);
        client.ask("GET watched");
        client.converse(&[("MULTI", "+OK\r\n"), ("INCR watched", "+QUEUED\r\n")]);
        reply = show(&client.ask("EXEC"));
    });
    let is_done = reply.starts_with("*1\\r\\n:");
    let is_refused = (reply == "*-1\\r\\n" || reply.starts_with("-EXECABORT")) && !is_quiet;
    assert!(is_done || is_refused, "{reply}");
}

/// A blocked client gets its element, or nil at its time.
fn block(client: &mut Client, _: &Load) {
    let push = words("RPUSH queue x");
    match fastrand::u8(..3) {
        0 => client.send(&[push, words("BLPOP queue 5")].concat()),
        _ => client.send(&words("BLPOP queue 0.05")),
    }
    let mut reply = show(&client.reply());
    if reply.starts_with(':') {
        reply = show(&client.reply());
    }
    let is_right = reply == "*-1\\r\\n" || reply.contains("queue");
    assert!(reply.starts_with('*') && is_right, "{reply}");
}

/// Messages arrive in order, and none twice.
fn subscribe(client: &mut Client, _: &Load) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let first = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let channel = format!("channel-{}", fastrand::u8(..20));
    client.ask("HELLO 3");
    client.send(&words(&format!("SUBSCRIBE {channel}")));
    client.send(&words(&format!("PUBLISH {channel} {first}")));
    client.send(&words("UNSUBSCRIBE"));
    let mut seen = Vec::new();
    loop {
        let push = client.reply();
        let text = show(&push);
        if text.contains("unsubscribe") {
            break;
        }
        assert!(!text.starts_with('-'), "{text}");
        if text.contains("$7\\r\\nmessage") {
            seen.push(text);
        }
    }
    assert!(seen.len() <= 1, "{seen:?}");
}

/// A cursor goes on, or is refused since the servers have changed.
fn scan(client: &mut Client, load: &Load) {
    let mut reply = Vec::new();
    let is_quiet = load.is_quiet(|| {
        reply = client.ask("SCAN 0 COUNT 5");
        for _ in 0..5 {
            if reply.starts_with(b"-") {
                break;
            }
            let reply_text = String::from_utf8_lossy(&reply);
            let cursor = reply_text.lines().nth(2).unwrap().to_owned();
            reply = client.ask(&format!("SCAN {cursor} COUNT 5"));
        }
    });
    let reply = show(&reply);
    let is_refused = reply.starts_with("-ERR") && reply.contains("cursor") && !is_quiet;
    assert!(reply.starts_with("*2") || is_refused, "{reply}");
}

/// Values that were set are read one by one and together, unless their keys may have moved.
fn memcached(client: &mut Client, load: &Load) {
    let value = fastrand::u64(..);
    let mut replies = Vec::new();
    let is_quiet = load.is_quiet(|| {
        for key in 0..5 {
            let text = value.to_string();
            client.send(format!("set key-{key} 0 0 {}\r\n{text}\r\n", text.len()).as_bytes());
            replies.push(show(&client.answer()));
        }
        client.send(b"get key-0 key-1 key-2 key-3 key-4\r\n");
        replies.push(show(&client.answer()));
    });
    let all = replies.pop().unwrap();
    assert!(
        replies.iter().all(|reply| reply == "STORED\\r\\n"),
        "{replies:?}"
    );
    assert!(all.ends_with("END\\r\\n"), "{all}");
    assert!(
        !is_quiet || all.matches(&value.to_string()).count() == 5,
        "{all}"
    );
}
