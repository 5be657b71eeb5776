//! Clients that send `HELLO 3` get the RESP3 replies of the servers, next to others that do not.

use crate::support::{
    Client, FakeServer, Pool, Proxy, RedisServer, command, eventually, show, words,
};

const OK: &str = "+OK\r\n";

/// A client that has switched to RESP3.
fn modern(proxy: &Proxy) -> Client {
    switched(proxy.client())
}

fn switched(mut client: Client) -> Client {
    let hello = client.ask("HELLO 3");
    assert!(hello.starts_with(b"%7\r\n"), "{}", show(&hello));
    client
}

/// Requests to a server with the data of the test. Sent twice, each gets the same reply.
const REQUESTS: &[&str] = &[
    "GET text",
    "GET none",
    "GETEX text PERSIST",
    "GETRANGE text 1 3",
    "STRLEN none",
    "MGET text none list other",
    "LCS text other IDX",
    "HGETALL large",
    "HGETALL none",
    "HGET large none",
    "HMGET large field-1 none",
    "HSCAN large 0 COUNT 50",
    "SMEMBERS set",
    "SMEMBERS none",
    "SISMEMBER set a",
    "SMISMEMBER set a z",
    "SPOP none",
    "SPOP none 2",
    "SRANDMEMBER none",
    "SINTER set none",
    "SDIFF set none",
    "ZSCORE ranks member-7",
    "ZMSCORE ranks member-7 none",
    "ZRANGE ranks 0 -1 WITHSCORES",
    "ZRANGE ranks 0 5",
    "ZINCRBY ranks 0 member-1",
    "ZRANK ranks none",
    "ZADD ranks INCR 0 member-1",
    "ZPOPMIN none",
    "ZMPOP 1 none MIN",
    "ZRANDMEMBER none",
    "ZUNION 1 ranks WITHSCORES",
    "LPOP none",
    "LPOP none 2",
    "LMPOP 1 none LEFT",
    "LPOS list z",
    "LPOS list a COUNT 0",
    "LRANGE list 0 -1",
    "GEOPOS places Palermo none",
    "GEODIST places Palermo Catania",
    "GEODIST places Palermo none",
    "GEOSEARCH places FROMMEMBER Palermo BYRADIUS 500 km WITHCOORD WITHDIST",
    "XRANGE stream 1-1 1-3",
    "XREAD COUNT 2 STREAMS stream 0",
    "XREAD COUNT 2 STREAMS stream 9-9",
    "XINFO STREAM stream",
    "XINFO GROUPS stream",
    "XPENDING stream readers",
    "XAUTOCLAIM stream readers one 0 0",
    "OBJECT ENCODING set",
    "OBJECT ENCODING none",
    "DUMP none",
    "TTL text",
    "TYPE none",
    "EXISTS text none",
    "LPUSH text a",
    "INCR text",
    "EVAL return{double=3.5} 1 k",
    "EVAL return{map={a=1}} 1 k",
    "EVAL return{set={a=true}} 1 k",
    "EVAL return{big_number='1234567999999999999999999999999999999'} 1 k",
    "EVAL return{verbatim_string={string='a',format='txt'}} 1 k",
    "EVAL redis.setresp(3);return(true) 1 k",
    "EVAL redis.setresp(3);return(false) 1 k",
    "EVAL return(nil) 1 k",
    "EVAL return{err='MY_bad'} 1 k",
    "EVAL return{{{map={a={1,2}}},false},{double=1}} 1 k",
    "CONFIG GET save",
    "CONFIG GET nosuch",
    "COMMAND DOCS nosuch",
    "COMMAND GETKEYS MSET a 1 b 2",
    "COMMAND INFO nosuch nosuch",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT GETNAME",
    "PING",
    "PING text",
    "ECHO text",
    "INFO cluster",
    "HELLO 4",
    "HELLO 1",
    "HELLO +3",
    "HELLO x",
    "HELLO 2 FOO",
    "HELLO 2 AUTH me secret",
    "HELLO 2 AUTH me secret FOO",
    "GET",
    "NOSUCH a",
];

