//! The rows that are counted.

use ringroad::protocol::Merge as _;
use std::hint::black_box;

use bytes::Bytes;
use ringroad::buf::WriteBuf;
use ringroad::config::Distribution;
use ringroad::hash::{HashKind, name_order};
use ringroad::protocol::redis;
use ringroad::protocol::redis::{ErrorAuthor, Redis};
use ringroad::protocol::{Limits, Passed, Scan, memcached};
use ringroad::topology::{Member, Router};

use crate::path;
use crate::samples::{MGET, array, command, multi_get};
use crate::script::Script;

/// Keys of a multi-key request.
const KEYS: u16 = 100;

/// Requests of a pipeline.
const DEPTH: u32 = 100;

/// Servers of a pool.
const SERVERS: u16 = 4;

/// One row of the record.
pub(crate) struct Row {
    /// The name: the counted operation.
    pub(crate) name: &'static str,
    /// Operations of one call.
    pub(crate) operations: u32,
    /// Calls of the shorter run; buffers that grow during them cost nothing.
    pub(crate) calls: u32,
    /// Performs this many calls.
    pub(crate) run: fn(u32),
}

/// Every row. Scanners and routers run often, because they are small; paths rarely.
pub(crate) const ROWS: &[Row] = &[
    row("redis: scan GET", 2048, |calls| {
        scan_redis(calls, &command(["GET", "session:7f3a90c2"]));
    }),
    row("redis: scan SET", 2048, |calls| {
        scan_redis(calls, &command(["SET", "session:7f3a90c2", "hello, world"]));
    }),
    row("redis: scan MGET of 100 keys", 128, |calls| {
        let keys = (0..KEYS).map(|n| format!("session:{n:08x}"));
        let words = ["MGET".to_owned()].into_iter().chain(keys);
        scan_redis(calls, &command(words));
    }),
    row("redis: scan a string", 2048, |calls| {
        scan_redis_reply(calls, b"$12\r\nhello, world\r\n");
    }),
    row("redis: scan an array of 100 strings", 128, |calls| {
        scan_redis_reply(calls, &array(KEYS.into()));
    }),
    row("redis: join MGET of 100 keys", 100, join_redis),
    row("memcached: scan get", 2048, |calls| {
        scan_memcached(calls, "get session:7f3a90c2\r\n");
    }),
    row("memcached: scan set", 2048, |calls| {
        scan_memcached(calls, "set session:7f3a90c2 0 0 12\r\nhello, world\r\n");
    }),
    row("memcached: scan set noreply", 2048, |calls| {
        scan_memcached(calls, "set session:7f3a90c2 0 0 5 noreply\r\nhello\r\n");
    }),
    row("memcached: scan mg", 2048, |calls| {
        scan_memcached(calls, "mg session:7f3a90c2 v q\r\n");
    }),
    row("memcached: scan get of 100 keys", 128, |calls| {
        let keys: Vec<_> = (0..KEYS).map(|n| format!("session:{n:08x}")).collect();
        scan_memcached(calls, &format!("get {}\r\n", keys.join(" ")));
    }),
    row("memcached: scan STORED", 2048, |calls| {
        scan_memcached_reply(calls, memcached::Answer::Stored, "STORED\r\n");
    }),
    row("memcached: scan a value", 2048, |calls| {
        let reply = "VALUE session:7f3a90c2 0 12\r\nhello, world\r\nEND\r\n";
        scan_memcached_reply(calls, memcached::Answer::Values, reply);
    }),
    row("memcached: join get of 100 keys", 100, join_memcached),
    row("route: ketama, murmur", 2048, |calls| {
        route(calls, HashKind::Murmur);
    }),
    row("route: ketama, md5", 2048, |calls| {
        route(calls, HashKind::Md5);
    }),
    row("path: redis GET", 300, |calls| {
        path::redis(calls, &Script::redis_get(1));
    }),
    row("path: redis SET", 300, |calls| {
        path::redis(calls, &Script::redis_set());
    }),
    each(DEPTH, "path: redis GET, in a pipeline of 100", |calls| {
        path::redis(calls, &Script::redis_get(DEPTH));
    }),
    row("path: redis GET, with quotas", 300, |calls| {
        path::redis_metered(calls, &Script::redis_get(1));
    }),
    each(DEPTH, "path: redis GET, with quotas, of 100", |calls| {
        path::redis_metered(calls, &Script::redis_get(DEPTH));
    }),
    row("path: redis GET of 16 kB", 100, |calls| {
        path::redis(calls, &Script::redis_get_large());
    }),
    row("path: redis MGET of 100 keys", 30, |calls| {
        path::redis(calls, &Script::redis_mget(KEYS));
    }),
    row("path: memcached get", 300, |calls| {
        path::memcached(calls, &Script::memcached_get(1));
    }),
    row("path: memcached set", 300, |calls| {
        path::memcached(calls, &Script::memcached_set());
    }),
    each(
        DEPTH,
        "path: memcached get, in a pipeline of 100",
        |calls| {
            path::memcached(calls, &Script::memcached_get(DEPTH));
        },
    ),
    each(
        DEPTH,
        "path: memcached set noreply, pipeline of 100",
        |calls| {
            path::memcached(calls, &Script::memcached_set_noreply(DEPTH));
        },
    ),
    row("path: memcached get of 100 keys", 30, |calls| {
        path::memcached(calls, &Script::memcached_multi_get(KEYS));
    }),
    row("path: the peers' own share", 300, path::peers_alone),
];

