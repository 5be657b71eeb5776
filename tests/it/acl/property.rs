//! Random users, requests and keys, beside a real redis-server.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Beside, NOTHING};
use crate::support::{Client, show};

const RULES: &[&str] = &[
    "+@all",
    "-@all",
    "+get",
    "-get",
    "+set",
    "-set",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@hash",
    "-@hash",
    "+@string",
    "-@list",
    "+@fast",
    "-@slow",
    "+@dangerous",
    "-@dangerous",
    "+@connection",
    "-@connection",
    "+@transaction",
    "-@transaction",
    "+@scripting",
    "-@scripting",
    "+@pubsub",
    "-@pubsub",
    "+@blocking",
    "-@keyspace",
    "+config|get",
    "-config|get",
    "+config",
    "-config",
    "+client",
    "-client|getname",
    "+select|1",
    "-select",
    "+object",
    "-object|encoding",
    "+nosuch",
    "-@nosuch",
    "~a:*",
    "~b:*",
    "~a?1",
    "~[a-b]:2",
    "~c",
    "~*:*",
    "%R~a:*",
    "%W~b:*",
    "%R~*",
    "%W~*",
    "%RW~c",
    "%W~a:1",
    "%~c",
    "allkeys",
    "resetkeys",
    "&ch*",
    "&ch1",
    "&c?2",
    "allchannels",
    "resetchannels",
    "(+get ~*)",
];

/// `K` stands for a key, `C` for a channel.
const REQUESTS: &[&str] = &[
    "GET K",
    "SET K v",
    "SET K v GET",
    "SET K GET",
    "SET K v EX 100",
    "GETSET K v",
    "GETDEL K",
    "GETEX K PERSIST",
    "APPEND K x",
    "STRLEN K",
    "GETRANGE K 0 1",
    "SETRANGE K 1 x",
    "INCR K",
    "MGET K K",
    "MSET K v K v",
    "MSET K v K",
    "MSETNX K v K v",
    "EXISTS K K",
    "DEL K K",
    "UNLINK K",
    "TOUCH K K",
    "TYPE K",
    "TTL K",
    "EXPIRE K 100",
    "PERSIST K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K REPLACE",
    "DUMP K",
    "OBJECT ENCODING K",
    "OBJECT REFCOUNT K",
    "MEMORY USAGE K",
    "RPUSH K 3 1 2",
    "LPOP K",
    "LRANGE K 0 -1",
    "LMOVE K K LEFT RIGHT",
    "RPOPLPUSH K K",
    "LMPOP 2 K K LEFT",
    "LLEN K",
    "LINSERT K BEFORE 1 x",
    "HSET K f v",
    "HGET K f",
    "HGETALL K",
    "HEXISTS K f",
    "HDEL K f",
    "SADD K 1 2",
    "SMOVE K K 1",
    "SINTER K K",
    "SINTERCARD 2 K K",
    "SUNIONSTORE K K K",
    "SISMEMBER K 1",
    "ZADD K 1 m",
    "ZRANGE K 0 -1",
    "ZUNION 2 K K",
    "ZUNIONSTORE K 2 K K",
    "ZUNIONSTORE K x K K",
    "ZRANGESTORE K K 0 -1",
    "ZINTERCARD 2 K K",
    "ZCARD K",
    "SORT K",
    "SORT K BY nosort",
    "SORT K BY w_*",
    "SORT K GET #",
    "SORT K GET K",
    "SORT K LIMIT 0 1 STORE K",
    "SORT_RO K",
    "SORT_RO K GET x*",
    "GEOADD K 1 1 m",
    "GEOSEARCHSTORE K K FROMMEMBER m BYRADIUS 1 m",
    "GEORADIUSBYMEMBER K m 1 m STORE K",
    "GEORADIUSBYMEMBER K m 1 m",
    "PFADD K a",
    "PFCOUNT K K",
    "PFMERGE K K",
    "BITOP AND K K K",
    "BITFIELD K GET u8 0",
    "BITFIELD K SET u8 0 1",
    "BITFIELD_RO K GET u8 0",
    "SETBIT K 1 1",
    "GETBIT K 1",
    "XADD K 1-* f v",
    "XLEN K",
    "XRANGE K - +",
    "XREAD COUNT 1 STREAMS K K 0 0",
    "XREAD STREAMS K",
    "XREADGROUP GROUP g c STREAMS K >",
    "XGROUP CREATE K g 0",
    "EVAL return{1} 1 K",
    "EVAL return{1} 2 K K",
    "EVAL return{1} 0",
    "EVAL return{1} 3 K",
    "EVAL_RO return{1} 1 K",
    "EVALSHA 0000000000000000000000000000000000000000 1 K",
    "FCALL nosuch 1 K",
    "BLPOP K K 0.001",
    "BLMOVE K K LEFT RIGHT 0.001",
    "BLMPOP 0.001 2 K K LEFT",
    "KEYS nosuch",
    "DBSIZE",
    "SCAN 0 MATCH nosuch",
    "RANDOMKEY nosuch",
    "PUBLISH C m",
    "SPUBLISH C m",
    "PUBSUB NUMPAT",
    "PING",
    "ECHO x",
    "SELECT 1",
    "SELECT 0",
    "CONFIG GET databases",
    "CONFIG NOSUCH",
    "CLIENT GETNAME",
    "CLIENT SETNAME x",
    "ACL WHOAMI",
    "ACL CAT nosuch",
    "UNWATCH",
    "NOSUCH K",
    "GET",
    "GET K K",
    "DISCARD",
    "EXEC",
];

