//! A model of servers whose keys move while two proxies look at them, and only what proxies may know.

mod world;

use std::collections::BTreeSet;

use bytes::BytesMut;
use proptest::prelude::*;

use self::world::World;
use super::*;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::resp::version::Resp;

fn numbers(array: &[u8]) -> Vec<u32> {
    let keys = inspect::elements(array).unwrap();
    let number = |key: &[u8]| str::from_utf8(&key[1..]).unwrap().parse().unwrap();
    keys.map(|key| number(inspect::bulk(key).unwrap()))
        .collect()
}

fn request(words: &[&str]) -> BytesMut {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut out = BytesMut::new();
    write_request(&words, &mut out);
    out
}

/// Scans all keys while they move.
fn scan(seed: u64, number: usize, pace: u8) {
    let mut world = World::new(seed, number);
    world.begin();
    let (mut cursor, mut shown, mut pages) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let proxy = world.random.usize(..2);
        let survey = ScanSurvey::new(&request(&["SCAN", &cursor])).unwrap();
        let reply = world.run(Box::new(survey), proxy);
        let mut parts = inspect::elements(&reply).unwrap();
        cursor = String::from_utf8(inspect::bulk(parts.next().unwrap()).unwrap().to_vec()).unwrap();
        shown.extend(numbers(parts.next().unwrap()));
        if cursor == "0" {
            break;
        }
        pages += 1;
        // A scan starts over with each move.
        world.is_last = pages > 100;
        (0..pace).for_each(|_| world.step());
    }
    world.check(&shown);
}

/// A try had found keys of a page uncertain, and the scan started over at another server before the next.
#[test]
fn scan_that_starts_over_forgets_earlier_tries() {
    scan(31_892_510_738_064_829, 4, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn scan_misses_no_key_while_keys_move(seed: u64, number in 0..5_usize, pace in 0..12_u8) {
        scan(seed, number, pace);
    }

    #[test]
    fn keys_are_shown_once_while_keys_move(seed: u64, number in 0..5_usize) {
        let mut world = World::new(seed, number);
        for _ in 0..12 {
            (0..world.random.u8(..30)).for_each(|_| world.step());
            world.begin();
            let proxy = world.random.usize(..2);
            let reply = world.run(Box::new(KeysSurvey::new(&request(&["KEYS", "*"]))), proxy);
            let shown = numbers(&reply);
            let distinct: BTreeSet<_> = shown.iter().collect();
            prop_assert_eq!(distinct.len(), shown.len());
            world.check(&shown);
        }
    }

    #[test]
    fn random_key_is_there_while_keys_move(seed: u64, number in 0..5_usize) {
        let mut world = World::new(seed, number);
        for _ in 0..12 {
            (0..world.random.u8(..30)).for_each(|_| world.step());
            world.begin();
            let proxy = world.random.usize(..2);
            let reply = world.run(Box::new(RandomSurvey::new(Resp::Two)), proxy);
            let key = inspect::bulk(&reply).unwrap();
            world.check_shown(str::from_utf8(&key[1..]).unwrap().parse().unwrap());
        }
    }
}
