//! One of four servers is stopped. Requests to the other three do not wait for it, except behind a client's own.

use crate::support::{
    Client, Kind, Launch, Memcached, Pool, Proxy, RedisServer, command, eventually,
};

/// Four servers, and a proxy with one worker, which all clients share.
struct Fleet {
    servers: Servers,
    proxy: Proxy,
    /// A key on each server; its value is its name.
    keys: [String; 4],
}

enum Servers {
    Redis([RedisServer; 4]),
    Memcached([Memcached; 4]),
}

#[test]
fn stopped_server_delays_only_its_own_requests() {
    for fleet in Fleet::of_each_protocol(None) {
        let [slow, fast @ ..] = &fleet.keys;
        fleet.stop_first();
        let mut waiting: Vec<_> = (0..10).map(|_| fleet.proxy.client()).collect();
        for client in &mut waiting {
            client.send(&fleet.get(slow).repeat(10));
        }
        let mut of_all_four = fleet.proxy.client();
        let mixed = [&fast[0], &fast[1], slow, &fast[2], slow, &fast[0]];
        of_all_four.send(&mixed.map(|key| fleet.get(key)).concat());
        fleet.expect_hits(&mut of_all_four, &mixed[..2]);
        let mut of_three = fleet.proxy.client();
        for key in fast.iter().cycle().take(1000) {
            of_three.send(&fleet.get(key));
            fleet.expect_hits(&mut of_three, &[key]);
        }
        let mut at_once = fleet.proxy.client();
        at_once.send(&[&fast[0], slow].map(|key| fleet.get(key)).concat());
        fleet.expect_hits(&mut at_once, &[&fast[0]]);
        fleet.continue_first();
        fleet.expect_hits(&mut of_all_four, &mixed[2..]);
        fleet.expect_hits(&mut at_once, &[slow]);
        for client in &mut waiting {
            fleet.expect_hits(client, &[slow; 10]);
        }
    }
}

#[test]
fn stopped_server_requests_time_out_then_fail_fast() {
    const REQUESTS: i64 = 1000;
    /// Each of these waits for the timeout. After each, the backoff grows, and requests fail without being sent.
    const MOST_SENT: i64 = REQUESTS / 10;
    for fleet in Fleet::of_each_protocol(Some(1000)) {
        let [slow, fast @ ..] = &fleet.keys;
        let mut client = fleet.proxy.client();
        fleet.stop_first();
        let mixed = [slow, &fast[0], &fast[1], slow, &fast[2]];
        client.send(&mixed.map(|key| fleet.get(key)).concat());
        fleet.expect_timeout(&mut client);
        fleet.expect_hits(&mut client, &mixed[1..3]);
        fleet.expect_timeout(&mut client);
        fleet.expect_hits(&mut client, &mixed[4..]);
        let sent_before = fleet.proxy.stat(&["s0", "requests"]);
        let mut of_three = fleet.proxy.client();
        for key in fast.iter().cycle().take(REQUESTS.try_into().unwrap()) {
            client.send(&fleet.get(slow));
            of_three.send(&fleet.get(key));
            fleet.expect_hits(&mut of_three, &[key]);
            fleet.expect_timeout(&mut client);
        }
        let sent = fleet.proxy.stat(&["s0", "requests"]) - sent_before;
        assert!(
            sent <= MOST_SENT,
            "{sent} of {REQUESTS} requests were sent to a server that stands still"
        );
        fleet.continue_first();
        eventually("the server is reached again", || {
            client.send(&fleet.get(slow));
            (fleet.next_reply(&mut client) == fleet.hit(slow)).then_some(())
        });
    }
}

impl Fleet {
    /// A fleet of Redis and one of memcached, with this timeout in ms.
    fn of_each_protocol(timeout: Option<u32>) -> [Self; 2] {
        [
            Servers::Redis(RedisServer::several()),
            Servers::Memcached(Memcached::several()),
        ]
        .map(|servers| Self::start(servers, timeout))
    }

    fn start(servers: Servers, timeout: Option<u32>) -> Self {
        let mut pool = match &servers {
            Servers::Redis(servers) => Pool::of(servers),
            Servers::Memcached(servers) => Pool::memcached(servers),
        }
        .with("hash", "md5");
        if let Some(timeout) = timeout {
            pool = pool.with("timeout", timeout);
        }
        let launch = Launch {
            args: vec!["--workers".to_owned(), "1".to_owned()],
            descriptors: None,
            ..Launch::default()
        };
        let mut fleet = Self {
            servers,
            proxy: Proxy::start(Kind::Ringroad, &pool, &launch),
            keys: Default::default(),
        };
        let mut client = fleet.proxy.client();
        for key in (0..100).map(|nth| format!("key-{nth}")) {
            let (set, stored) = match fleet.servers {
                Servers::Redis(_) => (command(&["SET", &key, &key]), "+OK\r\n"),
                Servers::Memcached(_) => (
                    format!("set {key} 0 0 {}\r\n{key}\r\n", key.len()).into_bytes(),
                    "STORED\r\n",
                ),
            };
            client.send(&set);
            client.expect(&key, stored.as_bytes());
        }
        let keys = match &fleet.servers {
            Servers::Redis(servers) => servers.each_ref().map(RedisServer::keys),
            Servers::Memcached(servers) => servers.each_ref().map(Memcached::keys),
        };
        fleet.keys = keys.map(|keys| String::from_utf8(keys[0].clone()).unwrap());
        fleet
    }

    fn stop_first(&self) {
        match &self.servers {
            Servers::Redis([first, ..]) => first.stop(),
            Servers::Memcached([first, ..]) => first.stop(),
        }
    }

    fn continue_first(&self) {
        match &self.servers {
            Servers::Redis([first, ..]) => first.cont(),
            Servers::Memcached([first, ..]) => first.cont(),
        }
    }

    fn get(&self, key: &str) -> Vec<u8> {
        match self.servers {
            Servers::Redis(_) => command(&["GET", key]),
            Servers::Memcached(_) => format!("get {key}\r\n").into_bytes(),
        }
    }

    fn hit(&self, key: &str) -> Vec<u8> {
        let len = key.len();
        match self.servers {
            Servers::Redis(_) => format!("${len}\r\n{key}\r\n"),
            Servers::Memcached(_) => format!("VALUE {key} 0 {len}\r\n{key}\r\nEND\r\n"),
        }
        .into_bytes()
    }

    fn next_reply(&self, client: &mut Client) -> Vec<u8> {
        match self.servers {
            Servers::Redis(_) => client.reply(),
            Servers::Memcached(_) => client.answer(),
        }
    }

    fn expect_hits(&self, client: &mut Client, keys: &[&String]) {
        for key in keys {
            client.expect(key, &self.hit(key));
        }
    }

    fn expect_timeout(&self, client: &mut Client) {
        let text = match self.servers {
            Servers::Redis(_) => "-ERR Connection timed out\r\n",
            Servers::Memcached(_) => "SERVER_ERROR Connection timed out\r\n",
        };
        client.expect("a server that stands still", text.as_bytes());
    }
}
