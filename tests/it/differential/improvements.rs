//! The improvements: the intended differences of Ringroad, compared with nutcracker.

use crate::support::{Ended, Pool, Proxy, RedisServer, show, words};

/// The behaviour of nutcracker.
#[derive(Debug, Clone, Copy)]
enum Original {
    Closes,
    Replies(&'static str),
}

#[test]
fn only_listed_improvements_differ_from_nutcracker() {
    use Original::{Closes, Replies};
    let (theirs, ours): ([_; 4], [_; 4]) = (RedisServer::several(), RedisServer::several());
    let pool = |servers| Pool::of(servers).with("hash", "md5");
    let nutcracker = Proxy::nutcracker(&pool(&theirs));
    let ringroad = Proxy::ringroad(&pool(&ours));
    for proxy in [&nutcracker, &ringroad] {
        let mut client = proxy.client();
        for n in 0..8 {
            client.converse(&[(&format!("SADD set-{n} {n}"), ":1\r\n")]);
        }
    }
    let keys = "set-0 set-1 set-2 set-3 set-4 set-5 set-6 set-7";
    // In Ringroad's column, a text with a line end is the whole reply, any other must occur in an error.
    let table = [
        ("BGSAVE", Closes, "bgsave"),
        ("DBSIZE", Closes, ":8\r\n"),
        ("NONSENSE a", Closes, "nonsense"),
        ("GET", Closes, "'get'"),
        ("GET a b", Closes, "'get'"),
        ("MSET a 1 b", Closes, "mset"),
        ("PING hello", Closes, "$5\r\nhello\r\n"),
        ("ECHO hello", Closes, "$5\r\nhello\r\n"),
        ("SELECT 0", Closes, "+OK\r\n"),
        ("SELECT 16", Closes, "db"),
        ("HELLO 4", Closes, "noproto"),
        ("CLIENT SETNAME me", Closes, "+OK\r\n"),
        ("QUIT", Closes, "+OK\r\n"),
        ("EXPIRE set-0 5000 GT", Closes, ":0\r\n"),
        (&format!("EXISTS {keys}"), Replies("fewer"), ":8\r\n"),
        (
            &format!("SUNION {keys}"),
            Replies("fewer"),
            "different servers",
        ),
        ("PING", Replies("+PONG\r\n"), "+PONG\r\n"),
    ];
    for (request, original, improved) in table {
        let mut there = nutcracker.client();
        there.send(&words(request));
        match (original, there.try_reply()) {
            (Closes, Err(Ended::Closed)) => {}
            (Replies("fewer"), Ok(reply)) => {
                assert!(!reply.starts_with(b":8") && !reply.starts_with(b"*8"));
            }
            (Replies(text), Ok(reply)) => {
                assert_eq!(show(&reply), show(text.as_bytes()), "{request}");
            }
            (expected, found) => panic!("{request}: nutcracker {found:?}, not {expected:?}"),
        }
        let reply = ringroad.ask(request);
        if improved.ends_with("\r\n") {
            assert_eq!(show(&reply), show(improved.as_bytes()), "{request}");
        } else {
            let text = String::from_utf8_lossy(&reply).to_lowercase();
            assert!(
                text.starts_with('-') && text.contains(improved),
                "{request}: {text}"
            );
        }
    }
}
