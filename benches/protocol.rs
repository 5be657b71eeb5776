//! The cost of parsing requests and replies, and of splitting and merging: `cargo bench --bench protocol`.

use bytes::{Bytes, BytesMut};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ringroad::buf::WriteBuf;
use ringroad::protocol::memcached;
use ringroad::protocol::redis::{ErrorAuthor, Redis, ReplyScanner, RequestScanner};
use ringroad::protocol::{ClientState as _, Merge as _};
use ringroad::protocol::{ConnInfo, KeySpan, Limits, Part, Passed, Protocol, Scan};

mod samples;

use samples::{MGET, array, command, multi_get, settings};

fn main() {
    divan::main();
}

/// A GET, an INCR and a SET, as most clients write them.
#[divan::bench(args = ["get session:7f3a90c2", "INCR hits:home", "SET session:7f3a90c2 v"])]
fn request(bencher: Bencher<'_, '_>, words: &str) {
    let frame = command(words.split(' '));
    let limits = Limits::default();
    bencher
        .counter(BytesCount::new(frame.len()))
        .bench(|| RequestScanner::default().scan(black_box(&frame), &limits));
}

/// One read of a pipeline.
#[divan::bench(args = [16, 128, 1024])]
fn requests_of_one_read(bencher: Bencher<'_, '_>, depth: usize) {
    let batch = command(["GET", "session:7f3a90c2"]).repeat(depth);
    let limits = Limits::default();
    bencher.counter(ItemsCount::new(depth)).bench(|| {
        let mut scanner = RequestScanner::default();
        let mut rest = black_box(&batch[..]);
        while let Ok(Scan::Complete { len, .. }) = scanner.scan(rest, &limits) {
            rest = rest.get(len..).unwrap_or_default();
        }
    });
}

/// A request that arrives in pieces, each scanned on arrival.
#[divan::bench(args = [1, 16, 1024])]
fn request_in_pieces(bencher: Bencher<'_, '_>, piece_bytes: usize) {
    let value = "v".repeat(16 << 10);
    let frame = command(["SET", "session:7f3a90c2", &value]);
    let limits = Limits::default();
    bencher.counter(BytesCount::new(frame.len())).bench(|| {
        let mut scanner = RequestScanner::default();
        for end in (0..frame.len()).step_by(piece_bytes).chain([frame.len()]) {
            let seen = frame.get(..end).unwrap_or_default();
            let _scanned = black_box(scanner.scan(seen, &limits));
        }
    });
}

#[divan::bench(args = ["+OK\r\n", ":1234567\r\n", "$-1\r\n", "$5\r\nhello\r\n"])]
fn reply(bencher: Bencher<'_, '_>, reply: &str) {
    bencher
        .counter(BytesCount::new(reply.len()))
        .bench(|| ReplyScanner::default().scan(black_box(reply.as_bytes()), ErrorAuthor::Server));
}

/// One read from a server.
#[divan::bench(args = [16, 128, 1024])]
fn replies_of_one_read(bencher: Bencher<'_, '_>, depth: usize) {
    let batch = b"$12\r\nhello, world\r\n".repeat(depth);
    bencher.counter(ItemsCount::new(depth)).bench(|| {
        let mut scanner = ReplyScanner::default();
        let mut rest = black_box(&batch[..]);
        while let Ok(Passed::Whole { len, .. }) = scanner.scan(rest, ErrorAuthor::Server) {
            rest = rest.get(len..).unwrap_or_default();
        }
    });
}

#[divan::bench(args = [10, 1000])]
fn array_reply(bencher: Bencher<'_, '_>, elements: usize) {
    let reply = array(elements);
    bencher
        .counter(ItemsCount::new(elements))
        .bench(|| ReplyScanner::default().scan(black_box(&reply), ErrorAuthor::Server));
}

