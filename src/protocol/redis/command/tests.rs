use proptest::prelude::*;

use crate::protocol::KeySpan;
use crate::protocol::redis::command::*;
use crate::protocol::redis::resp::args::Args;

/// The commands of a real server: name, arity, first key, last key, step, flags.
const REDIS: &str = include_str!("../../../../tests/data/redis-7.0-commands.txt");

fn frame(args: &[&[u8]]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        frame.extend_from_slice(arg);
        frame.extend_from_slice(b"\r\n");
    }
    frame
}

/// The keys and units of a request, given as words.
fn keys_of(line: &str) -> Result<Vec<(String, String)>, KeysError> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let frame = frame(&words);
    let args = Args::new(&frame);
    let command = Command::resolve(&args, words.len()).unwrap();
    let mut keys = vec![KeySpan::default()];
    command.collect_keys(args, &mut keys)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ok(keys
        .iter()
        .map(|k| (text(k.key.of(&frame)), text(k.unit.of(&frame))))
        .collect())
}

fn rows() -> impl Iterator<Item = &'static Command> {
    Command::all().flat_map(|row| std::iter::once(row).chain(row.subcommands))
}

#[test]
fn every_redis_command_has_a_matching_row() {
    for line in REDIS.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, arity, first, last, step, flags] = fields[..] else {
            panic!("{line}");
        };
        let (parent, own) = name.split_once('|').unwrap_or((name, ""));
        let row = Command::lookup(parent.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        let row = match own {
            "" => row,
            _ => row
                .subcommand(own.as_bytes())
                .unwrap_or_else(|| panic!("{line}")),
        };
        assert_eq!(row.name, name.to_uppercase());
        let newer = ["ZRANK", "ZREVRANK"].contains(&row.name);
        assert!(newer || row.arity.to_string() == arity, "{line}");
        let (f, l, s) = row.legacy_range();
        assert_eq!(
            [f, l, s].map(|n| n.to_string()),
            [first, last, step],
            "{line}"
        );
        let listed: Vec<&str> = flags.split(',').collect();
        for (flag, bit) in flags::SPELLED {
            assert_eq!(
                listed.contains(&flag),
                row.flags & bit != 0,
                "{flag}: {line}"
            );
        }
        let movable = listed.contains(&"movablekeys");
        assert_eq!(movable, row.has_movable_keys(), "{line}");
    }
}

#[test]
fn command_names_are_unique_and_rows_complete() {
    let mut seen = std::collections::HashSet::new();
    for top in Command::all() {
        for row in std::iter::once(top).chain(top.subcommands) {
            assert!(seen.insert(row.name), "{}", row.name);
            assert_eq!(row.name, row.name.to_uppercase());
            assert!(!row.summary.is_empty(), "{}", row.name);
            assert!(!row.since.is_empty(), "{}", row.name);
            let keyed = matches!(row.policy, Policy::Forward | Policy::Split(_));
            assert!(row.keys != Keys::None || !keyed, "{}", row.name);
        }
    }
}

#[test]
fn listed_names_exist_in_the_table_once() {
    let rows: Vec<&Command> = rows().collect();
    let mut with_access = Vec::new();
    for (what, names) in access::BY_ACCESS
        .iter()
        .chain(tips::TIPS)
        .chain(tips::CATEGORIES)
    {
        let mut listed: Vec<&str> = names.split_ascii_whitespace().collect();
        for name in &listed {
            assert!(rows.iter().any(|row| row.name == *name), "{what}: {name}");
        }
        let count = listed.len();
        listed.sort_unstable();
        listed.dedup();
        assert_eq!(listed.len(), count, "{what}");
    }
    for (_, names) in access::BY_ACCESS {
        with_access.extend(names.split_ascii_whitespace());
    }
    for row in rows {
        let listed = with_access.iter().filter(|name| **name == row.name).count();
        let must =
            row.flags & flags::WRITE != 0 && row.has_keys() && row.group.redis_name() != "module";
        assert!(listed <= 1 && (listed == 1 || !must), "{}", row.name);
    }
}

