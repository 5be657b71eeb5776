pub(crate) mod resp3;

use std::fmt::Write;
use std::sync::Arc;

use crate::config::UserConfig;
use crate::hash::sha256;
use crate::protocol::redis::command::{Policy, flags};
use crate::protocol::redis::local::*;
use crate::protocol::redis::state::shared::PoolShared;

/// Sends requests, written as words, of one client, and checks their replies.
fn converse(settings: &Settings, lines: &[(&str, &str)]) {
    let mut client = Client::new(settings);
    for (line, expected) in lines {
        let reply = say(settings, &mut client, line).0;
        assert_eq!(reply, *expected, "{line}");
    }
}

/// The reply to one request, as the planner would request it.
fn say(settings: &Settings, client: &mut Client, line: &str) -> (String, Outcome) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut frame = format!("*{}\r\n", words.len());
    for word in &words {
        write!(frame, "${}\r\n{word}\r\n", word.len()).unwrap();
    }
    let args = Args::new(frame.as_bytes());
    let command = Command::resolve(&args, words.len()).unwrap();
    let Policy::Local(local) = command.policy else {
        panic!("{line} is not answered by the proxy");
    };
    let mut out = BytesMut::new();
    let outcome = answer(local, args, client, settings, &mut out);
    (String::from_utf8(out.to_vec()).unwrap(), outcome)
}

fn settings(auth: Option<&str>, db: u32) -> Settings {
    let shared = PoolShared::default();
    let default = UserConfig::default_user(auth.map(|password| sha256(password.as_bytes())));
    shared.configure_users(&[default], &[]);
    Settings {
        shared: Arc::new(shared),
        db,
        databases: 4,
        port: 22121,
        ..Settings::new("alpha")
    }
}

/// Parses one reply and flattens it: all simple values, arrays as `*n`.
fn flat(reply: &str) -> Vec<String> {
    let mut lines = reply.split("\r\n");
    let mut values = Vec::new();
    let mut left = 1_usize;
    while left > 0 {
        left -= 1;
        let line = lines.next().expect("a whole reply");
        match line.split_at(1) {
            ("*" | "$", "-1") => values.push("nil".to_owned()),
            ("*", count) => {
                left += count.parse::<usize>().unwrap();
                values.push(line.to_owned());
            }
            ("$", length) => {
                let mut text = lines.next().unwrap().to_owned();
                while text.len() < length.parse().unwrap() {
                    text.push_str("\r\n");
                    text.push_str(lines.next().unwrap());
                }
                values.push(text);
            }
            (_, text) => values.push(text.to_owned()),
        }
    }
    assert_eq!(lines.collect::<Vec<_>>(), [""], "more than one reply");
    values
}

const NAMES: &str = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
const NO_VERSION: &str = "-ERR Protocol version is not an integer or out of range\r\n";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

#[test]
fn simple_commands_answer_as_in_redis() {
    converse(
        &settings(None, 3),
        &[
            ("PING", "+PONG\r\n"),
            ("ping hello", "$5\r\nhello\r\n"),
            (
                "PING a b",
                "-ERR wrong number of arguments for 'ping' command\r\n",
            ),
            ("ECHO hi", "$2\r\nhi\r\n"),
            ("SELECT 0", "+OK\r\n"),
            ("SELECT 3", "+OK\r\n"),
            ("SELECT 4", "-ERR DB index is out of range\r\n"),
            ("SELECT -1", "-ERR DB index is out of range\r\n"),
            (
                "SELECT x",
                "-ERR value is not an integer or out of range\r\n",
            ),
            (
                "READONLY",
                "-ERR This instance has cluster support disabled\r\n",
            ),
            (
                "CLUSTER SLOTS",
                "-ERR This instance has cluster support disabled\r\n",
            ),
            ("RESET", "+RESET\r\n"),
        ],
    );
}

