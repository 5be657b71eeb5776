//! Clients of every kind keep their connections, their state and their requests over an upgrade.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::site::{Connector, Site, await_end};
use crate::support::{Client, eventually, show, words};

/// The clients of one kind.
const EACH: usize = 33;
/// The requests that a client has seen answered before it is asked to stop, at least.
const ROUNDS: u64 = 20;

/// Clients that work until they are told to stop.
#[derive(Debug)]
struct Crowd {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn new() -> Self {
        Self {
            stop: Arc::default(),
            tasks: Vec::new(),
        }
    }

    /// Adds a client that plays round after round.
    fn join(
        &mut self,
        mut client: Client,
        mut round: impl FnMut(&mut Client, u64) + Send + 'static,
    ) {
        let stop = Arc::clone(&self.stop);
        self.tasks.push(thread::spawn(move || {
            let mut number = 0;
            while number < ROUNDS || !stop.load(Ordering::Relaxed) {
                number += 1;
                round(&mut client, number);
            }
        }));
    }

    fn is_whole(&self) -> bool {
        self.tasks.iter().all(|task| !task.is_finished())
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.join().unwrap();
        }
    }
}

/// A pipeline of increments: each is executed once, and answered in order.
fn increments(name: String) -> impl FnMut(&mut Client, u64) {
    let mut expected = 0_u64;
    move |client, number| {
        let many = 1 + number % 7;
        client.send(&words(&format!("INCR {name}")).repeat(usize::try_from(many).unwrap()));
        for _ in 0..many {
            expected += 1;
            client.expect("INCR", format!(":{expected}\r\n").as_bytes());
        }
    }
}

fn transactions(name: String) -> impl FnMut(&mut Client, u64) {
    move |client, number| {
        if number.is_multiple_of(3) {
            assert_eq!(client.ask(&format!("WATCH {{{name}}}a")), b"+OK\r\n");
        }
        let (a, b) = (format!("INCR {{{name}}}a"), format!("INCR {{{name}}}b"));
        client.converse(&[
            ("MULTI", "+OK\r\n"),
            (&a, "+QUEUED\r\n"),
            (&b, "+QUEUED\r\n"),
        ]);
        let expected = format!("*2\r\n:{number}\r\n:{number}\r\n");
        client.converse(&[("EXEC", &expected)]);
    }
}

/// Pops what another client pushes: nothing is lost, nothing comes twice.
fn pops(name: String, address: SocketAddr) -> impl FnMut(&mut Client, u64) {
    let mut pusher = Client::connect(address);
    move |client, number| {
        client.send(&words(&format!("BLPOP {name} 0")));
        if number.is_multiple_of(2) {
            // It blocks.
            thread::yield_now();
        }
        pusher.converse(&[(&format!("RPUSH {name} {number}"), ":1\r\n")]);
        let (key, value) = (name.len(), number.to_string());
        let expected = format!("*2\r\n${key}\r\n{name}\r\n${}\r\n{value}\r\n", value.len());
        client.expect("BLPOP", expected.as_bytes());
    }
}

fn memcached_increments(name: String) -> impl FnMut(&mut Client, u64) {
    move |client, number| {
        if number == 1 {
            assert_eq!(client.say(&format!("set {name} 0 0 1\r\n0")), b"STORED\r\n");
        }
        let answer = client.say(&format!("incr {name} 1"));
        assert_eq!(show(&answer), show(format!("{number}\r\n").as_bytes()));
    }
}

/// Reads the messages of a channel, which are numbers, until `stop`. Returns how many numbers are missing.
fn subscribe(site: &Site, channel: &str) -> JoinHandle<u64> {
    let mut client = site.client();
    client.ask(&format!("SUBSCRIBE {channel}"));
    thread::spawn(move || {
        let (mut last, mut missing) = (None::<u64>, 0);
        loop {
            let message = client.reply();
            let text = String::from_utf8(message).unwrap();
            let value = text.trim_end().rsplit("\r\n").next().unwrap();
            if value == "stop" {
                return missing;
            }
            let number = value.parse().unwrap_or_else(|_| panic!("{text:?}"));
            if let Some(last) = last {
                assert!(number > last, "{number} after {last}");
                missing += number - last - 1;
            }
            last = Some(number);
        }
    })
}

