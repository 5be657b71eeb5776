//! Commands that the proxy answers itself.

use std::collections::BTreeMap;

use crate::support::{
    Client, Kind, Launch, Pool, Proxy, RedisServer, command, eventually, run_client, show,
};

/// The fields of a section of `INFO`, or of all.
fn info(client: &mut Client, sections: &str) -> BTreeMap<String, String> {
    let reply = client.ask(format!("INFO {sections}").trim_end());
    let text = String::from_utf8(reply).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> u64 {
    fields[name]
        .parse()
        .unwrap_or_else(|error| panic!("{name}:{}: {error}", fields[name]))
}

#[test]
fn only_disabled_commands_are_refused() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with(
        "disabled_commands",
        "[get, 'client setname', COMMAND|DOCS, OBJECT]",
    );
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let reason = "it is listed in 'disabled_commands' of this pool";
    for (request, disabled) in [
        ("GET a", "GET"),
        ("gEt a", "GET"),
        ("CLIENT SETNAME me", "CLIENT SETNAME"),
        ("COMMAND DOCS get", "COMMAND DOCS"),
        ("OBJECT ENCODING a", "OBJECT ENCODING"),
        ("OBJECT HELP", "OBJECT HELP"),
    ] {
        let expected = format!("-ERR disabled command '{disabled}': {reason}\r\n");
        assert_eq!(show(&client.ask(request)), show(expected.as_bytes()));
    }
    for (request, expected) in [
        ("SET a 1", "+OK\r\n"),
        ("MGET a", "*1\r\n$1\r\n1\r\n"),
        ("GETEX a", "$1\r\n1\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        (
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
    ] {
        assert_eq!(show(&client.ask(request)), show(expected.as_bytes()));
    }
    assert_eq!(show(&client.ask("COMMAND INFO get")), "*1\\r\\n$-1\\r\\n");
    let names = String::from_utf8(client.ask("COMMAND LIST")).unwrap();
    assert!(names.contains("\r\nmget\r\n") && names.contains("\r\nclient|id\r\n"));
    assert!(!names.contains("\r\nget\r\n") && !names.contains("client|setname"));
    let refused = info(&mut client, "ringroad");
    assert_eq!(number(&refused, "requests_refused"), 7);
}

#[test]
fn info_sums_all_workers() {
    let servers = RedisServer::several::<2>();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        for request in ["SET a 1", "MGET a b c d", "PING", "GET"] {
            client.ask(request);
        }
    }
    let asker = &mut clients[0];
    let first = info(asker, "");
    // Workers publish their counts at intervals: the sum is complete once each of them has.
    let fields = eventually("all workers' counts", || {
        let fields = info(asker, "");
        (number(&fields, "total_commands_processed") >= 12).then_some(fields)
    });
    assert!(number(&fields, "total_connections_received") >= 4);
    assert_eq!(fields["redis_version"], "7.0.15");
    assert_eq!(fields["run_id"], first["run_id"]);
    assert_eq!(fields["run_id"].len(), 40);
    assert_eq!(fields["loading"], "0");
    assert_eq!(fields["role"], "master");
    assert_eq!(fields["ringroad_servers"], "2");
    assert!(number(&fields, "used_memory_rss") > 1_000_000);
    assert!(number(&fields, "total_net_input_bytes") > 100);
    assert!(fields["used_cpu_user"].parse::<f64>().is_ok());
    let connected = eventually("the count of clients", || {
        let fields = info(asker, "clients");
        (number(&fields, "connected_clients") == 4).then_some(fields)
    });
    assert!(!connected.contains_key("redis_version"));
}

