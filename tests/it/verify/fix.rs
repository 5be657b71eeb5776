//! `--fix`: what is unlinked, and what never is.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Files, Fleet, set};
use crate::support::{Pool, RedisServer, Terminal};

#[test]
fn fix_unlinks_strays_that_their_owner_has() {
    let fleet = Fleet::start();
    let [a, b, c] = fleet.misplace();
    let before = [0, 1, 2].map(|server| fleet.keys(server));
    let (code, report) = fleet.files().report(&["--fix", "--yes"]);
    assert_eq!(code, 1, "two strays are left");
    assert!(report.ends_with("  unlinked: 1, left: 2\n"), "{report}");
    let [first, second, third] = before;
    let kept: BTreeSet<_> = first.into_iter().filter(|key| *key != c).collect();
    assert!(kept.contains(&a) && kept.contains(&b));
    assert_eq!(
        [0, 1, 2].map(|server| fleet.keys(server)),
        [kept, second, third]
    );
}

#[test]
fn fix_unlinks_only_copies_if_it_must() {
    let fleet = Fleet::start();
    let strays = fleet.misplace();
    let (code, report) = fleet
        .files()
        .report(&["--fix", "--drop-only-copies", "--yes"]);
    assert_eq!(code, 0);
    assert!(report.ends_with("  unlinked: 3, left: 0\n"), "{report}");
    assert!(strays.iter().all(|key| !fleet.keys(0).contains(key)));
    assert!(fleet.keys(2).contains(&strays[2]));
    assert_eq!(fleet.files().report(&[]).0, 0);
}

#[test]
fn marks_are_no_strays_and_are_kept() {
    let fleet = Fleet::start();
    let marks = ["ringroad:mark:p:0:notes", "ringroad:mark:other:3"];
    for server in 0..3 {
        for mark in marks {
            fleet.set(server, mark.as_bytes());
        }
    }
    let report = fleet
        .files()
        .json(&["--fix", "--drop-only-copies", "--yes"]);
    assert_eq!((&report["keys"], &report["strays"]), (&json!(0), &json!(0)));
    assert!((0..3).all(|server| fleet.keys(server).len() == marks.len()));
}

#[test]
fn fix_needs_an_answer_before_it_scans() {
    let fleet = Fleet::start();
    fleet.misplace();
    let message = fleet.files().trouble(&["--fix"]);
    assert_eq!(
        message,
        "ringroad: --fix asks before it unlinks, and stdin is no terminal; add --yes\n"
    );
    assert_eq!(fleet.files().json(&[])["strays"], 3);
}

/// Runs the command on a terminal on which `answer` is typed; returns the exit code and all that was shown.
fn on_a_terminal(files: &Files, args: &str, answer: &str) -> (Option<i32>, String) {
    let mut terminal = Terminal::run(files.dir.path(), &format!("verify -c pool.yml {args}"));
    terminal.type_in(answer);
    terminal.end()
}

#[test]
fn fix_asks_on_a_terminal_and_shows_progress() {
    let fleet = Fleet::start();
    fleet.misplace();
    let question = "Do all proxies of these servers use this file? Unlink 1 strays that are on their owner too and keep 2 \
                    that are not? [y/N] ";
    let (code, shown) = on_a_terminal(&fleet.files(), "--fix", "n\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains(question), "{shown}");
    assert!(!shown.contains("unlinked:"), "{shown}");
    assert_eq!(fleet.files().json(&[])["strays"], 3);

    let (code, shown) = on_a_terminal(&fleet.files(), "--fix --drop-only-copies", "yes\n");
    assert_eq!(code, Some(0), "{shown}");
    let question = "Unlink 3 strays? 2 of them are not on their owner: they will be lost. [y/N] ";
    assert!(shown.contains(question), "{shown}");
    assert!(
        shown.contains("keys, ") && shown.contains("per second"),
        "{shown}"
    );
    assert!(shown.contains("unlinked: 3, left: 0"), "{shown}");
    assert_eq!(fleet.files().json(&[])["strays"], 0);
}

#[test]
fn fix_with_nothing_to_unlink_asks_nothing() {
    let fleet = Fleet::start();
    fleet.set(0, &fleet.key_of(1, 0));
    let (code, shown) = on_a_terminal(&fleet.files(), "--fix", "");
    assert_eq!(code, Some(1), "{shown}");
    assert!(!shown.contains("[y/N]"), "{shown}");
}

#[test]
fn server_that_refuses_to_unlink_ends_the_fix() {
    let options = ["--rename-command", "UNLINK", ""];
    let servers: [_; 2] = std::array::from_fn(|_| RedisServer::start_with(&options));
    let pool = Pool::of(&servers).with("hash", "murmur");
    for server in &servers {
        for n in 0..20 {
            set(&mut server.client(), format!("k{n}").as_bytes());
        }
    }
    let files = Files::of(&pool);
    let message = files.trouble(&["--fix", "--yes"]);
    let start = format!(
        "ringroad: server 's0' ({}): UNLINK is answered with 'ERR unknown command",
        servers[0].address()
    );
    assert!(message.starts_with(&start), "{message}");
    assert!(
        message.ends_with("; 20 keys were scanned, 0 unlinked\n"),
        "{message}"
    );
    assert_eq!(files.json(&[])["strays"], json!(20));
}
