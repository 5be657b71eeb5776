//! Ringroad and nutcracker, in front of equal servers: the same replies and the same placement of keys.

use super::fleet::{compare, fence, pool, replies_before};
use super::generator::Generator;
use crate::support::{Memcached, Proxy};

const REQUESTS: usize = 4000;
const LONGEST_BATCH: usize = 40;

#[test]
fn generated_conversations_behave_as_with_nutcracker() {
    let seed = std::env::var("SEED").map_or(20_260_704, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut generator = Generator::classic(seed ^ 1);
    let (theirs, ours): ([_; 4], [_; 4]) = (Memcached::several(), Memcached::several());
    let nutcracker = Proxy::nutcracker(&pool(&theirs));
    let ringroad = Proxy::ringroad(&pool(&ours));
    let (mut there, mut here) = (nutcracker.client(), ringroad.client());
    let mut sent = 0;
    while sent < REQUESTS {
        let batch: Vec<_> = (0..random.usize(1..=LONGEST_BATCH))
            .map(|_| generator.request())
            .collect();
        sent += batch.len();
        let (end, reply) = fence(sent);
        let bytes = [batch.concat(), end].concat();
        let most_bytes = [1, 7, 100, 1500, 1 << 20][random.usize(..5)];
        there.send_in_pieces(&bytes, most_bytes, &mut random);
        here.send_in_pieces(&bytes, most_bytes, &mut random);
        let expected = in_any_order(replies_before(&mut there, &reply));
        let found = in_any_order(replies_before(&mut here, &reply));
        let context = format!("seed {seed}, {sent} requests");
        compare(&context, &batch, &expected, &found);
    }
    for (nth, (their, our)) in theirs.iter().zip(&ours).enumerate() {
        let (expected, found) = (their.keys(), our.keys());
        assert!(their.figure("cmd_set") > 0, "server {nth} got no keys");
        assert_eq!(expected, found, "seed {seed}: keys of server {nth}");
    }
}

/// The replies with the values of each sorted: around a miss, nutcracker reorders them.
fn in_any_order(replies: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    replies.into_iter().map(|reply| sorted(&reply)).collect()
}

fn sorted(reply: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut rest = reply;
    while rest.starts_with(b"VALUE ") {
        let line = rest.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let text = String::from_utf8_lossy(&rest[..line]).into_owned();
        let data: usize = text.trim_end().split(' ').nth(3).unwrap().parse().unwrap();
        let (block, after) = rest.split_at(line + data + 2);
        blocks.push(block);
        rest = after;
    }
    blocks.sort_unstable();
    blocks.push(rest);
    blocks.concat()
}

#[test]
fn normalisation_sorts_values_only() {
    let reply = b"VALUE b 0 2\r\n\r\n\r\nVALUE a 0 1\r\nx\r\nEND\r\n";
    assert_eq!(
        sorted(reply),
        b"VALUE a 0 1\r\nx\r\nVALUE b 0 2\r\n\r\n\r\nEND\r\n"
    );
    assert_eq!(sorted(b"STORED\r\n"), b"STORED\r\n");
}