#[test]
fn resolve_finds_the_row_or_gives_the_error() {
    let resolve = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        match Command::resolve(&Args::new(&frame(&words)), words.len()) {
            Ok(row) => row.name.to_owned(),
            Err(CommandError::Unknown) => "unknown".to_owned(),
            Err(CommandError::UnknownSubcommand(row)) => format!("unknown of {}", row.name),
            Err(CommandError::Arity(row)) => format!("arity of {}", row.name),
        }
    };
    for (line, expected) in [
        ("get k", "GET"),
        ("gEt k v", "arity of GET"),
        ("GET", "arity of GET"),
        ("GET\0 k", "unknown"),
        ("a-name-that-is-longer-than-any-of-them k", "unknown"),
        ("MSET a 1 b 2", "MSET"),
        ("MSET a 1 b", "arity of MSET"),
        ("MSETNX a 1 b", "arity of MSETNX"),
        ("SDIFF a b c", "SDIFF"),
        ("OBJECT", "arity of OBJECT"),
        ("object encoding k", "OBJECT|ENCODING"),
        ("object encoding", "arity of OBJECT|ENCODING"),
        ("object color k", "unknown of OBJECT"),
        ("COMMAND", "COMMAND"),
        ("command docs get", "COMMAND|DOCS"),
        ("CLUSTER SLOTS", "CLUSTER|SLOTS"),
        ("SWAPDB", "SWAPDB"),
        ("client pause", "CLIENT|PAUSE"),
        ("EXPIRE k 1 NX", "EXPIRE"),
    ] {
        assert_eq!(resolve(line), expected, "{line}");
    }
}

#[test]
fn keys_are_found_wherever_they_are() {
    for (line, expected) in [
        ("GET a", "a"),
        ("PING", ""),
        ("OBJECT FREQ a", "a"),
        ("DEL a b c", "a b c"),
        ("RENAME a b", "a b"),
        ("COPY a b DB 1", "a b"),
        ("BITOP AND d a b", "d a b"),
        ("ZUNION 2 a b WITHSCORES", "a b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("EVAL script 2 a b c", "a b"),
        ("LMPOP 1 a LEFT", "a"),
        ("BLPOP a b 0", "a b"),
        ("BLMPOP 0 2 a b LEFT", "a b"),
        ("JSON.MGET a b $", "a b"),
        ("JSON.MSET a $ 1 b $ 2", "a b"),
        ("MSETEX 2 a 1 b 2 EX 10", "a b"),
        ("MIGRATE h 1 a 0 10 COPY", "a"),
        ("MIGRATE h 1  0 10 COPY KEYS a b", "a b"),
        ("SORT a", "a"),
        ("SORT a BY nosort GET # LIMIT 0 1 STORE d", "a d"),
        ("SORT a STORE c STORE d", "a d"),
        ("SORT a BY w_* GET o_*->f", "a"),
        ("GEORADIUS a 1 2 3 m STORE d", "a d"),
        ("GEORADIUS a 1 2 3 m COUNT 3", "a"),
        ("GEORADIUSBYMEMBER a STORE 3 m STOREDIST d", "a d"),
        ("XREAD COUNT 2 STREAMS a b 0 0", "a b"),
        ("XREADGROUP GROUP g c CLAIM 1 LATER STREAMS a >", "a"),
        ("XREADGROUP GROUP BLOCK c COUNT 1 NOACK STREAMS a >", "a"),
    ] {
        let names: Vec<String> = keys_of(line).unwrap().into_iter().map(|k| k.0).collect();
        assert_eq!(names.join(" "), expected, "{line}");
    }
}

#[test]
fn unfindable_keys_are_errors() {
    for (line, error) in [
        ("EVAL s x a", KeysError::Malformed),
        ("EVAL s -1 a", KeysError::Malformed),
        ("EVAL s 0 a", KeysError::Zero),
        ("EVAL s 2 a", KeysError::Malformed),
        ("ZUNION 0 a", KeysError::Malformed),
        ("ZUNION 9223372036854775807 a", KeysError::Malformed),
        ("ZUNION 99999999999999999999 a", KeysError::Malformed),
        ("XREAD BLOCK 0 STREAMS a", KeysError::Malformed),
        ("XREAD STREAMS a b 0", KeysError::Malformed),
        ("XREAD COUNT 1 STREAMS", KeysError::Malformed),
        ("XREAD COUNT 1 a 0", KeysError::Malformed),
        ("XREAD COUNT 1 COUNT 2", KeysError::Malformed),
    ] {
        assert_eq!(keys_of(line), Err(error), "{line}");
    }
}

#[test]
fn sort_patterns_name_keys_only_with_a_star() {
    let patterns = |line: &str| -> Vec<String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let frame = frame(&words);
        let found = sort_patterns(Args::new(&frame));
        found
            .map(|(pattern, span)| {
                assert_eq!(span.key.of(&frame), pattern);
                String::from_utf8(pattern.to_vec()).unwrap()
            })
            .collect()
    };
    assert_eq!(patterns("SORT a BY nosort GET # GET c->*"), [""; 0]);
    assert_eq!(patterns("SORT BY BY w_* GET"), ["w_*"]);
    assert_eq!(
        patterns("SORT a LIMIT BY GET GET o_*->f STORE BY GET w_*_x"),
        ["o_*", "w_*_x"]
    );
}