#[test]
fn slowlog_records_command_and_client() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    for (request, expected) in [
        ("SLOWLOG LEN", ":0\r\n"),
        ("CONFIG SET slowlog-log-slower-than 100000", "+OK\r\n"),
        ("CONFIG SET latency-monitor-threshold 100", "+OK\r\n"),
        ("CLIENT SETNAME tester", "+OK\r\n"),
        ("GET a", "$-1\r\n"),
    ] {
        assert_eq!(show(&client.ask(request)), show(expected.as_bytes()));
    }
    // A script that is busy for at least 0.2 seconds.
    let script = "local t = redis.call('TIME') local e = t[1] * 1000000 + t[2] + 200000 \
                  repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > e return 1";
    client.send(&command(&["EVAL", script, "1", "a"]));
    assert_eq!(show(&client.reply()), ":1\\r\\n");
    assert_eq!(client.ask("SLOWLOG LEN"), b":1\r\n");
    let log = String::from_utf8(client.ask("SLOWLOG GET")).unwrap();
    let lines: Vec<&str> = log.split("\r\n").collect();
    assert_eq!(lines[..3], ["*1", "*6", ":0"]);
    let micros: u64 = lines[4].strip_prefix(':').unwrap().parse().unwrap();
    assert!((200_000..20_000_000).contains(&micros), "{log}");
    let cut = format!("{}... ({} more bytes)", &script[..128], script.len() - 128);
    assert_eq!(
        lines[5..14],
        ["*4", "$4", "EVAL", "$147", &cut, "$1", "1", "$1", "a"]
    );
    assert_eq!(lines[17], "tester");
    let latest = String::from_utf8(client.ask("LATENCY LATEST")).unwrap();
    assert!(
        latest.starts_with("*1\r\n*4\r\n$7\r\ncommand\r\n:"),
        "{latest}"
    );
    let graph = String::from_utf8(client.ask("LATENCY GRAPH command")).unwrap();
    assert!(graph.contains("command - high 2"), "{graph}");
    let doctor = String::from_utf8(client.ask("LATENCY DOCTOR")).unwrap();
    assert!(doctor.contains("command: 1 seconds"), "{doctor}");
    for (request, expected) in [
        ("SLOWLOG RESET", "+OK\r\n"),
        ("SLOWLOG GET -1", "*0\r\n"),
        ("LATENCY RESET", ":1\r\n"),
        ("LATENCY LATEST", "*0\r\n"),
        ("LATENCY HISTORY command", "*0\r\n"),
    ] {
        assert_eq!(show(&client.ask(request)), show(expected.as_bytes()));
    }
}

/// The values of one field in a list of clients.
fn field(list: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(list);
    let words = text.split([' ', '\n', '\r']);
    words
        .filter_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
        .collect()
}

#[test]
fn client_list_and_kill_cover_all_workers() {
    let server = RedisServer::start();
    let launch = Launch {
        args: vec!["--workers".to_owned(), "3".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &Pool::of([&server]), &launch);
    let mut clients: Vec<_> = (0..7).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let reply = client.ask(&format!("CLIENT SETNAME c{number}"));
        assert_eq!(reply, b"+OK\r\n");
    }
    let list = clients[0].ask("CLIENT LIST");
    let names = field(&list, "name");
    for number in 0..7 {
        assert!(names.contains(&format!("c{number}")), "{}", show(&list));
    }
    let place = |name: &str| names.iter().position(|found| found == name).unwrap();
    let (ids, addresses) = (field(&list, "id"), field(&list, "addr"));
    let local = proxy.address().to_string();
    assert!(field(&list, "laddr").iter().all(|found| *found == local));
    let info = clients[3].ask("CLIENT INFO");
    assert_eq!(field(&info, "addr"), [addresses[place("c3")].clone()]);
    let (c2, c5) = (&ids[place("c2")], &ids[place("c5")]);
    let listed = clients[0].ask(&format!("CLIENT LIST ID {c5} {c2} 999999 {c5}"));
    assert_eq!(field(&listed, "name"), ["c5", "c2"]);

    let by_address = format!("CLIENT KILL {}", addresses[place("c1")]);
    assert_eq!(clients[0].ask(&by_address), b"+OK\r\n");
    assert_eq!(
        show(&clients[0].ask(&by_address)),
        "-ERR No such client\\r\\n"
    );
    clients[1].expect_close();
    let by_id = format!("CLIENT KILL ID {}", ids[place("c2")]);
    assert_eq!(clients[0].ask(&by_id), b":1\r\n");
    clients[2].expect_close();
    assert_eq!(clients[0].ask("CLIENT KILL TYPE pubsub"), b":0\r\n");
    let rest = clients[0].ask("CLIENT KILL TYPE normal USER default");
    assert_eq!(rest, b":4\r\n");
    for client in &mut clients[3..] {
        client.expect_close();
    }
    assert_eq!(field(&clients[0].ask("CLIENT LIST"), "name"), ["c0"]);
    let suicide = clients[0].ask(&format!("CLIENT KILL LADDR {local} SKIPME no"));
    assert_eq!(suicide, b":1\r\n");
    clients[0].expect_close();
}

