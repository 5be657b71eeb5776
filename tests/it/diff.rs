//! `ringroad diff`: what a change of the file would do, and its exit codes.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const OLD: &str = "\
alpha:
  listen: 127.0.0.1:22121
  redis: true
  distribution: modula
  servers:
    - 127.0.0.1:6379:1 one
    - 127.0.0.1:6380:1 two
beta:
  listen: 127.0.0.1:22122
  servers:
    - 127.0.0.1:11211:1
";

/// A directory with `old.yml` and `new.yml`.
fn files(new: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("old.yml"), OLD).unwrap();
    std::fs::write(dir.path().join("new.yml"), new).unwrap();
    dir
}

fn diff(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .current_dir(dir)
        .arg("diff")
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn diff_of_equal_files_exits_0() {
    let dir = files(&format!("# a comment\n{OLD}"));
    let output = diff(dir.path(), &["old.yml", "new.yml"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "no difference\n");
}

#[test]
fn diff_shows_changes_and_moved_keys_and_exits_1() {
    let new = OLD
        .replace("distribution", "timeout: 400\n  distribution")
        .replace("6380:1 two", "6380:2 two");
    let dir = files(new.split("beta:").next().unwrap());
    let output = diff(dir.path(), &["--", "old.yml", "new.yml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let expected = "\
pool 'beta': removed
pool 'alpha': changed
  timeout: none -> 400
  server 'two': weight 1 -> 2
  50.0% of the keys would be looked for elsewhere:
    FROM  TO    KEYS
    one   two  33.3%
    two   one  16.7%
  reload: refused; 'on_placement_change: swap' allows it, and leaves keys that move behind
";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn diff_prints_json() {
    let dir = files(&OLD.replace("6380:1 two", "6381:1 two"));
    let output = diff(dir.path(), &["--json", "old.yml", "new.yml"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let pool = &json["changed"][0];
    assert_eq!(
        (&pool["name"], &pool["reload"]),
        (&"alpha".into(), &"apply".into())
    );
    assert_eq!(pool["servers"][0]["new"]["address"], "127.0.0.1:6381");

    let output = diff(dir.path(), &["--json", "old.yml", "old.yml"]);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["changed"], serde_json::json!([]));
}

#[test]
fn diff_of_faulty_files_reports_both_and_exits_2() {
    let dir = files(&OLD.replace("modula", "modulo"));
    std::fs::write(dir.path().join("old.yml"), OLD.replace("redis", "rediss")).unwrap();
    let output = diff(dir.path(), &["old.yml", "new.yml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let expected = "\
old.yml:3: pool 'alpha': key 'rediss': unknown directive; did you mean 'redis'?
new.yml:4: pool 'alpha': key 'distribution': 'modulo' is not a valid distribution; did you mean 'modula'?
";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn diff_usage_error_exits_2() {
    let dir = files(OLD);
    let two_files = "diff requires two files, the old one and the new one";
    let cases: [(&[&str], &str); 5] = [
        (&[], two_files),
        (&["old.yml"], two_files),
        (&["old.yml", "new.yml", "third.yml"], two_files),
        (&["old.yml", "new.yml", "-q"], "invalid option -- 'q'"),
        (&["--pool", "a"], "unrecognized option '--pool'"),
    ];
    for (args, message) in cases {
        let output = diff(dir.path(), args);
        let stderr = text(&output.stderr);
        let expected = format!("ringroad: {message}\nUsage:");
        assert!(stderr.starts_with(&expected), "{args:?}: {stderr}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let output = diff(dir.path(), &["-h"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("\n       ringroad diff "));
}
