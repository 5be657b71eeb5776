//! The load generator's own tests: the generator is a benchmark without the test harness, so its parts are tested here.

#[path = "latency.rs"]
mod latency;
#[path = "reply.rs"]
mod reply;
#[path = "request.rs"]
mod request;

use std::time::Duration;

use latency::Latencies;
use reply::{Garbled, Scanner, Tally};
use request::{Keys, Protocol, Template, Workload};

#[test]
fn a_percentile_is_at_most_a_sixty_fourth_too_high() {
    for bits in 0..39 {
        for nanos in [1u64 << bits, (1 << bits) + 1, (2 << bits) - 1] {
            let mut latencies = Latencies::default();
            latencies.record(Duration::from_nanos(nanos));
            latencies.record(Duration::from_hours(1));
            let quantile = latencies.quantile(500).as_nanos();
            let truth = u128::from(nanos);
            assert!(
                (truth..=truth + truth / 64).contains(&quantile),
                "{quantile} for {nanos}"
            );
        }
    }
}

#[test]
fn quantiles_count_from_the_shortest() {
    let mut latencies = Latencies::default();
    for micros in 1..=1000 {
        latencies.record(Duration::from_micros(micros));
    }
    for (per_thousand, micros) in [(500, 500), (990, 990), (999, 999), (1000, 1000)] {
        let quantile = latencies.quantile(per_thousand).as_nanos();
        let truth = u128::from(micros * 1000_u64);
        assert!(
            (truth..=truth + truth / 64).contains(&quantile),
            "{quantile} for {per_thousand}"
        );
    }
    assert_eq!(latencies.longest(), Duration::from_millis(1));
    assert_eq!(Latencies::default().quantile(990), Duration::ZERO);
}

fn tally(protocol: Protocol, keys: u64, input: &[u8], piece: usize) -> Result<Tally, Garbled> {
    let mut scanner = Scanner::new(protocol, keys);
    let mut tally = Tally::default();
    for bytes in input.chunks(piece) {
        scanner.feed(bytes, &mut tally)?;
    }
    Ok(tally)
}

#[test]
fn replies_are_counted_whatever_pieces_they_come_in() {
    // Protocol, keys of a request, input; then replies, errors and misses.
    let cases: [(Protocol, u64, &[u8], [u64; 3]); 9] = [
        (
            Protocol::Redis,
            1,
            b"$3\r\na\r\n\r\n$-1\r\n$0\r\n\r\n",
            [3, 0, 1],
        ),
        (Protocol::Redis, 1, b"+OK\r\n-ERR no\r\n:12\r\n", [3, 1, 0]),
        (
            Protocol::Redis,
            3,
            b"*3\r\n$1\r\nx\r\n$-1\r\n$2\r\n\r\n\r\n*0\r\n",
            [2, 0, 1],
        ),
        (Protocol::Redis, 1, b"$5\r\nabc", [0, 0, 0]),
        (Protocol::Redis, 2, b"*2\r\n$1\r\nx\r\n", [0, 0, 0]),
        (
            Protocol::Memcached,
            1,
            b"VALUE k 0 5\r\nEND\r\n\r\nEND\r\nEND\r\n",
            [2, 0, 1],
        ),
        (
            Protocol::Memcached,
            3,
            b"VALUE a 0 1\r\nx\r\nVALUE b 0 0 7\r\n\r\nEND\r\n",
            [1, 0, 1],
        ),
        (
            Protocol::Memcached,
            1,
            b"STORED\r\nSERVER_ERROR no\r\nERROR\r\n",
            [3, 2, 0],
        ),
        (Protocol::Memcached, 1, b"VALUE k 0 1\r\nx\r\n", [0, 0, 0]),
    ];
    for (protocol, keys, input, [replies, errors, misses]) in cases {
        let expected = Tally {
            replies,
            errors,
            misses,
        };
        for piece in 1..=input.len() {
            let found = tally(protocol, keys, input, piece);
            assert_eq!(found, Ok(expected), "{} in {piece}s", input.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_reply_is_told_from_one() {
    let cases: [(Protocol, &[u8]); 8] = [
        (Protocol::Redis, b"$1\r\nxx\r\n"),
        (Protocol::Redis, b"$x\r\n"),
        (Protocol::Redis, b"STORED\r\n"),
        (Protocol::Redis, b"+OK\n"),
        (Protocol::Memcached, b"VALUE k 0 1\r\nxx\r\n"),
        (Protocol::Memcached, b"VALUE k 0\r\n"),
        (Protocol::Memcached, b"+OK\r\n"),
        (Protocol::Memcached, &[b'E'; 4096]),
    ];
    for (protocol, input) in cases {
        for piece in 1..=input.len() {
            let found = tally(protocol, 1, input, piece);
            assert!(
                found.is_err(),
                "{} in {piece}s: {found:?}",
                input.escape_ascii()
            );
        }
    }
}

#[test]
fn requests_look_as_the_protocols_want_them() {
    let key = "k:000000000007";
    let cases = [
        (
            Protocol::Redis,
            Workload::Get,
            1,
            format!("*2\r\n$3\r\nGET\r\n$14\r\n{key}\r\n"),
        ),
        (
            Protocol::Redis,
            Workload::Set,
            1,
            format!("*3\r\n$3\r\nSET\r\n$14\r\n{key}\r\n$4\r\nxxxx\r\n"),
        ),
        (
            Protocol::Redis,
            Workload::Mget,
            2,
            format!("*3\r\n$4\r\nMGET\r\n$14\r\n{key}\r\n$14\r\nk:000000000008\r\n"),
        ),
        (
            Protocol::Memcached,
            Workload::Get,
            1,
            format!("get {key}\r\n"),
        ),
        (
            Protocol::Memcached,
            Workload::Set,
            1,
            format!("set {key} 0 0 4\r\nxxxx\r\n"),
        ),
        (
            Protocol::Memcached,
            Workload::Mget,
            2,
            format!("get {key} k:000000000008\r\n"),
        ),
    ];
    for (protocol, workload, count, expected) in cases {
        let template = Template::new(protocol, workload, "k:", count, 4).unwrap();
        let mut out = Vec::new();
        template.append(&mut out, &mut Keys::InTurn { next: 7, of: 100 });
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn keys_stay_within_their_number() {
    let template = Template::new(Protocol::Memcached, Workload::Get, "", 1, 0).unwrap();
    let next = |keys: &mut Keys| -> usize {
        let mut out = Vec::new();
        template.append(&mut out, keys);
        String::from_utf8(out).unwrap()[4..]
            .trim_end()
            .parse()
            .unwrap()
    };
    let mut turn = Keys::InTurn { next: 0, of: 3 };
    assert_eq!([(); 5].map(|()| next(&mut turn)), [0, 1, 2, 0, 1]);
    let mut drawn = Keys::Drawn(3);
    let mut seen = [0; 3];
    for _ in 0..300 {
        seen[next(&mut drawn)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