const SUBSCRIBING: &[&str] = &["SUBSCRIBE C", "PSUBSCRIBE C", "SSUBSCRIBE C"];
const KEYS: &[&str] = &["a:1", "a:2", "b:1", "b:2", "c", "d"];
const CHANNELS: &[&str] = &["ch1", "ch2", "ch*", "other", "c?2"];

/// One request with its keys and channels.
fn request(templates: &'static [&'static str]) -> impl Strategy<Value = String> {
    let key = || prop::sample::select(KEYS);
    let channel = prop::sample::select(CHANNELS);
    let names = (prop::collection::vec(key(), 4), channel);
    (prop::sample::select(templates), names).prop_map(|(template, (keys, channel))| {
        let mut keys = keys.into_iter().cycle();
        let words = template.split(' ').map(|word| match word {
            "K" => keys.next().unwrap(),
            "C" => channel,
            word => word,
        });
        words.collect::<Vec<_>>().join(" ")
    })
}

/// Some requests of one client, at most once within a transaction.
fn requests() -> impl Strategy<Value = Vec<String>> {
    let many = |least| prop::collection::vec(request(REQUESTS), least..12);
    let last = prop::option::of(request(SUBSCRIBING));
    (many(4), prop::option::of(many(0)), last).prop_map(|(mut all, queued, last)| {
        if let Some(queued) = queued {
            all.push("MULTI".to_owned());
            // The options of SORT are refused before they are queued, and by Redis when they are executed.
            let is_other = |request: &String| {
                request.starts_with("SORT")
                    && [" BY w", " GET "]
                        .iter()
                        .any(|option| request.contains(option))
            };
            all.extend(queued.into_iter().filter(|request| !is_other(request)));
            all.push("EXEC".to_owned());
        }
        all.extend(last);
        all
    })
}

/// Returns the replies of both.
fn ask([real, proxy]: &mut [Client; 2], request: &str) -> [Vec<u8>; 2] {
    [real.ask(request), proxy.ask(request)]
}

#[test]
fn random_users_are_refused_as_by_redis() {
    let beside = Beside::with(&["u off"]);
    let admins = RefCell::new(beside.clients());
    let refused = Cell::new(0);
    let config = Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    };
    let algorithm = RngAlgorithm::ChaCha;
    // SEED has it try others.
    let rng = match std::env::var("SEED") {
        Ok(seed) => {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.parse::<u64>().unwrap().to_le_bytes());
            TestRng::from_seed(algorithm, &bytes)
        }
        Err(_) => TestRng::deterministic_rng(algorithm),
    };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let rules = prop::collection::vec(prop::sample::select(RULES), 0..10);
    // Most users may do something.
    let start = prop::sample::select(vec![
        "+@all",
        "+@all ~*",
        "+@all ~* &*",
        "+@read +@write ~a:*",
        "",
    ]);
    let case = (start, rules, requests());
    let outcome = runner.run(&case, |(start, rules, requests)| {
        let admins = &mut *admins.borrow_mut();
        ask(admins, "FLUSHALL");
        ask(admins, "SELECT 0");
        ask(
            admins,
            &format!("ACL SETUSER u {NOTHING} on nopass {start}"),
        );
        let mut made = Vec::new();
        for rule in rules {
            let [expected, found] = ask(admins, &format!("ACL SETUSER u {rule}"));
            // A proxy has no selectors.
            if rule.starts_with('(') {
                prop_assert!(found.starts_with(b"-ERR Error in ACL SETUSER modifier"));
                ask(admins, "ACL SETUSER u clearselectors");
            } else {
                prop_assert_eq!(show(&found), show(&expected), "{}", rule);
            }
            made.push(rule);
        }
        let mut clients = beside.clients();
        ask(&mut clients, "AUTH u x");
        for request in &requests {
            let [expected, found] = ask(&mut clients, request);
            let is_refused = found.starts_with(b"-NOPERM");
            refused.set(refused.get() + usize::from(is_refused));
            prop_assert_eq!(
                show(&found),
                show(&expected),
                "{} {:?}, {} of {:?}",
                start,
                made,
                request,
                requests
            );
            let dry = format!("ACL DRYRUN u {request}");
            let [expected, found] = ask(admins, &dry);
            prop_assert_eq!(
                show(&found),
                show(&expected),
                "{} {:?}, {}",
                start,
                made,
                dry
            );
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(refused.get() > 100, "{refused:?}");
}