#[test]
fn clients_of_every_kind_lose_nothing() {
    let site = Site::start();
    let address = site.address();
    let mut crowd = Crowd::new();
    for nth in 0..EACH {
        crowd.join(site.client(), increments(format!("counter-{nth}")));
        crowd.join(site.client(), transactions(format!("tx-{nth}")));
        crowd.join(site.client(), pops(format!("list-{nth}"), address));
        crowd.join(
            site.memcached_client(),
            memcached_increments(format!("mc-{nth}")),
        );
    }
    let subscribers: Vec<_> = (0..EACH)
        .map(|nth| subscribe(&site, &format!("ch-{nth}")))
        .collect();
    let mut publisher = 0_u64;
    crowd.join(site.client(), move |client, _| {
        publisher += 1;
        for nth in 0..EACH {
            client.send(&words(&format!("PUBLISH ch-{nth} {publisher}")));
        }
        for _ in 0..EACH {
            assert!(client.reply().starts_with(b":"));
        }
    });
    let mut idle: Vec<_> = (0..EACH)
        .map(|nth| {
            let mut client = site.client();
            client.ask(&format!("CLIENT SETNAME idle-{nth}"));
            let id = client.ask("CLIENT ID");
            (client, id)
        })
        .collect();
    let connector = Connector::start(&site);
    let mut before = site.process().pid();
    for _ in 0..2 {
        connector.go_on();
        assert!(crowd.is_whole());
        let new = site.upgrade();
        connector.go_on();
        await_end(before);
        before = new;
    }
    crowd.end();
    connector.end();
    for (nth, (client, id)) in idle.iter_mut().enumerate() {
        assert_eq!(client.ask("CLIENT ID"), *id);
        let name = format!("idle-{nth}");
        client.converse(&[("CLIENT GETNAME", &format!("${}\r\n{name}\r\n", name.len()))]);
    }
    let mut publisher = site.client();
    for (nth, subscriber) in subscribers.into_iter().enumerate() {
        eventually("the subscriber hears", || {
            publisher.ask(&format!("PUBLISH ch-{nth} stop"));
            subscriber.is_finished().then_some(())
        });
        // What was missed was published in the instants of the two upgrades.
        let missing = subscriber.join().unwrap();
        assert!(missing < 100, "{missing} messages are missing");
    }
}

#[test]
fn state_of_a_client_moves_with_it() {
    let site = Site::start();
    let mut client = site.client();
    client.ask("HELLO 3");
    client.converse(&[
        ("CLIENT SETNAME n-1", "+OK\r\n"),
        ("CLIENT SETINFO LIB-NAME lib", "+OK\r\n"),
        ("CLIENT SETINFO LIB-VER 1.2", "+OK\r\n"),
    ]);
    let id = client.ask("CLIENT ID");
    let mut silent = site.client();
    silent.send(&words("CLIENT REPLY OFF"));
    silent.send(&words("SET silent 1"));
    let mut skipping = site.client();
    skipping.send(&words("CLIENT REPLY SKIP"));
    eventually("all of them have been read", || {
        (site.client().ask("GET silent") == b"$1\r\n1\r\n").then_some(())
    });
    let new = site.upgrade();
    await_end(site.process().pid());
    let found = eventually("the client is listed", || {
        let clients = site.ctl(&["clients", "cache"]);
        let mut listed = clients["clients"].as_array().unwrap().iter();
        listed.find(|known| known["library"] == "lib").cloned()
    });
    assert_eq!(found["library_version"], "1.2");
    assert_eq!(found["resp"], 3);
    assert_eq!(client.ask("CLIENT ID"), id);
    // A null of RESP3.
    client.converse(&[
        ("GET missing", "_\r\n"),
        ("CLIENT GETNAME", "$3\r\nn-1\r\n"),
    ]);
    silent.send(&words("GET silent"));
    silent.send(&words("CLIENT REPLY ON"));
    silent.expect("CLIENT REPLY ON", b"+OK\r\n");
    skipping.send(&[words("SET skipped 1"), words("PING")].concat());
    skipping.expect("SKIP", b"+PONG\r\n");
    let mut late = site.client();
    let number = |reply: Vec<u8>| -> u64 {
        String::from_utf8(reply)
            .unwrap()
            .trim_start_matches(':')
            .trim()
            .parse()
            .unwrap()
    };
    assert!(
        number(late.ask("CLIENT ID")) > number(id),
        "of process {new}"
    );
}