#[test]
fn quit_replies_ok_and_closes() {
    let settings = settings(None, 0);
    let mut client = Client::new(&settings);
    assert_eq!(
        say(&settings, &mut client, "QUIT now"),
        ("+OK\r\n".to_owned(), Outcome::Close)
    );
    assert_eq!(say(&settings, &mut client, "PING").1, Outcome::Stay);
}

#[test]
fn auth_without_a_configured_password_is_an_error() {
    converse(
        &settings(None, 0),
        &[
            (
                "AUTH x",
                "-ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?\r\n",
            ),
            ("AUTH default x", "+OK\r\n"),
            ("AUTH someone x", WRONGPASS),
            ("AUTH a b c", "-ERR syntax error\r\n"),
        ],
    );
}

#[test]
fn a_wrong_password_changes_nothing() {
    let settings = settings(Some("secret"), 0);
    let mut client = Client::new(&settings);
    for (line, reply, may) in [
        ("PING", "+PONG\r\n", false),
        ("AUTH secre", WRONGPASS, false),
        ("AUTH other secret", WRONGPASS, false),
        ("AUTH secret", "+OK\r\n", true),
        ("AUTH secrets", WRONGPASS, true),
        ("RESET", "+RESET\r\n", false),
        ("AUTH ", WRONGPASS, false),
        ("AUTH default wrong", WRONGPASS, false),
        ("AUTH default secret", "+OK\r\n", true),
        ("AUTH other secret", WRONGPASS, true),
        ("RESET", "+RESET\r\n", false),
    ] {
        assert_eq!(say(&settings, &mut client, line).0, reply, "{line}");
        assert_eq!(!client.must_authenticate(), may, "{line}");
    }
    for (name, exempt) in [
        ("AUTH", true),
        ("HELLO", true),
        ("QUIT", true),
        ("RESET", true),
        ("PING", false),
        ("COMMAND", false),
        ("CLIENT", false),
        ("BLPOP", false),
    ] {
        let command = Command::lookup(name.as_bytes()).unwrap();
        assert_eq!(command.flags & flags::NO_AUTH != 0, exempt, "{name}");
    }
}

#[test]
fn hello_negotiates_the_version() {
    let open = settings(None, 0);
    let mut client = Client::new(&open);
    let id = client.id();
    let hello = format!(
        "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n\
         $2\r\nid\r\n:{id}\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $7\r\nmodules\r\n*0\r\n"
    );
    for (line, expected) in [
        ("HELLO", hello.as_str()),
        ("HELLO 2", &hello),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 1", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO -2", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 3x", NO_VERSION),
        ("HELLO +3", NO_VERSION),
        ("HELLO 03", NO_VERSION),
        ("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"),
        (
            "HELLO 2 AUTH a",
            "-ERR Syntax error in HELLO option 'AUTH'\r\n",
        ),
        ("HELLO 2 AUTH other a FOO", WRONGPASS),
        ("HELLO 2 setname \t", NAMES),
        ("HELLO 2 setname bob auth default x", &hello),
        ("CLIENT GETNAME", "$3\r\nbob\r\n"),
    ] {
        assert_eq!(say(&open, &mut client, line).0, expected, "{line}");
    }
}

#[test]
fn hello_authenticates() {
    let closed = settings(Some("secret"), 0);
    let mut client = Client::new(&closed);
    for (line, start) in [
        ("HELLO 4 AUTH default secret", "-NOPROTO "),
        (
            "HELLO 3",
            "-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time\r\n",
        ),
        (
            "HELLO 2",
            "-NOAUTH HELLO must be called with the client already authenticated",
        ),
        ("HELLO 3 AUTH default wrong", WRONGPASS),
        (
            "HELLO",
            "-NOAUTH HELLO must be called with the client already authenticated",
        ),
        ("HELLO 2 AUTH default secret", "*14\r\n"),
        ("HELLO", "*14\r\n"),
        ("HELLO 3 AUTH default wrong", WRONGPASS),
        ("HELLO 3 AUTH default secret", "%7\r\n"),
        ("HELLO", "%7\r\n"),
    ] {
        assert!(
            say(&closed, &mut client, line).0.starts_with(start),
            "{line}"
        );
    }
}

