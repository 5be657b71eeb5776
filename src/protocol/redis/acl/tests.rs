//! Rules as tables: what was observed with redis-server 7.0.15 is marked as Redis's.

use proptest::prelude::*;

use crate::protocol::redis::acl::check::Denied;
use crate::protocol::redis::acl::commands;
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::acl::password::Password;
use crate::protocol::redis::acl::pattern::Pattern;
use crate::protocol::redis::acl::user::User;
use crate::protocol::redis::acl::users::Users;
use crate::protocol::redis::command::Command;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::glob;

const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn user(rules: &str) -> User {
    let rules: Vec<&str> = rules.split(' ').collect();
    User::with_rules(b"u", &rules).unwrap()
}

fn line(rules: &str) -> String {
    String::from_utf8(user(rules).line()).unwrap()
}

/// What is wrong with a request of a user, as `ACL DRYRUN` would say.
fn denied(user: &User, request: &str) -> String {
    let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
    let mut frame = bytes::BytesMut::new();
    write_request(&words, &mut frame);
    let args = Args::new(&frame);
    let row = Command::resolve(&args, words.len()).unwrap();
    let id = commands::row(row.name.as_bytes()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match user.check((id, row), &args, &frame, &mut Vec::new()) {
        Ok(()) => String::new(),
        Err(Denied::Command) => "command".to_owned(),
        Err(Denied::Key(key)) => format!("key {}", text(key)),
        Err(Denied::Channel(channel)) => format!("channel {}", text(channel)),
        Err(Denied::SortOption(option)) => format!("option {option}"),
    }
}

#[test]
fn user_is_shown_as_in_redis() {
    for (rules, shown) in [
        ("off", "user u off resetchannels -@all"),
        ("on nopass ~* &* +@all", "user u on nopass ~* &* +@all"),
        (
            "+get +@read -get",
            "user u off resetchannels -@all +@read -get",
        ),
        (
            "%R~foo %W~foo ~bar %RW~zz &a* +select|0 +config|get",
            "user u off ~foo ~bar ~zz resetchannels &a* -@all +select|0 +config|get",
        ),
        (
            "+@all -config|get skip-sanitize-payload",
            "user u off skip-sanitize-payload resetchannels +@all -config|get",
        ),
        (
            "ON nocommands ALLKEYS &",
            "user u on ~* resetchannels & -@all",
        ),
        (
            "+get +GET +Config|Get -config +SELECT|ABC +@READ",
            "user u off resetchannels -@all +get -config +select|ABC +@read",
        ),
        (
            "~a resetkeys &b &b %R~z %W~z %r~y %W",
            "user u off ~z %R~y %W~ resetchannels &b -@all",
        ),
        (
            "+@all -get reset on",
            "user u on sanitize-payload resetchannels -@all",
        ),
        (
            "+config|get +config|set -config|get +config",
            "user u off resetchannels -@all +config",
        ),
    ] {
        assert_eq!(line(rules), shown, "{rules}");
    }
    let shown = line("on >secret >secret >other <other nopass >secret");
    assert_eq!(shown, format!("user u on #{SECRET} resetchannels -@all"));
}

#[test]
fn rule_that_is_wrong_is_refused() {
    for (rules, wrong, error) in [
        ("on foo", "foo", RuleError::Syntax),
        ("+nosuch", "+nosuch", RuleError::Unknown),
        ("+@nosuch", "+@nosuch", RuleError::Unknown),
        ("+", "+", RuleError::Unknown),
        ("-@", "-@", RuleError::Unknown),
        ("#abc", "#abc", RuleError::Hash),
        ("<abc", "<abc", RuleError::NoSuchPassword),
        ("+config|get|x", "+config|get|x", RuleError::FirstArgument),
        ("+config|set|", "+config|set|", RuleError::FirstArgument),
        ("+config|", "+config|", RuleError::Syntax),
        ("+config|nosuch", "+config|nosuch", RuleError::Unknown),
        ("+select|", "+select|", RuleError::Syntax),
        ("-select|1", "-select|1", RuleError::Unknown),
        ("+|x", "+|x", RuleError::Unknown),
        ("allkeys ~a", "~a", RuleError::KeysAfterAll),
        ("~* %R~a", "%R~a", RuleError::KeysAfterAll),
        ("~* %~a", "%~a", RuleError::KeysAfterAll),
        ("allchannels &a", "&a", RuleError::ChannelsAfterAll),
        ("%~a", "%~a", RuleError::Syntax),
        ("%", "%", RuleError::Syntax),
        ("%RR~a", "%RR~a", RuleError::Syntax),
        ("%X~a", "%X~a", RuleError::Syntax),
        ("~a\tb", "~a\tb", RuleError::Syntax),
        ("(+get ~a)", "(+get", RuleError::Selector),
    ] {
        let rules: Vec<&str> = rules.split(' ').collect();
        let (rule, found) = User::with_rules(b"u", &rules).unwrap_err();
        assert_eq!((*rule, found), (wrong, error));
    }
    let upper = format!("#{}", SECRET.to_uppercase());
    assert!(User::with_rules(b"u", &[upper]).is_err());
}

#[test]
fn requests_are_denied_as_in_redis() {
    let limited = user("+@all %R~r* %W~w* ~b* &news.* &exact");
    for (request, expected) in [
        ("SORT r1 BY r*", "option BY"),
        ("SORT r1 GET #", "option GET"),
        ("SORT r1 BY nosort", ""),
        ("SORT r1 STORE r2", "key r2"),
        ("SORT r1 STORE w2", ""),
        ("SET r1 a", "key r1"),
        ("SET w1 a", ""),
        ("SET w1 a GET", "key w1"),
        ("SET w1 GET", ""),
        ("GET w1", "key w1"),
        ("GET x", "key x"),
        ("MSET w1 a r1 b", "key r1"),
        ("EXISTS w1 r1 z", "key z"),
        ("STRLEN w1", ""),
        ("TYPE r2", ""),
        ("COPY r1 w1", ""),
        ("COPY w1 r1", "key w1"),
        ("XREAD STREAMS w1 0", "key w1"),
        ("OBJECT ENCODING w1", ""),
        ("EVAL x 1 r1", "key r1"),
        ("EVAL_RO x 1 r1", ""),
        ("EVAL x 0", ""),
        ("EVAL x 2 r1", ""),
        ("BITFIELD r1 GET u8 0", ""),
        ("BITFIELD r1 SET u8 0 1", "key r1"),
        ("BITFIELD b1 SET u8 0 1", ""),
        ("RENAME b1 b2", ""),
        ("RENAME r1 b2", "key r1"),
        ("ZUNIONSTORE w 2 r1 r2", ""),
        ("ZUNIONSTORE w 2 r1 w2", "key w2"),
        ("WATCH z", "key z"),
        ("PUBLISH news.a m", ""),
        ("PUBLISH exact m", ""),
        ("PUBLISH other m", "channel other"),
        ("SPUBLISH other m", "channel other"),
        ("SUBSCRIBE news.a other", "channel other"),
        ("SSUBSCRIBE news.a", ""),
        ("PSUBSCRIBE news.*", ""),
        ("PSUBSCRIBE news.a*", "channel news.a*"),
        ("UNSUBSCRIBE other", ""),
        ("PUBSUB NUMSUB other", ""),
        ("KEYS *", ""),
    ] {
        assert_eq!(denied(&limited, request), expected, "{request}");
    }
    let few = user("~* &* -@all +get +select|1 +config|get +@hash -hset +client -client|kill");
    for (request, expected) in [
        ("GET a", ""),
        ("SET a b", "command"),
        ("SELECT 1", ""),
        ("SELECT 2", "command"),
        ("CONFIG GET a", ""),
        ("CONFIG RESETSTAT", "command"),
        ("HGET a b", ""),
        ("HSET a b c", "command"),
        ("CLIENT ID", ""),
        ("CLIENT KILL a", "command"),
        ("AUTH a", ""),
        ("HELLO", ""),
        ("RESET", ""),
        ("QUIT", ""),
        ("PING", "command"),
    ] {
        assert_eq!(denied(&few, request), expected, "{request}");
    }
    assert!(user("+@all ~* &*").is_unrestricted());
    assert!(!user("+@all -get ~* &*").is_unrestricted());
    assert!(user("+@all -get +get ~* &*").is_unrestricted());
}

#[test]
fn every_category_is_known() {
    for row in Command::all() {
        for category in row.categories() {
            let allowed = user(&format!("~* &* +@{category}"));
            let id = commands::row(row.name.as_bytes()).unwrap();
            assert!(allowed.commands.allow(id), "{} {category}", row.name);
        }
    }
}

#[test]
fn passwords_admit_only_their_user() {
    let open = user("on nopass");
    assert!(
        open.admits(&Password::of(b"")) && open.admits(&Password::of(b"any")) && open.is_open()
    );
    let closed = user("on >secret >other");
    assert!(closed.admits(&Password::of(b"secret")) && closed.admits(&Password::of(b"other")));
    assert!(
        !closed.admits(&Password::of(b"secre"))
            && !closed.admits(&Password::of(b""))
            && !closed.is_open()
    );
    assert!(!user("off >secret").admits(&Password::of(b"secret")));
    assert!(!user("off nopass").admits(&Password::of(b"secret")));
    assert!(!format!("{closed:?}").contains("2bb8"));
}

#[test]
fn users_are_sorted_and_keep_their_default() {
    let mut users = Users::new(User::new(b"default"));
    for name in ["zoe", "adam", "mia", "adam"] {
        users.insert(User::new(name.as_bytes()));
    }
    let names: Vec<_> = users.iter().map(|user| user.name().to_vec()).collect();
    assert_eq!(names, [&b"adam"[..], b"default", b"mia", b"zoe"]);
    assert!(users.remove(b"default").is_none());
    assert!(users.remove(b"mia").is_some() && users.get(b"mia").is_none());
}

#[test]
fn pattern_with_many_stars_costs_little() {
    let pattern = Pattern::new(format!("{}b", "*a".repeat(500)).as_bytes());
    assert!(!pattern.matches("a".repeat(100_000).as_bytes()));
}

proptest! {
    #[test]
    fn pattern_matches_as_a_glob(
        pattern in "[a-c*?\\[\\]\\\\^-]{0,6}",
        name in "[a-c*]{0,6}",
    ) {
        let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
        prop_assert_eq!(Pattern::new(pattern).matches(name), glob::matches(pattern, name));
    }

    #[test]
    fn shown_rules_make_the_same_user(rules in prop::collection::vec(prop::sample::select(vec![
        "on", "off", "nopass", ">a", ">b", "resetpass", "+@all", "-@all", "+get", "-get", "+@read", "-@write", "+config|get",
        "-config", "+config", "-config|set", "+select|1", "-select", "~a*", "%R~b", "%W~b", "resetkeys", "&c", "&d*",
        "resetchannels", "-@dangerous", "+@dangerous", "reset", "skip-sanitize-payload",
    ]), 0..12)) {
        let made = User::with_rules(b"u", &rules).unwrap();
        let line = String::from_utf8(made.line()).unwrap();
        let shown: Vec<&str> = line.split(' ').skip(2).collect();
        let again = User::with_rules(b"u", &shown).unwrap();
        prop_assert_eq!(&made.commands, &again.commands, "{}", line);
        prop_assert_eq!(&made.keys, &again.keys);
        prop_assert_eq!(&made.channels, &again.channels);
        prop_assert_eq!(&made.passwords, &again.passwords);
        prop_assert_eq!(made.enabled, again.enabled);
    }

    #[test]
    fn any_rule_is_parsed_or_refused(rules in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..8)) {
        let _ = User::with_rules(b"u", &rules);
    }
}