const fn row(name: &'static str, calls: u32, run: fn(u32)) -> Row {
    Row {
        name,
        operations: 1,
        calls,
        run,
    }
}

/// A pipeline, of which each request is one operation.
const fn each(depth: u32, name: &'static str, run: fn(u32)) -> Row {
    Row {
        name,
        operations: depth,
        calls: 20,
        run,
    }
}

fn scan_redis(calls: u32, frame: &[u8]) {
    let limits = Limits::default();
    let mut scanner = redis::RequestScanner::default();
    Everywhere::new(frame).times(calls, |frame| {
        let seen = black_box(scanner.scan(frame, &limits));
        assert!(matches!(seen, Ok(Scan::Complete { .. })), "{seen:?}");
    });
}

fn scan_redis_reply(calls: u32, reply: &[u8]) {
    let mut scanner = redis::ReplyScanner::default();
    Everywhere::new(reply).times(calls, |reply| {
        let seen = black_box(scanner.scan(reply, ErrorAuthor::Server));
        assert!(matches!(seen, Ok(Passed::Whole { .. })), "{seen:?}");
    });
}

fn scan_memcached(calls: u32, frame: &str) {
    let limits = Limits::default();
    let mut scanner = memcached::RequestScanner::default();
    Everywhere::new(frame.as_bytes()).times(calls, |frame| {
        let seen = black_box(scanner.scan(frame, &limits));
        assert!(matches!(seen, Ok(Scan::Complete { .. })), "{seen:?}");
    });
}

fn scan_memcached_reply(calls: u32, answer: memcached::Answer, reply: &str) {
    let expect = memcached::Expect {
        answer,
        noreply: memcached::Noreply::None,
    };
    let mut scanner = memcached::ReplyScanner::default();
    Everywhere::new(reply.as_bytes()).times(calls, |reply| {
        let seen = black_box(scanner.scan(reply, expect));
        assert!(matches!(seen, Ok(Passed::Whole { .. })), "{seen:?}");
    });
}

/// Copies of a frame, one at every offset from a cache line. The alignment of a frame decides how a search in it
/// begins, and without this, any change to the binary would change the row.
struct Everywhere {
    arena: Vec<u8>,
    stride: usize,
    len: usize,
}

impl Everywhere {
    const PLACES: usize = 64;

    fn new(frame: &[u8]) -> Self {
        let stride = frame.len().next_multiple_of(Self::PLACES) + 1;
        let mut copy = frame.to_vec();
        copy.resize(stride, 0);
        Self {
            arena: copy.repeat(Self::PLACES),
            stride,
            len: frame.len(),
        }
    }

    /// `calls` should be a multiple of the places.
    fn times(&self, calls: u32, mut scan: impl FnMut(&[u8])) {
        let copies = self.arena.chunks_exact(self.stride).cycle();
        for copy in copies.take(calls as usize) {
            let (frame, _) = copy.split_at(self.len);
            scan(black_box(frame));
        }
    }
}

fn join_redis(calls: u32) {
    let owners: Vec<u16> = (0..SERVERS).cycle().take(KEYS.into()).collect();
    let reply = Bytes::from(array((KEYS / SERVERS).into()));
    let replies = vec![Ok(reply); SERVERS.into()];
    let joint = MGET.into();
    for _ in 0..calls {
        let mut joined = WriteBuf::new();
        Redis::merge(&joint, black_box(&owners), replies.clone(), &mut joined).unwrap();
        black_box(&joined);
    }
}

fn join_memcached(calls: u32) {
    let owners: Vec<u16> = (0..SERVERS).cycle().take(KEYS.into()).collect();
    let (joint, replies) = multi_get(KEYS.into(), SERVERS.into());
    for _ in 0..calls {
        let mut joined = WriteBuf::new();
        let owners = black_box(&owners);
        memcached::Memcached::merge(&joint, owners, replies.clone(), &mut joined).unwrap();
        black_box(&joined);
    }
}

/// Over many keys, so that the search in the ring takes all its branches.
fn route(calls: u32, hash: HashKind) {
    let mut members: Vec<_> = (1..=SERVERS)
        .map(|n| Member {
            name: format!("10.0.0.{n}:6379"),
            weight: 1,
        })
        .collect();
    members.sort_by(|a, b| name_order(&a.name, &b.name));
    let router = Router::new(hash, None, Distribution::Ketama, &members);
    let keys: Vec<_> = (0..500).map(|n| format!("session:{n:08x}")).collect();
    for key in keys.iter().cycle().take(calls as usize) {
        black_box(router.route(black_box(key.as_bytes())));
    }
}
