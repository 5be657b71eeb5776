//! Scripts that a server is missing, and scripts without keys.

use super::{OK, four};
use crate::support::{Client, Pool, Proxy, RedisServer, command, eventually, show, words};

const BODY: &str = "return redis.call('incr', KEYS[1])";
const NOSCRIPT: &str = "-NOSCRIPT No matching script. Please use EVAL.\r\n";

/// Loads [`BODY`] through the proxy, and returns its digest.
fn load(client: &mut Client) -> String {
    client.send(&command(&["SCRIPT", "LOAD", BODY]));
    let reply = String::from_utf8(client.reply()).unwrap();
    reply.lines().nth(1).unwrap().to_owned()
}

fn flush(servers: &[RedisServer]) {
    for server in servers {
        assert_eq!(server.ask("SCRIPT FLUSH"), OK.as_bytes());
    }
}

#[test]
fn evalsha_falls_back_to_eval_after_server_flush() {
    let (servers, proxy) = four();
    for version in ["2", "3"] {
        let mut client = proxy.client();
        client.ask(&format!("HELLO {version}"));
        let digest = load(&mut client);
        flush(&servers);
        for n in 0..40 {
            let request = format!("EVALSHA {digest} 1 v{version}-{n}");
            client.converse(&[(&request, ":1\r\n"), (&request, ":2\r\n")]);
        }
        flush(&servers);
        let upper = digest.to_uppercase();
        client.converse(&[(
            &format!("EVALSHA {upper} 1 v{version}-0 argument"),
            ":3\r\n",
        )]);
        let read_only = client.ask(&format!("EVALSHA_RO {digest} 1 unwritten{version}"));
        let refusal = "Write commands are not allowed from read-only scripts.";
        assert!(
            String::from_utf8_lossy(&read_only).contains(refusal),
            "{}",
            show(&read_only)
        );
    }
}

#[test]
fn evalsha_works_on_servers_that_never_ran_the_script() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    client.send(&command(&["EVAL", BODY, "1", "k"]));
    client.expect("EVAL", b":1\r\n");
    let knows = |server: &&RedisServer| {
        server.ask(&format!("SCRIPT EXISTS {}", digest())) == b"*1\r\n:1\r\n"
    };
    assert_eq!(servers.iter().filter(knows).count(), 1);
    for n in 0..40 {
        client.converse(&[(&format!("EVALSHA {} 1 k{n}", digest()), ":1\r\n")]);
    }
    assert_eq!(servers.iter().filter(knows).count(), 4);
}

#[test]
fn evalsha_falls_back_to_eval_after_restart() {
    let (mut servers, proxy) = four();
    let mut client = proxy.client();
    let digest = load(&mut client);
    servers.iter_mut().for_each(RedisServer::restart);
    for n in 0..40 {
        let request = format!("EVALSHA {digest} 1 k{n}");
        eventually("a connection to the server", || {
            let reply = client.ask(&request);
            assert!(!reply.starts_with(b"-NOSCRIPT"), "{n}");
            reply.starts_with(b":").then_some(())
        });
    }
}

#[test]
fn eval_fallback_keeps_request_order() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let digest = load(&mut client);
    flush(&servers);
    let script = words(&format!("EVALSHA {digest} 1 k"));
    let (more, ping) = (words("INCR k"), words("PING"));
    client.send(&[&script[..], &more, &ping].concat());
    client.expect(
        "a pipeline",
        format!("{NOSCRIPT}:1\r\n+PONG\r\n").as_bytes(),
    );
    // It was loaded meanwhile, by a request whose reply no client gets.
    client.converse(&[
        (&format!("EVALSHA {digest} 1 k"), ":2\r\n"),
        ("GET k", "$1\r\n2\r\n"),
    ]);
    flush(&servers);
    client.send(&[&more[..], &ping, &script].concat());
    client.expect("a pipeline", b":3\r\n+PONG\r\n:4\r\n");
}