#[test]
fn config_set_applies_to_all_workers() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut first, mut second) = (proxy.client(), proxy.client());
    assert_eq!(first.ask("CONFIG SET slowlog-max-len 7"), b"+OK\r\n");
    let reply = second.ask("CONFIG GET slowlog-max-len");
    assert_eq!(
        show(&reply),
        "*2\\r\\n$15\\r\\nslowlog-max-len\\r\\n$1\\r\\n7\\r\\n"
    );
    for pattern in ["slowlog-[lm]*", "SLOWLOG-[L-M]*", "slowlog-[^x]*"] {
        let reply = second.ask(&format!("CONFIG GET {pattern}"));
        let reply = String::from_utf8_lossy(&reply);
        assert!(reply.starts_with("*4\r\n"), "{pattern}: {reply}");
        assert!(reply.contains("\r\nslowlog-log-slower-than\r\n"), "{reply}");
        assert!(reply.contains("\r\nslowlog-max-len\r\n"), "{reply}");
    }
    for _ in 0..200 {
        second.ask("PING");
    }
    // The counts of a worker are known to the others once it has published them.
    eventually("the counts of both clients' workers", || {
        let fields = info(&mut first, "stats");
        let commands = number(&fields, "total_commands_processed");
        (number(&fields, "total_connections_received") >= 3 && commands >= 200).then_some(())
    });
    assert_eq!(second.ask("CONFIG RESETSTAT"), b"+OK\r\n");
    let fields = info(&mut first, "stats");
    assert_eq!(number(&fields, "total_connections_received"), 0);
    assert!(number(&fields, "total_commands_processed") < 150);
}

#[test]
fn client_reply_off_and_skip_match_redis() {
    let servers = RedisServer::several::<3>();
    let alone = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let large = "x".repeat(300_000);
    let set = format!("SET large {large}");
    let requests = [
        "SET a 1",
        &set,
        "CLIENT REPLY SKIP",
        "GET a",
        "GET a",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY SKIP",
        "MGET a b c d e f",
        "MGET a b c d e f",
        "CLIENT REPLY nonsense",
        "CLIENT REPLY SKIP",
        "PING",
        "PING",
        "CLIENT REPLY OFF",
        "GET large",
        "GET a",
        "INCR a",
        "MGET a large c d",
        "NOSUCH",
        "GET",
        "CLIENT REPLY SKIP",
        "PING",
        "LPUSH a 1",
        "MULTI",
        "INCR a",
        "EXEC",
        "CLIENT REPLY ON",
        "MULTI",
        "INCR a",
        "EXEC",
        "GET a",
        "CLIENT REPLY SKIP",
        "GET",
        "CLIENT REPLY OFF",
        "RESET",
        "GET a",
        "CLIENT REPLY SKIP",
        "QUIT",
    ];
    let bytes = requests.map(crate::support::words).concat();
    let replies = [alone.address(), proxy.address()].map(|address| {
        let mut client = Client::connect(address);
        client.send(&bytes);
        client.read_to_close()
    });
    assert_eq!(show(&replies[1]), show(&replies[0]));
    assert!(replies[1] == replies[0]);
}

#[test]
fn redis_py_admin_tool_works() {
    let servers = RedisServer::several::<2>();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let (ip, port) = (
        proxy.address().ip().to_string(),
        proxy.address().port().to_string(),
    );
    for protocol in ["2", "3"] {
        run_client(
            "venv/bin/python",
            "redis_py_admin.py",
            &[&ip, &port, protocol],
        );
    }
}