#[test]
fn key_unit_covers_all_arguments_of_the_key() {
    let units = |line| -> Vec<String> { keys_of(line).unwrap().into_iter().map(|k| k.1).collect() };
    assert_eq!(units("MGET a b"), ["$1\r\na\r\n", "$1\r\nb\r\n"]);
    assert_eq!(
        units("MSET a 10 b 2"),
        ["$1\r\na\r\n$2\r\n10\r\n", "$1\r\nb\r\n$1\r\n2\r\n"]
    );
}

proptest! {
    #[test]
    fn lookup_agrees_with_a_linear_scan(
        pick in any::<prop::sample::Index>(),
        upper in prop::collection::vec(any::<bool>(), 32),
        tail in "[ -~]{0,3}",
    ) {
        let rows: Vec<&Command> = Command::all().collect();
        let mut name: String = pick
            .get(&rows)
            .name
            .chars()
            .zip(upper)
            .map(|(c, up)| if up { c } else { c.to_ascii_lowercase() })
            .collect();
        name.push_str(&tail);
        let scan = rows.iter().find(|row| row.name.eq_ignore_ascii_case(&name));
        let found = Command::lookup(name.as_bytes());
        prop_assert_eq!(found.map(|row| row.name), scan.map(|row| row.name));
    }

    #[test]
    fn lookup_does_not_panic_on_any_bytes(name in prop::collection::vec(any::<u8>(), 0..40)) {
        let known = Command::all().any(|row| row.name.as_bytes().eq_ignore_ascii_case(&name));
        prop_assert_eq!(Command::lookup(&name).is_some(), known);
    }

    #[test]
    fn key_spans_stay_within_the_request(
        pick in any::<prop::sample::Index>(),
        words in prop::collection::vec(
            prop_oneof![
                Just("STORE".to_owned()), Just("STREAMS".to_owned()), Just("BY".to_owned()),
                Just("LIMIT".to_owned()), Just("GROUP".to_owned()), Just("2".to_owned()), ".{0,3}",
            ],
            0..9,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let rows: Vec<&Command> = Command::all().flat_map(|row| std::iter::once(row).chain(row.subcommands)).collect();
        let row = pick.get(&rows);
        let mut args = vec![row.name.as_bytes()];
        args.extend(words.iter().map(String::as_bytes));
        let mut frame = frame(&args);
        let mut keys = Vec::new();
        if row.collect_keys(Args::new(&frame), &mut keys).is_ok() {
            let all: Vec<&[u8]> = Args::new(&frame).collect();
            for key in &keys {
                prop_assert!(all.contains(&key.key.of(&frame)));
                prop_assert!(key.unit.end <= frame.len() && key.unit.start < key.key.start);
            }
            if let (Some(at), Some(key)) = (row.single_key(), keys.first()) {
                prop_assert_eq!(key.key.of(&frame), all[at]);
            }
        }
        frame.truncate(cut.index(frame.len()));
        let _ = row.collect_keys(Args::new(&frame), &mut keys);
    }
}
