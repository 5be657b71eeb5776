//! Command metadata of the proxy, compared with that of a real server.

use std::collections::{BTreeMap, BTreeSet};

use ringroad::protocol::redis::command::{Command, Group};

use super::value::Value;
use crate::support::{Client, Pool, Proxy, RedisServer};

/// Intended differences from Redis 7.0: command, position in its entry of `COMMAND`, reason.
const DIFFERENT: [(&str, usize, &str); 2] = [
    ("zrank", ARITY, "Redis 7.2 added WITHSCORE"),
    ("zrevrank", ARITY, "Redis 7.2 added WITHSCORE"),
];

/// Commands with options that came after Redis 7.0.
const GROWN: [&str; 5] = ["bitop", "client|kill", "set", "xadd", "xtrim"];

/// Commands with arguments that Redis 7.0 does not document.
const UNDOCUMENTED: [&str; 2] = ["command|getkeys", "command|getkeysandflags"];

const NAME: usize = 0;
const ARITY: usize = 1;
const SUBCOMMANDS: usize = 9;

/// A server, a proxy in front of it, and RESP3 clients of both.
struct Pair {
    _server: RedisServer,
    _ringroad: Proxy,
    direct: Client,
    here: Client,
}

impl Pair {
    fn new() -> Self {
        let server = RedisServer::start();
        let ringroad = Proxy::ringroad(&Pool::of([&server]));
        let (mut direct, mut here) = (server.client(), ringroad.client());
        direct.ask("HELLO 3");
        here.ask("HELLO 3");
        Self {
            _server: server,
            _ringroad: ringroad,
            direct,
            here,
        }
    }

    /// The replies of the server and of the proxy.
    fn ask(&mut self, request: &str) -> [Value; 2] {
        [&mut self.direct, &mut self.here].map(|client| Value::of(&client.ask(request)))
    }
}

/// The entries of `COMMAND` by name, subcommands by themselves.
fn entries(reply: &Value) -> BTreeMap<String, Vec<Value>> {
    let mut entries = BTreeMap::new();
    let mut left: Vec<&Value> = reply.items().iter().collect();
    while let Some(entry) = left.pop() {
        let fields = entry.items();
        left.extend(fields[SUBCOMMANDS].items());
        let mut fields = fields.to_vec();
        fields.truncate(SUBCOMMANDS);
        entries.insert(fields[NAME].text().to_owned(), fields);
    }
    entries
}

/// The documents of `COMMAND DOCS` by name, subcommands by themselves.
fn documents(reply: &Value) -> BTreeMap<String, Value> {
    let mut documents = BTreeMap::new();
    let mut left: Vec<&(Value, Value)> = reply.pairs().iter().collect();
    while let Some((name, document)) = left.pop() {
        if let Some(subcommands) = document.field("subcommands") {
            left.extend(subcommands.pairs());
        }
        documents.insert(name.text().to_owned(), document.clone());
    }
    documents
}

/// The literal tokens in the arguments of a document, or of an argument.
fn tokens(document: &Value) -> BTreeSet<String> {
    let own = document.field("token");
    let own = own.map(|token| token.text().to_uppercase());
    let inner = document.field("arguments").map_or(&[][..], Value::items);
    own.into_iter()
        .chain(inner.iter().flat_map(tokens))
        .collect()
}

fn row(name: &str) -> Option<&'static Command> {
    let mut words = name.split('|');
    let row = Command::lookup(words.next()?.as_bytes())?;
    words
        .next()
        .map_or(Some(row), |own| row.subcommand(own.as_bytes()))
}

/// Returns true if it came after Redis 7.0, or with a module.
fn is_newer(row: &Command) -> bool {
    let module = row.group.redis_name() == Group::Json.redis_name();
    let parts: Vec<u32> = row
        .since
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    module || parts > vec![7, 0, u32::MAX]
}