#[test]
fn transaction_loads_its_scripts() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let digest = load(&mut client);
    flush(&servers);
    let block = |key: &str| {
        let run = words(&format!("EVALSHA {digest} 1 {key}"));
        [
            &words("MULTI")[..],
            &run,
            &run,
            &words("INCR {k}"),
            &words("EXEC"),
        ]
        .concat()
    };
    let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
    // Two in one pipeline: the second loads nothing.
    client.send(&block("{k}").repeat(2));
    for counted in [[1, 2, 3], [4, 5, 6]] {
        let [first, second, third] = counted;
        client.expect(
            "a block",
            format!("{queued}*3\r\n:{first}\r\n:{second}\r\n:{third}\r\n").as_bytes(),
        );
    }
    let loads = |server: &RedisServer| {
        let stats = String::from_utf8(server.ask("INFO commandstats")).unwrap();
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_script|load:"));
        line.map_or(0, |line| line.matches("calls=2").count())
    };
    assert_eq!(
        servers.iter().map(loads).sum::<usize>(),
        1,
        "one for all, and one for the transactions"
    );
    // A flush behind the proxy's back is detected by the reply.
    flush(&servers);
    client.send(&block("{k}"));
    let lost = format!("{queued}*3\r\n{NOSCRIPT}{NOSCRIPT}:7\r\n");
    client.expect("a block", lost.as_bytes());
    client.send(&block("{k}"));
    let expected = format!("{queued}*3\r\n:8\r\n:9\r\n:10\r\n");
    client.expect("a block", expected.as_bytes());
}

#[test]
fn noscript_is_detected_in_a_large_exec_reply() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let digest = load(&mut client);
    let large = vec![b'x'; 1 << 20];
    client.send(&command(&[&b"SET"[..], b"{k}large", &large]));
    client.expect("SET", OK.as_bytes());
    let run = format!("EVALSHA {digest} 1 {{k}}");
    let block = ["MULTI", &run, "GET {k}large", "EXEC"].map(words).concat();
    let mut execute = |first: &str| {
        client.send(&block);
        client.expect("a block", b"+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        let reply = client.reply();
        let expected = format!("*2\r\n{first}$1048576\r\n");
        assert!(reply.starts_with(expected.as_bytes()));
    };
    execute(":1\r\n");
    flush(&servers);
    execute(NOSCRIPT);
    execute(":2\r\n");
}

#[test]
fn transaction_reloads_scripts_after_script_flush() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let digest = load(&mut client);
    let run = format!("EVALSHA {digest} 1 k");
    let block = ["MULTI", &run, "EXEC"].map(words).concat();
    client.send(&block);
    client.expect("a block", b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    client.converse(&[("SCRIPT FLUSH", OK)]);
    // The proxy knows it again, but the server of the transaction does not.
    let elsewhere = (0..40).map(|n| format!("e{n}")).find(|key| {
        client.converse(&[(&format!("SET {key} 0"), OK)]);
        let has =
            |server: &&RedisServer, key: &str| server.ask(&format!("EXISTS {key}")) == b":1\r\n";
        servers
            .iter()
            .all(|server| !(has(&server, key) && has(&server, "k")))
    });
    client.send(&command(&["EVAL", BODY, "1", &elsewhere.unwrap()]));
    client.expect("EVAL", b":1\r\n");
    client.send(&block);
    client.expect("a block", b"+OK\r\n+QUEUED\r\n*1\r\n:2\r\n");
}

#[test]
fn transaction_loads_every_script_it_names() {
    const SCRIPTS: usize = 300;
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let mut block = words("MULTI");
    for n in 0..SCRIPTS {
        client.send(&command(&["SCRIPT", "LOAD", &format!("return {n}")]));
        let reply = String::from_utf8(client.reply()).unwrap();
        let digest = reply.lines().nth(1).unwrap();
        block.extend(words(&format!("EVALSHA {digest} 1 k")));
    }
    block.extend(words("EXEC"));
    flush(&servers);
    client.send(&block);
    client.expect("MULTI", OK.as_bytes());
    for _ in 0..SCRIPTS {
        client.expect("EVALSHA", b"+QUEUED\r\n");
    }
    client.expect("EXEC", format!("*{SCRIPTS}\r\n").as_bytes());
    for n in 0..SCRIPTS {
        client.expect("EXEC", format!(":{n}\r\n").as_bytes());
    }
}

#[test]
fn unknown_or_flushed_script_gives_noscript() {
    let (_servers, proxy) = four();
    let mut client = proxy.client();
    let digest = load(&mut client);
    client.converse(&[
        (&format!("EVALSHA {} 1 k", "0".repeat(40)), NOSCRIPT),
        ("EVALSHA short 1 k", NOSCRIPT),
        (&format!("EVALSHA {digest} 1 k"), ":1\r\n"),
        ("SCRIPT FLUSH", OK),
        (&format!("EVALSHA {digest} 1 k"), NOSCRIPT),
    ]);
    client.send(&command(&["SCRIPT", "LOAD", "return ("]));
    assert!(client.reply().starts_with(b"-ERR Error compiling script"));
    client.converse(&[(
        "EVALSHA c90e4d2db5c4f4eeeb8bc24b69c1a2ffd7e84d9e 1 k",
        NOSCRIPT,
    )]);
}

