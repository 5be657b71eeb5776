//! Ringroad and nutcracker, in front of equal servers: the same replies and the same placement of keys, except for the
//! improvements that are listed here.

mod arity;
mod ejection;
mod flooded;
mod generator;
mod improvements;
mod session;
mod whole;

use std::collections::BTreeMap;

use crate::support::{Pool, Proxy, RedisServer, show};
use generator::Generator;

const COMMANDS: usize = 6000;
const LONGEST_BATCH: usize = 40;

/// The contents of one server: each key with its serialized value.
type Content = BTreeMap<Vec<u8>, Vec<u8>>;

#[test]
fn generated_commands_behave_as_with_nutcracker() {
    let seed = std::env::var("SEED").map_or(20_260_701, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut generator = Generator::new(fastrand::Rng::with_seed(seed ^ 1));
    let (theirs, ours): ([_; 4], [_; 4]) = (RedisServer::several(), RedisServer::several());
    let pool = |servers| {
        Pool::of(servers)
            .with("hash", "murmur")
            .with("hash_tag", "\"{}\"")
    };
    let nutcracker = Proxy::nutcracker(&pool(&theirs));
    let ringroad = Proxy::ringroad(&pool(&ours));
    let (mut there, mut here) = (nutcracker.client(), ringroad.client());
    let mut sent = 0;
    while sent < COMMANDS {
        let batch: Vec<_> = (0..random.usize(1..=LONGEST_BATCH))
            .map(|_| generator.request())
            .collect();
        let bytes = batch.concat();
        let most_bytes = [1, 7, 100, 1500, 1 << 20][random.usize(..5)];
        there.send_in_pieces(&bytes, most_bytes, &mut random);
        here.send_in_pieces(&bytes, most_bytes, &mut random);
        for request in &batch {
            let (original, reply) = (there.reply(), here.reply());
            let context = format!("seed {seed}, request {sent}: {}", show(request));
            assert_eq!(show(&original), show(&reply), "{context}");
            assert!(original == reply, "{context}");
            sent += 1;
        }
    }
    for (nth, (their, our)) in theirs.iter().zip(&ours).enumerate() {
        let (expected, found) = (content(their), content(our));
        assert!(!expected.is_empty(), "server {nth} got no keys");
        let differing: Vec<_> = expected
            .keys()
            .chain(found.keys())
            .filter(|key| expected.get(*key) != found.get(*key))
            .map(|key| show(key))
            .collect();
        assert!(
            differing.is_empty(),
            "seed {seed}: server {nth} differs in {differing:?}"
        );
    }
}

fn content(server: &RedisServer) -> Content {
    let mut client = server.client();
    server
        .keys()
        .into_iter()
        .map(|key| {
            client.send(&crate::support::command(&[b"DUMP".as_slice(), &key]));
            (key, client.reply())
        })
        .collect()
}
