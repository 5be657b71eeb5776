//! The tests that the threat table of `docs/security.md` names.

use std::collections::BTreeSet;
use std::fs;

use super::{root, rust_files};

/// The words in backticks of the last column of a table that are names of functions.
fn named(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let last = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let words = last.flat_map(|column| column.split('`').skip(1).step_by(2));
    let is_name = |word: &&str| {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        word.bytes().all(is_part) && word.matches('_').count() > 1
    };
    words.filter(is_name).collect()
}

#[test]
fn threat_table_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, table) = text.split_once("## Threats").unwrap();
    let mut missing = named(table);
    assert!(missing.len() > 20, "{missing:?}");
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let code = fs::read_to_string(&file).unwrap();
        missing.retain(|name| !code.contains(&format!("fn {name}()")));
    }
    assert!(missing.is_empty(), "{missing:?}");
}