#[test]
fn client_stays_its_user() {
    let site = Site::start();
    let users = "  redis: true\n  users: ['alice on >one ~a* +@all', 'gone on nopass ~* +@all']\n";
    site.rewrite_conf(|yaml| yaml.replacen("  redis: true\n", users, 1));
    site.ctl(&["reload"]);
    let mut alice = site.client();
    alice.converse(&[("AUTH alice one", "+OK\r\n"), ("SET a 1", "+OK\r\n")]);
    let mut default = site.client();
    default.converse(&[("SET b 1", "+OK\r\n")]);
    let mut gone = site.client();
    gone.converse(&[("AUTH gone x", "+OK\r\n")]);
    site.rewrite_conf(|yaml| yaml.replace(", 'gone on nopass ~* +@all'", ""));
    site.upgrade();
    await_end(site.process().pid());
    let denied =
        "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
    alice.converse(&[
        ("GET a", "$1\r\n1\r\n"),
        ("GET b", denied),
        ("ACL WHOAMI", "$5\r\nalice\r\n"),
    ]);
    default.converse(&[("GET b", "$1\r\n1\r\n")]);
    gone.expect_close();
}

#[test]
fn subscriber_that_lost_its_channel_is_closed() {
    let site = Site::start();
    let users = "  redis: true\n  users: ['alice on nopass &news:* +@all']\n";
    site.rewrite_conf(|yaml| yaml.replacen("  redis: true\n", users, 1));
    site.ctl(&["reload"]);
    let [mut stays, mut loses, mut at_run_time] = [(); 3].map(|()| {
        let mut client = site.client();
        client.converse(&[("AUTH alice x", "+OK\r\n")]);
        client
    });
    site.client()
        .converse(&[("ACL SETUSER alice &more", "+OK\r\n")]);
    let confirmed = |kind: &str, name: &str| {
        let (kind_len, len) = (kind.len(), name.len());
        format!("*3\r\n${kind_len}\r\n{kind}\r\n${len}\r\n{name}\r\n:1\r\n")
    };
    let subscribed = |name: &str| confirmed("subscribe", name);
    stays.converse(&[("SUBSCRIBE news:1", &subscribed("news:1"))]);
    loses.converse(&[("PSUBSCRIBE news:*", &confirmed("psubscribe", "news:*"))]);
    at_run_time.converse(&[("SUBSCRIBE more", &subscribed("more"))]);
    site.rewrite_conf(|yaml| yaml.replace("&news:*", "&news:1"));
    site.upgrade();
    await_end(site.process().pid());
    loses.expect_close();
    at_run_time.expect_close();
    site.client()
        .converse(&[("PUBLISH news:1 hello", ":1\r\n")]);
    let message = b"*3\r\n$7\r\nmessage\r\n$6\r\nnews:1\r\n$5\r\nhello\r\n";
    stays.expect("a message", message);
}

#[test]
fn half_a_request_moves_with_its_client() {
    let site = Site::start();
    let mut client = site.client();
    client.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nhe");
    let mut memcached = site.memcached_client();
    memcached.send(b"set half 0 0 5\r\nhe");
    eventually("the proxy has read it", || {
        (site.ctl(&["status"])["clients"] == 2).then_some(())
    });
    site.upgrade();
    await_end(site.process().pid());
    client.send(b"llo\r\n");
    client.expect("SET", b"+OK\r\n");
    client.converse(&[("GET half", "$5\r\nhello\r\n")]);
    memcached.send(b"llo\r\n");
    memcached.expect("set", b"STORED\r\n");
}

#[test]
fn blocked_client_waits_on_with_what_it_has_sent_after() {
    let site = Site::start();
    let mut client = site.client();
    client.send(&[words("BLPOP queue 0"), words("INCR after"), words("PING")].concat());
    let mut timed = site.client();
    timed.send(&words("BRPOPLPUSH {q}2 {q}3 2"));
    eventually("both are blocked", || {
        let clients = site.ctl(&["clients", "cache"]);
        let blocked = clients["clients"].as_array().unwrap().iter();
        (blocked.filter(|client| client["blocked"] == true).count() == 2).then_some(())
    });
    site.upgrade();
    await_end(site.process().pid());
    site.client()
        .converse(&[("GET after", "$-1\r\n"), ("RPUSH queue x", ":1\r\n")]);
    client.expect("BLPOP", b"*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n:1\r\n+PONG\r\n");
    timed.expect("BRPOPLPUSH", b"*-1\r\n");
}