/// From the scanned MGET to the fragments for four servers, all but the routing.
#[divan::bench(args = [2, 10, 100, 1000])]
fn fragment(bencher: Bencher<'_, '_>, keys: usize) {
    const SERVERS: usize = 4;
    let names = (0..keys).map(|n| format!("session:{n:08x}"));
    let frame = command(["MGET".to_owned()].into_iter().chain(names));
    let settings = settings();
    let mut client = Redis::client(&settings, ConnInfo::default());
    let limits = Limits::default();
    let mut spans: Vec<KeySpan> = Vec::new();
    let mut fragments = vec![BytesMut::new(); SERVERS];
    bencher.counter(ItemsCount::new(keys)).bench_local(|| {
        let scanned = RequestScanner::default().scan(black_box(&frame), &limits);
        let Ok(Scan::Complete { found, .. }) = scanned else {
            return;
        };
        spans.clear();
        let mut reply = BytesMut::new();
        let plan = Redis::plan(
            &found,
            &frame,
            &mut client,
            &settings,
            &mut spans,
            &mut reply,
        );
        black_box(plan);
        for fragment in &mut fragments {
            fragment.clear();
            let part = Part {
                keys: keys / SERVERS,
                has_first: false,
            };
            Redis::begin_fragment(MGET, &frame, part, fragment);
        }
        for (nth, span) in spans.iter().enumerate() {
            if let Some(fragment) = fragments.get_mut(nth % SERVERS) {
                fragment.extend_from_slice(span.unit.of(&frame));
            }
        }
    });
}

/// Merges the replies of four servers.
#[divan::bench(args = [4, 12, 100, 1000])]
fn gather(bencher: Bencher<'_, '_>, keys: usize) {
    const SERVERS: u16 = 4;
    let owners: Vec<u16> = (0..SERVERS).cycle().take(keys).collect();
    let reply = Bytes::from(array(keys / usize::from(SERVERS)));
    let replies = vec![Ok(reply); usize::from(SERVERS)];
    let joint = MGET.into();
    bencher.counter(ItemsCount::new(keys)).bench(|| {
        let mut joined = WriteBuf::new();
        let outcome = Redis::merge(&joint, black_box(&owners), replies.clone(), &mut joined);
        (outcome, joined)
    });
}

/// Requests of memcached, as most clients write them.
#[divan::bench(args = [
    "get session:7f3a90c2\r\n",
    "set session:7f3a90c2 0 0 5\r\nhello\r\n",
    "mg session:7f3a90c2 v q\r\n",
])]
fn memcached_request(bencher: Bencher<'_, '_>, frame: &str) {
    let limits = Limits::default();
    bencher
        .counter(BytesCount::new(frame.len()))
        .bench(|| memcached::RequestScanner::default().scan(black_box(frame.as_bytes()), &limits));
}

#[divan::bench(args = ["STORED\r\n", "END\r\n", "VALUE session:7f3a90c2 0 5\r\nhello\r\nEND\r\n"])]
fn memcached_reply(bencher: Bencher<'_, '_>, reply: &str) {
    let answer = match reply {
        "STORED\r\n" => memcached::Answer::Stored,
        _ => memcached::Answer::Values,
    };
    let expect = memcached::Expect {
        answer,
        noreply: memcached::Noreply::None,
    };
    bencher
        .counter(BytesCount::new(reply.len()))
        .bench(|| memcached::ReplyScanner::default().scan(black_box(reply.as_bytes()), expect));
}

/// Merges the replies of four servers to a multi-get.
#[divan::bench(args = [4, 100, 1000])]
fn memcached_gather(bencher: Bencher<'_, '_>, keys: usize) {
    const SERVERS: u16 = 4;
    let owners: Vec<u16> = (0..SERVERS).cycle().take(keys).collect();
    let (joint, replies) = multi_get(keys, SERVERS.into());
    bencher.counter(ItemsCount::new(keys)).bench(|| {
        let mut joined = WriteBuf::new();
        let outcome =
            memcached::Memcached::merge(&joint, black_box(&owners), replies.clone(), &mut joined);
        (outcome, joined)
    });
}