#[test]
fn each_reply_type_passes_through() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    modern(&proxy).converse(&[
        ("GET none", "_\r\n"),
        ("SET a 1", OK),
        ("GET a", "$1\r\n1\r\n"),
        ("HSET h f v", ":1\r\n"),
        ("HGETALL h", "%1\r\n$1\r\nf\r\n$1\r\nv\r\n"),
        ("SADD s m", ":1\r\n"),
        ("SMEMBERS s", "~1\r\n$1\r\nm\r\n"),
        ("ZADD z 1.5 m", ":1\r\n"),
        ("ZSCORE z m", ",1.5\r\n"),
        ("ZSCORE z none", "_\r\n"),
        (
            "LPUSH a x",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        ("CLIENT GETNAME", "_\r\n"),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        (
            "SYNC",
            "-ERR unsupported command 'SYNC': it is used between servers only\r\n",
        ),
        ("RESET", "+RESET\r\n"),
        ("GET none", "$-1\r\n"),
        ("HGETALL h", "*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
    ]);
}

#[test]
fn resp3_replies_pass_through_unchanged() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut filler = server.client();
    for n in 0..3000 {
        filler.send(&words(&format!("HSET large field-{n} value-{n}")));
        filler.send(&words(&format!("ZADD ranks {n}.25 member-{n}")));
        filler.send(&words(&format!("XADD stream 1-{} field value-{n}", n + 1)));
    }
    for _ in 0..9000 {
        filler.reply();
    }
    filler.ask("SADD set a b c");
    filler.ask("RPUSH list a b c a");
    filler.ask("SET text ohmytext");
    filler.ask("SET other mynewtext");
    filler.ask("GEOADD places 13.361389 38.115556 Palermo 15.087269 37.502669 Catania");
    filler.ask("XGROUP CREATE stream readers 0");
    let (mut there, mut here) = (switched(server.client()), modern(&proxy));
    for request in REQUESTS {
        let (original, reply) = (there.ask(request), here.ask(request));
        assert_eq!(show(&original), show(&reply), "{request}");
        assert!(original == reply, "{request}");
    }
    // Once more in one batch, cut anywhere.
    let batch: Vec<u8> = REQUESTS.iter().flat_map(|request| words(request)).collect();
    let mut random = fastrand::Rng::with_seed(3);
    there.send(&batch);
    here.send_in_pieces(&batch, 200, &mut random);
    for request in REQUESTS {
        let (original, reply) = (there.reply(), here.reply());
        assert!(original == reply, "{request}: {}", show(&reply));
    }
}

#[test]
fn multi_server_replies_are_merged() {
    let servers: [_; 4] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let mut client = modern(&proxy);
    let names: Vec<String> = (0..100).map(|n| format!("key-{n}")).collect();
    let mut set = vec!["MSET"];
    let mut get = vec!["MGET"];
    let mut expected = b"*100\r\n".to_vec();
    for (n, name) in names.iter().enumerate() {
        get.push(name);
        if n % 3 == 0 {
            expected.extend_from_slice(b"_\r\n");
        } else {
            set.extend([name.as_str(), name]);
            expected.extend_from_slice(format!("${}\r\n{name}\r\n", name.len()).as_bytes());
        }
    }
    client.send(&command(&set));
    assert_eq!(show(&client.reply()), show(OK.as_bytes()));
    assert!(servers.iter().all(|server| !server.keys().is_empty()));
    client.send(&command(&get));
    assert!(client.reply() == expected);
    get[0] = "DEL";
    client.send(&command(&get));
    assert_eq!(show(&client.reply()), show(b":66\r\n"));
}

#[test]
fn both_versions_share_a_proxy() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut classic = proxy.client();
    classic.converse(&[("HSET h f v", ":1\r\n")]);
    let connections = || proxy.stat(&["s0", "server_connections"]);
    assert_eq!(connections(), 1);
    let mut modern = modern(&proxy);
    for _ in 0..20 {
        classic.send(&words("HGETALL h"));
        modern.send(&words("HGETALL h"));
        modern.converse(&[("GET none", "%1\r\n$1\r\nf\r\n$1\r\nv\r\n")]);
        classic.converse(&[("GET none", "*2\r\n$1\r\nf\r\n$1\r\nv\r\n")]);
        assert_eq!(show(&modern.reply()), "_\\r\\n");
        assert_eq!(show(&classic.reply()), "$-1\\r\\n");
    }
    eventually("a connection for each version", || {
        (connections() == 2).then_some(())
    });
}