#[test]
fn command_table_covers_and_describes_server_commands() {
    let mut pair = Pair::new();
    let [real, ours] = pair.ask("COMMAND");
    let (real, mut ours) = (entries(&real.without("notes")), entries(&ours));
    assert!(real.len() > 360);
    for (name, expected) in real {
        let row = row(&name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let Some(mut found) = ours.remove(&name) else {
            assert!(!row.is_offered(), "{name} is not listed");
            continue;
        };
        let mut expected = expected;
        for (_, place, reason) in DIFFERENT.iter().filter(|(other, ..)| *other == name) {
            assert_ne!(found[*place], expected[*place], "{name}: {reason}");
            found[*place] = Value::Null;
            expected[*place] = Value::Null;
        }
        assert_eq!(found, expected, "{name}");
    }
    for name in ours.into_keys() {
        assert!(is_newer(row(&name).unwrap()), "{name}");
    }
}

#[test]
fn command_docs_match_redis() {
    let mut pair = Pair::new();
    let [real, ours] = pair.ask("COMMAND DOCS");
    let (real, mut ours) = (documents(&real), documents(&ours));
    let mut wrong = Vec::new();
    for (name, expected) in real {
        let row = row(&name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let Some(found) = ours.remove(&name) else {
            assert!(!row.is_offered(), "{name} is not listed");
            continue;
        };
        let [expected_tokens, found_tokens] = [&expected, &found].map(tokens);
        let [lacks, exceeds] = [
            !found_tokens.is_superset(&expected_tokens),
            !expected_tokens.is_superset(&found_tokens),
        ];
        if lacks || exceeds != GROWN.contains(&name.as_str()) {
            wrong.push(format!("{name}: {found_tokens:?}, not {expected_tokens:?}"));
        }
        for field in ["since", "group"] {
            assert_eq!(
                found.field(field),
                expected.field(field),
                "{field} of {name}"
            );
        }
        for field in ["arguments", "subcommands"] {
            let agree = found.field(field).is_some() == expected.field(field).is_some();
            let undocumented = field == "arguments" && UNDOCUMENTED.contains(&name.as_str());
            if agree == undocumented {
                wrong.push(format!("{field} of {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    for name in ours.into_keys() {
        assert!(is_newer(row(&name).unwrap()), "{name}");
    }
}

#[test]
fn command_list_matches_redis_except_refused_and_newer() {
    let mut pair = Pair::new();
    for filter in [
        "",
        " FILTERBY PATTERN z*",
        " FILTERBY PATTERN *|help",
        " FILTERBY ACLCAT keyspace",
        " FILTERBY ACLCAT scripting",
        " FILTERBY ACLCAT FAST",
        " FILTERBY ACLCAT nonsense",
        " FILTERBY MODULE json",
    ] {
        let [real, ours] = pair
            .ask(&format!("COMMAND LIST{filter}"))
            .map(|reply| -> Vec<String> {
                let names = reply.items().iter().map(|name| name.text().to_owned());
                names.collect()
            });
        for name in &real {
            let is_listed = ours.contains(name);
            assert_eq!(is_listed, row(name).unwrap().is_offered(), "{name}{filter}");
        }
        for name in ours.iter().filter(|name| !real.contains(name)) {
            assert!(is_newer(row(name).unwrap()), "{name}{filter}");
        }
    }
    let [_, count] = pair.ask("COMMAND COUNT");
    let offered = Command::all().filter(|row| row.is_offered()).count();
    assert_eq!(count, Value::Number(offered.try_into().unwrap()));
}

#[test]
fn command_getkeys_matches_redis() {
    let mut pair = Pair::new();
    for request in [
        "SET a b",
        "SET a GET",
        "SET a b EX 10 get",
        "GET get",
        "BITFIELD a GET u8 0",
        "BITFIELD a SET u8 0 1",
        "SORT a STORE d",
        "SORT a BY w_* GET x_*",
        "SORT a STORE",
        "EVAL s 1 a",
        "EVAL s 0",
        "EVAL s x a",
        "EVAL s 5 a",
        "ZUNIONSTORE d 2 a b",
        "ZUNION 0 a",
        "SINTERCARD 5 a",
        "GEORADIUS a 1 2 3 m STORE d",
        "PFCOUNT a b",
        "XREAD STREAMS a b 0 0",
        "XREADGROUP GROUP g c STREAMS a >",
        "MSET a 1 b",
        "MGET a b",
        "DEL a b",
        "RENAME a b",
        "BITOP AND d a b",
        "LMOVE a b LEFT LEFT",
        "LCS a b",
        "OBJECT FREQ a",
        "OBJECT FOO a",
        "XGROUP CREATE a b",
        "XGROUP CREATE a b 0",
        "SELECT 1",
        "FOO a",
        "GET a b",
        "GET a",
        "SET a b EX 1",
        "MGET a b a",
        "MSET a 1 b 2",
        "DEL a b c",
        "COPY a b DB 0",
        "LCS a b LEN",
        "LMOVE a b LEFT RIGHT",
        "SMOVE a b m",
        "SDIFFSTORE d a b",
        "PFMERGE d a b",
        "SINTERCARD 2 a b LIMIT 1",
        "LMPOP 2 a b LEFT",
        "ZMPOP 1 a MIN",
        "ZUNION 2 a b WITHSCORES",
        "ZDIFFSTORE d 1 a",
        "ZRANGESTORE d a 0 1",
        "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m",
        "GEORADIUS a 1 2 3 m",
        "GEORADIUSBYMEMBER a m 3 m STOREDIST d",
        "SORT a",
        "SORT a LIMIT 0 1 DESC STORE d",
        "EVAL s 2 a b c",
        "FCALL f 1 a b",
        "XADD a * f v",
        "XREAD COUNT 1 STREAMS a b 0 0",
        "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b > >",
        "OBJECT ENCODING a",
        "MEMORY USAGE a SAMPLES 1",
        "XGROUP CREATE a g 0",
        "XINFO STREAM a",
        "RESTORE a 0 x",
    ] {
        for command in ["GETKEYS", "GETKEYSANDFLAGS"] {
            let [real, ours] = pair.ask(&format!("COMMAND {command} {request}"));
            assert_eq!(ours, real, "{command} {request}");
        }
    }
}

#[test]
fn invalid_command_queries_get_redis_errors() {
    let mut pair = Pair::new();
    for request in [
        "COMMAND FOO",
        "COMMAND LIST foo",
        "COMMAND LIST FILTERBY",
        "COMMAND LIST FILTERBY ACLCAT",
        "COMMAND LIST FILTERBY FOO bar",
        "COMMAND LIST FILTERBY PATTERN a b",
        "COMMAND COUNT 1",
        "COMMAND GETKEYS",
        "COMMAND GETKEYS GET",
        "COMMAND INFO nonsense get|nonsense nonsense|get config|nonsense",
        "COMMAND DOCS nonsense",
    ] {
        let [real, ours] = pair.ask(request);
        assert_eq!(ours, real, "{request}");
    }
}