#[test]
fn client_in_a_transaction_stays_until_it_ends() {
    let site = Site::start();
    let mut client = site.client();
    client.converse(&[("MULTI", "+OK\r\n"), ("INCR x", "+QUEUED\r\n")]);
    let mut watching = site.client();
    watching.converse(&[("WATCH y", "+OK\r\n")]);
    let answer = site.ctl(&["upgrade"]);
    assert_eq!(answer["left"], 2, "{answer}");
    let words = site.refusal(&["upgrade"]);
    assert!(words.contains("still handing over its clients"), "{words}");
    client.converse(&[("INCR x", "+QUEUED\r\n"), ("EXEC", "*2\r\n:1\r\n:2\r\n")]);
    watching.converse(&[("UNWATCH", "+OK\r\n")]);
    assert_eq!(site.process().exit().code(), Some(0));
    client.converse(&[("INCR x", ":3\r\n")]);
    watching.converse(&[("GET x", "$1\r\n3\r\n")]);
    site.upgrade();
}

#[test]
fn client_of_monitor_is_closed() {
    let site = Site::start();
    let mut client = site.client();
    client.converse(&[("MONITOR", "+OK\r\n")]);
    let answer = site.ctl(&["upgrade"]);
    assert_eq!(answer["left"], 0, "{answer}");
    client.expect_close();
    assert_eq!(site.process().exit().code(), Some(0));
    site.process()
        .await_output("MONITOR does not move to another process");
}

#[test]
fn new_process_that_dies_among_clients_leaves_the_others() {
    let site = Site::start();
    let mut client = site.client();
    client.converse(&[("MULTI", "+OK\r\n"), ("INCR x", "+QUEUED\r\n")]);
    let mut moved = site.client();
    moved.converse(&[("PING", "+PONG\r\n")]);
    let answer = site.ctl(&["upgrade"]);
    assert_eq!((&answer["moved"], &answer["left"]), (&1.into(), &1.into()));
    let connector = Connector::start(&site);
    connector.go_on();
    connector.end();
    let new = i32::try_from(answer["new_pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(new).unwrap(), Signal::KILL).unwrap();
    moved.expect_close();
    site.process()
        .await_output("upgrade: the other process has ended");
    site.assert_serves(site.process().pid());
    client.converse(&[("EXEC", "*1\r\n:1\r\n"), ("INCR x", ":2\r\n")]);
    site.upgrade();
    client.converse(&[("INCR x", ":3\r\n")]);
}

#[test]
fn subscriptions_of_all_kinds_move() {
    let site = Site::start();
    let mut client = site.client();
    client.ask("HELLO 3");
    for request in ["SUBSCRIBE one", "PSUBSCRIBE t*", "SSUBSCRIBE shard"] {
        client.ask(request);
    }
    site.upgrade();
    await_end(site.process().pid());
    let mut publisher = site.client();
    publisher.converse(&[
        ("PUBLISH one a", ":1\r\n"),
        ("PUBLISH two b", ":1\r\n"),
        ("SPUBLISH shard c", ":1\r\n"),
    ]);
    let messages: Vec<_> = (0..3).map(|_| show(&client.reply())).collect();
    for (kind, text) in [
        ("$7\\r\\nmessage", "one"),
        ("pmessage", "two"),
        ("smessage", "shard"),
    ] {
        assert!(
            messages
                .iter()
                .any(|message| message.contains(kind) && message.contains(text)),
            "{kind} {text}: {messages:?}"
        );
    }
    client.send(&words("UNSUBSCRIBE one"));
    assert!(show(&client.reply()).contains(":1\\r\\n"));
}

#[test]
fn client_that_cannot_move_is_drained() {
    let site = Site::start();
    let server = site.server(0).address();
    site.rewrite_conf(|yaml| {
        yaml.replacen("redis: true", "redis: true\n  databases: 4", 1)
            + &format!(
                "gone:\n  listen: {}:16123\n  redis: true\n  servers:\n    - {server}:1 s0\n",
                site.address().ip()
            )
    });
    site.ctl(&["reload"]);
    let mut far = site.client();
    far.converse(&[("SELECT 3", "+OK\r\n")]);
    let mut gone = site.client_at(16123);
    gone.converse(&[("PING", "+PONG\r\n")]);
    let mut stays = site.client();
    stays.converse(&[("SELECT 1", "+OK\r\n"), ("SET x 1", "+OK\r\n")]);
    site.rewrite_conf(|yaml| {
        yaml[..yaml.find("gone:").unwrap()].replace("databases: 4", "databases: 2")
    });
    site.upgrade();
    await_end(site.process().pid());
    far.expect_close();
    gone.expect_close();
    stays.converse(&[("GET x", "$1\r\n1\r\n")]);
}
