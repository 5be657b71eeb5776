//! The walls of the house: a module imports only from lower layers, siblings of one layer do not import each other, and no
//! file outgrows its reader.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the ground up. What a file in one imports must lie in a lower one, or in its own room.
const LAYERS: &[&[&str]] = &[
    &["buf", "net", "hash", "stats"],
    &["protocol", "config"],
    &["topology"],
    &["proxy"],
    &["runtime", "control", "admin"],
    &["cli", "daemon", "log"],
    &["signals"],
    &["app"],
    &["lib", "main"],
];

const LONGEST_FILE_LINES: usize = 500;

#[test]
fn modules_import_only_from_lower_layers() {
    let mut edges = 0;
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let module = module_path(&file);
        for imported in imports(&fs::read_to_string(&file).unwrap(), &module) {
            edges += 1;
            if let Err(why) = judge(&module[0], &imported) {
                wrong.push(format!("{}: {why}", file.display()));
            }
        }
    }
    assert!(edges > 0, "the reader of imports found none");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long: Vec<_> = ["src", "tests", "benches"]
        .into_iter()
        .flat_map(rust_files)
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST_FILE_LINES)
        .collect();
    assert!(long.is_empty(), "over {LONGEST_FILE_LINES} lines: {long:?}");
}

/// Whether a file in the room `from` may import the room `to`.
fn judge(from: &str, to: &str) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    let layer = |room: &str| {
        let found = LAYERS.iter().position(|rooms| rooms.contains(&room));
        found.ok_or_else(|| format!("`{room}` is in no layer"))
    };
    match layer(from)?.cmp(&layer(to)?) {
        std::cmp::Ordering::Greater => Ok(()),
        std::cmp::Ordering::Equal => Err(format!("`{from}` imports its sibling `{to}`")),
        std::cmp::Ordering::Less => Err(format!("`{from}` imports `{to}`, which is above it")),
    }
}

/// The top-level modules of the crate that `source` names, by `crate::`, by `ringroad::` or by climbing with `super::`.
fn imports(source: &str, module: &[String]) -> Vec<String> {
    let code = without_comments(source);
    let mut found = Vec::new();
    // The braces that are open, and which of them belong to an inline module.
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        let is_word_start = !code[..at].ends_with(is_word) && !code[..at].ends_with("::");
        let climb = rest.len() - rest.trim_start_matches("super::").len();
        if is_word_start && (rest.starts_with("crate::") || rest.starts_with("ringroad::")) {
            let start = rest.find("::").unwrap_or_default() + 2;
            found.extend(first_segments(&rest[start..]));
            at += start;
        } else if is_word_start && climb > 0 {
            let inline = open.iter().filter(|is_module| **is_module).count();
            // lib.rs and main.rs are the root itself; so is what climbs as far as it is deep.
            if climb / "super::".len() == module.len() + inline {
                found.extend(first_segments(&rest[climb..]));
            }
            at += climb;
        } else {
            let next = rest.chars().next().unwrap_or_default();
            match next {
                '{' => open.push(opens_module(&code[..at])),
                '}' => drop(open.pop()),
                _ => {}
            }
            at += next.len_utf8();
        }
    }
    found
}

/// The names that a path such as `a::B`, or a group such as `{a::{B, C}, d}`, begins with.
fn first_segments(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|c| is_word(*c)).collect()];
    };
    let mut depth = 0;
    let mut names = vec![String::new()];
    let mut in_first = true;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(String::new());
                in_first = true;
            }
            c if depth == 0 && in_first && is_word(c) => names.last_mut().unwrap().push(c),
            c if depth == 0 && !c.is_whitespace() => in_first = false,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Whether the brace that follows `code` is that of `mod name`.
fn opens_module(code: &str) -> bool {
    let mut words = code.split_whitespace().rev();
    let is_name = words.next().is_some_and(|name| name.chars().all(is_word));
    is_name && words.next() == Some("mod")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_comments(source: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    source.lines().map(|line| code(line) + "\n").collect()
}

/// `src/pool/health.rs` is `["pool", "health"]`.
fn module_path(file: &Path) -> Vec<String> {
    let inside = file
        .strip_prefix(root().join("src"))
        .unwrap()
        .with_extension("");
    let mut names: Vec<String> = inside
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if names.len() > 1 && names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_judge_knows_up_and_sideways() {
    assert!(judge("topology", "hash").is_ok());
    assert!(judge("topology", "topology").is_ok());
    assert!(judge("hash", "topology").is_err());
    assert!(judge("config", "protocol").is_err());
    assert!(judge("cupboard", "hash").is_err());
}

#[test]
fn the_reader_finds_every_way_to_import() {
    let module = ["pool".to_owned(), "health".to_owned()];
    let cases: [(&str, &[&str]); 10] = [
        ("use crate::hash::Kind;", &["hash"]),
        (
            "use crate::{buf::Frame, proxy::{Session, Slot}, net};",
            &["buf", "proxy", "net"],
        ),
        ("fn f(x: &crate::routing::Router) {}", &["routing"]),
        ("use super::super::proxy::Session;", &["proxy"]),
        ("use super::Ejection;", &[]),
        ("mod tests {\n    use super::super::Ejection;\n}", &[]),
        (
            "mod tests {\n    use super::super::super::admin;\n}",
            &["admin"],
        ),
        ("fn f() { g::<super::super::stats::Cell>() }", &["stats"]),
        ("// use crate::proxy::Session;", &[]),
        ("use other_crate::proxy; use a::crate_::b;", &[]),
    ];
    for (source, expected) in cases {
        assert_eq!(imports(source, &module), expected, "{source}");
    }
}