#[test]
fn client_setname_and_getname_round_trip() {
    converse(
        &settings(None, 0),
        &[
            ("CLIENT GETNAME", "$-1\r\n"),
            ("CLIENT SETNAME bob", "+OK\r\n"),
            ("CLIENT GETNAME", "$3\r\nbob\r\n"),
            ("CLIENT SETNAME b\no", NAMES),
            ("CLIENT GETNAME", "$3\r\nbob\r\n"),
            ("CLIENT SETNAME ", "+OK\r\n"),
            ("CLIENT GETNAME", "$-1\r\n"),
            ("CLIENT SETINFO lib-name redis-rs", "+OK\r\n"),
            ("CLIENT SETINFO LIB-VER 1.8", "+OK\r\n"),
            (
                "CLIENT SETINFO lib-ver \t",
                "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n",
            ),
            (
                "CLIENT SETINFO color red",
                "-ERR Unrecognized option 'color'\r\n",
            ),
            ("CLIENT NO-EVICT on", "+OK\r\n"),
            ("CLIENT NO-EVICT maybe", "-ERR syntax error\r\n"),
        ],
    );
    let settings = settings(None, 5);
    let mut client = Client::new(&settings);
    let long = format!("CLIENT SETNAME {}", "x".repeat(1025));
    assert_eq!(say(&settings, &mut client, &long).0, NAMES);
    assert_eq!(
        say(&settings, &mut client, "CLIENT SETINFO lib-name redis-rs").0,
        "+OK\r\n"
    );
    let info = flat(&say(&settings, &mut client, "CLIENT INFO").0).remove(0);
    for field in [
        &format!("id={} ", client.id()),
        "db=5 ",
        "lib-name=redis-rs ",
        "resp=2 ",
    ] {
        assert!(info.contains(field), "{info}");
    }
}

#[test]
fn clients_are_small_and_numbered() {
    let settings = settings(None, 0);
    assert!(size_of::<Client>() <= 88);
    assert_ne!(Client::new(&settings).id(), Client::new(&settings).id());
}

#[test]
fn command_lists_supported_commands() {
    let settings = settings(None, 0);
    let mut client = Client::new(&settings);
    let mut ask = |line: &str| flat(&say(&settings, &mut client, line).0);
    let offered = Command::all().filter(|row| row.is_offered()).count();
    assert_eq!(ask("COMMAND COUNT"), [offered.to_string()]);
    assert_eq!(ask("COMMAND")[0], format!("*{offered}"));
    assert_eq!(ask("COMMAND DOCS")[0], format!("*{}", offered * 2));
    assert_eq!(
        ask("COMMAND INFO get swapdb nosuch"),
        [
            "*3",
            "*10",
            "get",
            "2",
            "*2",
            "readonly",
            "fast",
            "1",
            "1",
            "1",
            "*3",
            "@read",
            "@string",
            "@fast",
            "*0",
            "*1",
            "*6",
            "flags",
            "*2",
            "RO",
            "access",
            "begin_search",
            "*4",
            "type",
            "index",
            "spec",
            "*2",
            "index",
            "1",
            "find_keys",
            "*4",
            "type",
            "range",
            "spec",
            "*6",
            "lastkey",
            "0",
            "keystep",
            "1",
            "limit",
            "0",
            "*0",
            "nil",
            "nil"
        ]
    );
    assert_eq!(
        ask("COMMAND DOCS lindex sync"),
        [
            "*2",
            "lindex",
            "*8",
            "summary",
            "Reads the element at a position",
            "since",
            "1.0.0",
            "group",
            "list",
            "arguments",
            "*2",
            "*4",
            "name",
            "key",
            "type",
            "key",
            "*4",
            "name",
            "index",
            "type",
            "string"
        ]
    );
    assert_eq!(ask("COMMAND DOCS config|get")[1], "config|get");
    let names = ask("COMMAND LIST");
    assert!(names.contains(&"object|freq".to_owned()) && !names.contains(&"sync".to_owned()));
    assert_eq!(ask("COMMAND LIST FILTERBY PATTERN xr*d"), ["*1", "xread"]);
    assert!(ask("COMMAND LIST FILTERBY ACLCAT geo").contains(&"geoadd".to_owned()));
    assert_eq!(ask("COMMAND LIST FILTERBY MODULE json"), ["*0"]);
    assert_eq!(ask("COMMAND LIST SORTED"), ["ERR syntax error"]);
    let many = format!("COMMAND DOCS{}", " get".repeat(1001));
    assert_eq!(ask(&many), ["ERR too many command names"]);
}