#[test]
fn info_keyspace_sums_all_servers() {
    let servers = RedisServer::several::<3>();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("timeout", "2000"));
    let mut client = proxy.client();
    for key in 0..30 {
        client.ask(&format!("SET key-{key} 1"));
    }
    for key in 0..10 {
        client.ask(&format!("EXPIRE key-{key} 1000"));
    }
    client.ask("SELECT 3");
    client.ask("SET a 1");
    let fields = info(&mut client, "keyspace");
    assert_eq!(fields.len(), 2);
    let db0 = &fields["db0"];
    assert!(db0.starts_with("keys=30,expires=10,avg_ttl="), "{db0}");
    assert_eq!(fields["db3"], "keys=1,expires=0,avg_ttl=0");
    client.ask("HELLO 3");
    let reply = client.ask("INFO cluster keyspace");
    let start = b"# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=30,";
    let text = &reply[reply.iter().position(|&byte| byte == b'\n').unwrap() + 1..];
    assert!(
        reply.starts_with(b"=") && text.starts_with(&[b"txt:".as_slice(), start].concat()),
        "{}",
        show(&reply)
    );

    servers[1].kill();
    let missing = "server 's1' failed: Connection refused\r\n";
    let expected = format!("-ERR INFO needs all servers; {missing}");
    eventually("the connection is seen to be gone", || {
        (client.ask("INFO keyspace") == expected.as_bytes()).then_some(())
    });
    let fields = info(&mut client, "");
    assert_eq!(fields["loading"], "0");
    assert!(!fields.contains_key("db0"));
    let text = String::from_utf8(client.ask("INFO")).unwrap();
    let comment = format!("# Keyspace\r\n# {missing}");
    assert!(text.contains(&comment), "{text}");
    assert_eq!(info(&mut client, "cluster")["cluster_enabled"], "0");
}

#[test]
fn config_get_and_set_reach_servers_when_enabled() {
    let servers = RedisServer::several::<3>();
    let closed = Proxy::ringroad(&Pool::of(&servers));
    let set = "CONFIG SET notify-keyspace-events KEA";
    let refused = String::from_utf8(closed.ask(set)).unwrap();
    assert!(refused.starts_with(
        "-ERR Unknown option or number of arguments for CONFIG SET - 'notify-keyspace-events'"
    ));
    assert_eq!(closed.ask("CONFIG GET notify-keyspace-events"), b"*0\r\n");

    let proxy = Proxy::ringroad(&Pool::of(&servers).with("server_parameters", "true"));
    let mut client = proxy.client();
    let get = "CONFIG GET notify-keyspace-events";
    assert_eq!(client.ask(set), b"+OK\r\n");
    for server in &servers {
        assert_eq!(show(&server.ask(get)), show(&client.ask(get)));
    }
    let mut direct = servers[1].client();
    direct.send(&command(&["CONFIG", "SET", "notify-keyspace-events", ""]));
    assert_eq!(direct.reply(), b"+OK\r\n");
    assert_eq!(client.ask(get), b"*0\r\n");
    let all = String::from_utf8(client.ask("CONFIG GET *")).unwrap();
    assert!(all.contains("\r\nhash-max-listpack-entries\r\n"));
    assert!(all.contains("\r\nport\r\n$5\r\n16121\r\n") && !all.contains("\r\nbind\r\n"));
    assert_eq!(client.ask("CONFIG SET slowlog-max-len 7"), b"+OK\r\n");
    assert_eq!(
        client.ask("CONFIG GET slowlog-max-len"),
        b"*2\r\n$15\r\nslowlog-max-len\r\n$1\r\n7\r\n"
    );
    let mixed = client.ask("CONFIG SET slowlog-max-len 8 hz 20");
    assert!(mixed.starts_with(b"-ERR Unknown option") && mixed.ends_with(b"in one command)\r\n"));
    for set in ["CONFIG SET hz x", "CONFIG SET nosuch x"] {
        assert_eq!(show(&client.ask(set)), show(&servers[0].ask(set)));
    }

    // The error names the server that refuses, and the outcome on the others.
    servers[1].ask("ACL SETUSER default -config");
    let why = "this user has no permissions to run the 'config|";
    let reply = String::from_utf8(client.ask("CONFIG SET hz 33")).unwrap();
    let names = "-NOPERM CONFIG SET succeeded on 2 of 3 servers; server 's1' failed: ";
    assert!(reply.starts_with(&format!("{names}{why}set'")), "{reply}");
    let reply = String::from_utf8(client.ask("CONFIG GET hz")).unwrap();
    let names = "-NOPERM CONFIG GET needs all servers; server 's1' failed: ";
    assert!(reply.starts_with(&format!("{names}{why}get'")), "{reply}");
    let hz = "*2\r\n$2\r\nhz\r\n$2\r\n33\r\n";
    servers[2].client().converse(&[("CONFIG GET hz", hz)]);
}
