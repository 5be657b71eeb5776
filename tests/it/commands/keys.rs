//! Requests whose keys depend on their arguments, with four servers and with one Redis.

use crate::support::{Pool, Proxy, RedisServer, show};

/// Requests whose errors come from a server.
const MALFORMED: &str = "
    EVAL s x a
    EVAL s -1 a
    EVAL s 9 a
    EVAL s +1 a
    EVALSHA s 1.0 a
    EVAL_RO s 2 a
    FCALL f x a
    FCALL_RO f -2 a
    ZUNION 0 a
    ZUNION x a
    ZUNION -1 a
    ZUNION 5 a
    ZINTER 0 a WITHSCORES
    ZDIFF 3 a b
    ZUNIONSTORE d 0 a
    ZINTERSTORE d 4 a
    ZDIFFSTORE d x a
    SINTERCARD 0 a
    SINTERCARD x a
    SINTERCARD 3 a b
    ZINTERCARD 0 a
    ZINTERCARD 2 a
    LMPOP 0 a LEFT
    LMPOP x a LEFT
    LMPOP 9 a LEFT
    ZMPOP 0 a MIN
    ZMPOP 9 a MIN
    XREAD STREAMS a b 0
    XREAD COUNT 1 STREAMS
    XREAD COUNT 1 a 0
    XREAD COUNT x STREAMS a 0
    XREAD FOO 1 STREAMS a 0
    XREADGROUP GROUP g c STREAMS a b >
    XREADGROUP GROUP g c COUNT 1 NOACK
    XREADGROUP COUNT 1 NOACK STREAMS a >
    GEORADIUS a 1 2 3 m STORE
    SORT a LIMIT 0
    SORT a STORE
    SORT a BY
    SORT_RO a STORE d
";

#[test]
fn key_errors_match_redis() {
    let [one, servers @ ..] = RedisServer::several::<5>();
    let ringroad = Proxy::ringroad(&Pool::of(&servers));
    let (mut here, mut direct) = (ringroad.client(), one.client());
    for request in MALFORMED
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        assert_eq!(
            show(&here.ask(request)),
            show(&direct.ask(request)),
            "{request}"
        );
    }
    assert!(servers.iter().all(|server| server.keys().is_empty()));
}

#[test]
fn sort_by_pattern_works_when_keys_share_a_server() {
    let [one, servers @ ..] = RedisServer::several::<5>();
    let ringroad = Proxy::ringroad(&Pool::of(&servers).with("hash_tag", "\"{}\""));
    let (mut here, mut direct) = (ringroad.client(), one.client());
    for request in [
        "RPUSH l{a} 3 1 2",
        "SET w{a}_1 30",
        "SET w{a}_2 20",
        "SET w{a}_3 10",
        "HSET h{a}_1 f one",
        "SORT l{a}",
        "SORT l{a} BY nosort GET #",
        "SORT l{a} BY w{a}_*",
        "SORT l{a} BY w{a}_* GET # GET h{a}_*->f DESC STORE d{a}",
        "SORT_RO d{a} ALPHA GET w{a}_*",
        "LRANGE d{a} 0 -1",
    ] {
        assert_eq!(
            show(&here.ask(request)),
            show(&direct.ask(request)),
            "{request}"
        );
    }
    for pattern in ["w_*", "w_*{a}", "w{*}", "w_*->{a}"] {
        let reply = here.ask(&format!("SORT l{{a}} BY {pattern}"));
        let expected = "-ERR unsupported option BY or GET of 'sort': its pattern may match keys on other \
                        servers; put the hash tag of the key before any '*', as in '{tag}_*'\r\n";
        assert_eq!(String::from_utf8(reply).unwrap(), expected, "{pattern}");
    }
    let other = ["user:1000", "carrot", "basket", "2026-11-21", "x"]
        .iter()
        .find(|tag| {
            let reply = here.ask(&format!("SORT l{{a}} BY w{{{tag}}}_*"));
            let begin =
                format!("-ERR keys 'l{{a}}' and 'w{{{tag}}}_*' are stored on different servers");
            reply.starts_with(begin.as_bytes())
        });
    assert!(other.is_some());
}

#[test]
fn sort_by_pattern_needs_no_hash_tag_with_one_server() {
    let server = RedisServer::start();
    let ringroad = Proxy::ringroad(&Pool::of([&server]));
    let mut client = ringroad.client();
    client.chat(&[
        ("RPUSH l 2 1\r\n", ":2\r\n"),
        ("MSET w_1 b w_2 a\r\n", "+OK\r\n"),
        (
            "SORT l ALPHA BY w_* GET #\r\n",
            "*2\r\n$1\r\n2\r\n$1\r\n1\r\n",
        ),
    ]);
}