#[test]
fn command_getkeys_finds_keys() {
    converse(
        &settings(None, 0),
        &[
            (
                "COMMAND GETKEYS MSET a 1 b 2",
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            (
                "COMMAND GETKEYS ZUNIONSTORE d 2 a b",
                "*3\r\n$1\r\nd\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            (
                "COMMAND GETKEYS GET a b",
                "-ERR Invalid number of arguments specified for command\r\n",
            ),
            (
                "COMMAND GETKEYS NOSUCH a",
                "-ERR Invalid command specified\r\n",
            ),
            (
                "COMMAND GETKEYS PING a",
                "-ERR The command has no key arguments\r\n",
            ),
            (
                "COMMAND GETKEYS ZUNION x a",
                "-ERR Invalid arguments specified for command\r\n",
            ),
        ],
    );
}

#[test]
fn help_lists_subcommands() {
    let settings = settings(None, 0);
    let reply = say(&settings, &mut Client::new(&settings), "memory help").0;
    assert_eq!(
        flat(&reply),
        [
            "*7",
            "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "HELP",
            "    Lists the subcommands.",
            "PURGE",
            "    Asks the allocator to release memory.",
            "USAGE key [SAMPLES count]",
            "    Returns the memory usage of a key.",
        ]
    );
}

#[test]
fn config_get_returns_known_parameters() {
    converse(
        &settings(None, 0),
        &[
            ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
            (
                "CONFIG GET APPENDONLY",
                "*2\r\n$10\r\nAPPENDONLY\r\n$2\r\nno\r\n",
            ),
            ("CONFIG GET nosuch", "*0\r\n"),
        ],
    );
}

#[test]
fn info_returns_the_requested_sections() {
    let settings = settings(None, 0);
    let mut client = Client::new(&settings);
    let mut ask = |line: &str| flat(&say(&settings, &mut client, line).0).remove(0);
    let all = ask("INFO");
    for line in [
        "# Server",
        "redis_version:7.0.15",
        "tcp_port:22121",
        "loading:0",
        "role:master",
    ] {
        assert!(all.lines().any(|found| found == line), "{line}");
    }
    let titles = |text: &str| -> Vec<String> {
        let titles = text.lines().filter(|line| line.starts_with('#'));
        titles.map(str::to_owned).collect()
    };
    let everything = titles(&ask("INFO everything"));
    assert_eq!(titles(&ask("INFO all")), everything);
    let only = |title: &&String| !titles(&all).contains(*title);
    assert_eq!(
        everything.iter().filter(only).collect::<Vec<_>>(),
        ["# Commandstats", "# Latencystats"]
    );
    assert_eq!(titles(&ask("INFO default commandstats")).len(), 12);
    assert_eq!(
        ask("INFO cluster modules CLUSTER nosuch"),
        "# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n"
    );
    assert_eq!(ask("INFO nosuch"), "");
    assert!(ask("info persistence").starts_with("# Persistence\r\nloading:0\r\n"));
}

#[test]
fn the_password_is_not_shown() {
    assert!(!format!("{:?}", settings(Some("hunter2"), 0)).contains("hunter2"));
}