#[test]
fn scripts_survive_a_flush_that_is_not_executed() {
    let (servers, proxy) = four();
    let mut client = proxy.client();
    let digest = load(&mut client);
    client.converse(&[("MULTI", OK)]);
    assert!(client.ask("SCRIPT FLUSH").starts_with(b"-ERR "));
    client.converse(&[("DISCARD", OK)]);
    flush(&servers);
    client.converse(&[(&format!("EVALSHA {digest} 1 k"), ":1\r\n")]);

    let servers: [_; 1] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let mut client = proxy.client();
    let digest = load(&mut client);
    client.converse(&[
        ("MULTI", OK),
        ("SCRIPT FLUSH", "+QUEUED\r\n"),
        ("DISCARD", OK),
    ]);
    flush(&servers);
    let run = format!("EVALSHA {digest} 1 k");
    client.converse(&[
        (&run, ":1\r\n"),
        ("MULTI", OK),
        ("SCRIPT FLUSH", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n+OK\r\n"),
        (&run, NOSCRIPT),
    ]);
}

#[test]
fn scripts_of_a_transaction_are_known_when_queued() {
    let (_servers, proxy) = four();
    let mut client = proxy.client();
    let run = format!("EVALSHA {} 1 k", digest());
    client.converse(&[("MULTI", OK)]);
    client.send(&command(&["EVAL", BODY, "1", "k"]));
    client.expect("EVAL", b"+QUEUED\r\n");
    client.converse(&[
        (&run, "+QUEUED\r\n"),
        ("EXEC", "*2\r\n:1\r\n:2\r\n"),
        (&format!("EVALSHA {} 1 another", digest()), ":1\r\n"),
        ("MULTI", OK),
    ]);
    client.send(&command(&["EVAL", "return 1", "0"]));
    client.expect("a script without keys", b"+QUEUED\r\n");
    let pure = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    client.converse(&[
        (&format!("EVALSHA {pure} 0"), "+QUEUED\r\n"),
        ("EXEC", "*2\r\n:1\r\n:1\r\n"),
    ]);
}

#[test]
fn keyless_script_needs_a_single_server() {
    let (_servers, proxy) = four();
    let mut client = proxy.client();
    let refused = |name: &str| {
        format!(
            "-ERR '{name}' without keys is not supported: it would access the keys of one server only; declare its keys, or \
             set keyless_scripts in the pool's configuration\r\n"
        )
    };
    client.send(&command(&["EVAL", "return 10", "0"]));
    client.expect("a pure script", b":10\r\n");
    client.send(&command(&["EVAL", "return ARGV[1]", "0", "x"]));
    client.expect("a pure script", b"$1\r\nx\r\n");
    client.send(&command(&["EVAL", "return redis.call('dbsize')", "0"]));
    client.expect("a script that reaches keys", refused("eval").as_bytes());
    let digest = load(&mut client);
    client.converse(&[
        (&format!("EVALSHA {digest} 0"), &refused("evalsha")),
        (
            &format!("EVALSHA {} 0", "0".repeat(40)),
            &refused("evalsha"),
        ),
        ("FCALL f 0", &refused("fcall")),
    ]);
    client.send(&command(&["SCRIPT", "LOAD", "return 1"]));
    client.reply();
    client.converse(&[(
        "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
        ":1\r\n",
    )]);
}

#[test]
fn keyless_scripts_can_be_allowed() {
    let servers = RedisServer::several::<4>();
    let one = Proxy::ringroad(&Pool::of(&servers[..1]));
    let open = Proxy::ringroad(&Pool::of(&servers).with("keyless_scripts", true));
    for proxy in [one, open] {
        let mut client = proxy.client();
        client.send(&command(&["EVAL", "return redis.call('incr', 'k')", "0"]));
        assert!(client.reply().starts_with(b":"));
        let digest = load(&mut client);
        flush(&servers);
        let reply = client.ask(&format!("EVALSHA {digest} 0"));
        assert!(!reply.starts_with(b"-NOSCRIPT"), "{}", show(&reply));
        client.converse(&[("FCALL none 0", "-ERR Function not found\r\n")]);
    }
}

/// The digest of [`BODY`].
fn digest() -> String {
    let server = RedisServer::start();
    load(&mut server.client())
}