#[test]
fn hello_within_a_batch_switches_version() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("HSET h f v", ":1\r\n")]);
    for _ in 0..50 {
        let batch = ["HGETALL h", "HELLO 3", "HGETALL h", "HELLO 2", "HGETALL h"];
        let bytes: Vec<u8> = batch.iter().flat_map(|request| words(request)).collect();
        client.send(&bytes);
        for kind in [b"*2\r\n", b"%7\r\n", b"%1\r\n", b"*14\r", b"*2\r\n"] {
            let reply = client.reply();
            assert!(reply.starts_with(kind), "{}", show(&reply));
        }
    }
}

#[test]
fn version_change_keeps_request_order() {
    const VALUE_BYTES: usize = 4 << 20;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    let length = format!(":{VALUE_BYTES}\r\n");
    let (large, short) = (vec![b'x'; VALUE_BYTES], words("SET k short"));
    for version in [3, 2, 3, 2] {
        // The large one takes longer over its connection; requests over the other one arrive sooner.
        client.send(&command(&[&b"SET"[..], b"k", &large]));
        client.send(&words(&format!("HELLO {version}")));
        client.send(&words("STRLEN k"));
        client.send(&short);
        client.expect("SET", OK.as_bytes());
        client.reply();
        client.expect("STRLEN", length.as_bytes());
        client.expect("SET", OK.as_bytes());
    }
}

#[test]
fn requests_before_eof_are_answered_after_a_version_change() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.send(&words("SET k v"));
    client.send(&words("HELLO 3"));
    client.send(&words("GET k"));
    client.half_close();
    client.expect("SET", OK.as_bytes());
    client.reply();
    client.expect("GET", b"$1\r\nv\r\n");
    client.expect_close();
}

#[test]
fn password_and_database_work_in_both_versions() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let pool = Pool::of([&server]).with("redis_auth", "secret");
    let proxy = Proxy::ringroad(&pool.with("redis_db", 5));
    let noauth = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                  HELLO AUTH <user> <pass> option can be used to authenticate the client and \
                  select the RESP protocol version at the same time\r\n";
    let wrongpass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let (mut there, mut here) = (server.client(), proxy.client());
    for client in [&mut there, &mut here] {
        client.converse(&[
            ("HELLO", noauth),
            ("HELLO 3", noauth),
            ("HELLO 3 SETNAME me", noauth),
            ("HELLO 3 AUTH default wrong", wrongpass),
            ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ]);
        let hello = client.ask("HELLO 3 AUTH default secret SETNAME me");
        assert!(hello.starts_with(b"%7\r\n"), "{}", show(&hello));
        client.converse(&[("CLIENT GETNAME", "$2\r\nme\r\n"), ("GET none", "_\r\n")]);
    }
    here.converse(&[("SET a 1", OK)]);
    there.converse(&[
        ("EXISTS a", ":0\r\n"),
        ("SELECT 5", OK),
        ("GET a", "$1\r\n1\r\n"),
    ]);
}

#[test]
fn server_without_resp3_fails_only_resp3_clients() {
    const TOO_OLD: &str = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n";
    let server = FakeServer::start(|_, mut peer| {
        while let Some(request) = peer.request() {
            let is_hello = request == words("HELLO 3");
            peer.send(if is_hello { TOO_OLD } else { "+old\r\n" }.as_bytes());
        }
    });
    let pool = Pool::at([server.address()])
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_probe_interval", 0);
    let proxy = Proxy::ringroad(&pool);
    let mut classic = proxy.client();
    classic.converse(&[("GET a", "+old\r\n")]);
    let mut modern = modern(&proxy);
    modern.converse(&[("GET a", TOO_OLD)]);
    classic.converse(&[("GET a", "+old\r\n")]);
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
    let hello = modern.ask("HELLO 2");
    assert!(hello.starts_with(b"*14\r\n"), "{}", show(&hello));
    modern.converse(&[("GET a", "+old\r\n")]);
}

#[test]
fn false_hello_reply_reaches_no_client() {
    let server = FakeServer::start(|_, mut peer| peer.answer_all(b"*0\r\n"));
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    modern(&proxy).converse(&[("GET a", "-ERR Invalid argument\r\n")]);
}

#[test]
fn push_is_not_taken_as_a_reply() {
    let server = FakeServer::start(|nth, mut peer| {
        peer.request();
        peer.send(b"%0\r\n");
        peer.request();
        if nth == 0 {
            peer.send(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n");
        }
        peer.send(b"+mine\r\n");
        peer.ignore();
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    modern(&proxy).converse(&[
        ("GET a", "-ERR Invalid argument\r\n"),
        ("GET a", "+mine\r\n"),
    ]);
}
