//! The layers of the crate: a file imports only from lower layers, siblings in one layer do not import each other,
//! there are no import cycles, and no file is too long.

mod circles;
mod imports;
mod source;
mod threats;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use circles::circles;
use imports::{Crate, Import};

/// The layers of a folder from the bottom up, with the files and folders in each; `mod` is its own file.
///
/// `docs/architecture.md` describes each. A new file or folder is added here first.
type Layers = &'static [&'static [&'static str]];

const FOLDERS: &[(&str, Layers)] = &[
    (
        "",
        &[
            &["console", "file", "text"],
            &[
                "buf", "daemon", "hash", "journal", "log", "net", "observe", "quota", "stats",
                "systemd",
            ],
            &["config"],
            &["topology"],
            &["protocol"],
            &["handover", "proxy", "redis_client"],
            &["mover"],
            &["admin", "control", "copy", "reshard", "signals", "verify"],
            &["cli", "runtime"],
            &["app", "ctl"],
            &["lib", "main"],
        ],
    ),
    ("protocol", &[&[OTHERS], &["memcached", "redis"], &["mod"]]),
    (
        "protocol/redis",
        &[
            &["resp"],
            &["command"],
            &["acl"],
            &["error"],
            &["state"],
            &["capability", "mark"],
            &["merge"],
            &["local", "observed", "survey"],
            &["monitor_line"],
            &["plan"],
            &["mod"],
            &["client_state", "observer"],
        ],
    ),
    (
        "proxy",
        &[
            &["worker"],
            &["replies"],
            &["upstream"],
            &["pubsub"],
            &["pool"],
            &["forward"],
            &["blocking", "survey", "transaction"],
            &["dispatch"],
            &["client"],
            &["mod"],
        ],
    ),
];

/// The placeholder for all that a folder's layers do not name.
const OTHERS: &str = "*";

const LONGEST_FILE_LINES: usize = 500;

#[test]
fn files_import_only_from_lower_layers() {
    let imports = all_imports();
    assert!(imports.len() > 500, "the reader finds too few imports");
    let mut seen = BTreeSet::new();
    let wrong: Vec<_> = imports
        .iter()
        .filter(|import| seen.insert((&import.from, &import.to)))
        .filter_map(violation)
        .collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles(&all_imports());
    assert!(found.is_empty(), "{}\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = ["src", "tests", "benches"]
        .into_iter()
        .flat_map(rust_files)
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST_FILE_LINES)
        .collect();
    assert!(long.is_empty(), "over {LONGEST_FILE_LINES} lines: {long:?}");
}

#[test]
fn each_file_has_a_layer() {
    let files = rust_files("src");
    let homeless: Vec<_> = files
        .iter()
        .map(|file| segments(file.strip_prefix(root().join("src")).unwrap()))
        .filter(|segments| segments.last().is_none_or(|last| last != "tests"))
        .flat_map(|segments| {
            let inside = FOLDERS.iter().filter_map(move |(folder, layers)| {
                let child = child_in(folder, &segments)?;
                let is_unlisted = layer_of(child, layers).is_none() && child != "tests";
                is_unlisted.then(|| format!("`{child}` is in no layer of src/{folder}"))
            });
            inside.collect::<Vec<_>>()
        })
        .collect();
    assert!(homeless.is_empty(), "{}", homeless.join("\n"));
}

/// Describes the violation of an import, if there is one.
fn violation(import: &Import) -> Option<String> {
    let (from, to) = (segments(&import.from), segments(&import.to));
    let why = FOLDERS.iter().find_map(|(folder, layers)| {
        let (from, to) = (child_in(folder, &from)?, child_in(folder, &to)?);
        check(from, to, layers).err()
    })?;
    let (from, to) = (import.from.display(), import.to.display());
    Some(format!("src/{from}: {} (src/{to}): {why}", import.path))
}

/// Checks that something in `from` may import something in `to`.
fn check(from: &str, to: &str, layers: Layers) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    let layer =
        |child: &str| layer_of(child, layers).ok_or_else(|| format!("`{child}` is in no layer"));
    let (below, above) = (layer(to)?, layer(from)?);
    match above.cmp(&below) {
        std::cmp::Ordering::Greater => Ok(()),
        // Files that no layer names are ordered by the check for cycles alone.
        std::cmp::Ordering::Equal if layers[above] == [OTHERS] => Ok(()),
        std::cmp::Ordering::Equal => Err(format!("`{from}` imports its sibling `{to}`")),
        std::cmp::Ordering::Less => Err(format!(
            "`{from}` (layer {above}) imports `{to}` (layer {below}), which is above it"
        )),
    }
}

fn layer_of(child: &str, layers: Layers) -> Option<usize> {
    let named = layers.iter().position(|names| names.contains(&child));
    named.or_else(|| layers.iter().position(|names| names.contains(&OTHERS)))
}

/// `proxy/pool/mod.rs` is `["proxy", "pool", "mod"]`.
fn segments(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    names
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The child of `folder` that a file is, or is in.
fn child_in<'r>(folder: &str, segments: &'r [String]) -> Option<&'r str> {
    let mut segments = segments.iter();
    for name in folder.split('/').filter(|name| !name.is_empty()) {
        if segments.next()? != name {
            return None;
        }
    }
    segments.next().map(String::as_str)
}

fn all_imports() -> Vec<Import> {
    let files: Vec<_> = rust_files("src")
        .into_iter()
        .map(|file| {
            let inside = file.strip_prefix(root().join("src")).unwrap().to_owned();
            (inside, fs::read_to_string(&file).unwrap())
        })
        .collect();
    Crate::read(&files).imports().into_iter().collect()
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
fn layers_forbid_up_and_sideways() {
    let import = |from: &str, to: &str| Import {
        from: from.into(),
        to: to.into(),
        path: "crate::x".to_owned(),
    };
    let cases = [
        ("topology/mod.rs", "hash/mod.rs", true),
        ("topology/router.rs", "topology/mod.rs", true),
        ("hash/mod.rs", "topology/mod.rs", false),
        ("hash/mod.rs", "buf/read.rs", false),
        ("cupboard.rs", "hash/mod.rs", false),
        ("proxy/dispatch/mod.rs", "proxy/pool/mod.rs", true),
        ("proxy/pool/mod.rs", "proxy/dispatch/mod.rs", false),
        ("proxy/pool/mod.rs", "proxy/cupboard.rs", false),
        ("protocol/codec.rs", "protocol/error.rs", true),
        ("protocol/codec.rs", "protocol/redis/mod.rs", false),
        ("protocol/memcached/mod.rs", "protocol/redis/mod.rs", false),
        (
            "protocol/redis/resp/args.rs",
            "protocol/redis/error.rs",
            false,
        ),
        ("protocol/redis/plan/mod.rs", "protocol/redis/mod.rs", false),
    ];
    for (from, to, is_fine) in cases {
        assert_eq!(
            violation(&import(from, to)).is_none(),
            is_fine,
            "{from} {to}"
        );
    }
}

#[test]
fn imports_lead_to_the_defining_file() {
    let files: BTreeMap<&str, &str> = [
        ("lib.rs", "pub mod a; pub mod b; pub mod d;"),
        (
            "a/mod.rs",
            "mod one; mod two; pub use one::{One, other as Other}; pub struct Own;",
        ),
        ("a/one.rs", "pub struct One; pub fn other() {}"),
        (
            "a/two.rs",
            "pub fn two() {} #[cfg(test)] mod tests { use crate::b::B; }",
        ),
        ("a/tests.rs", "use crate::b::B;"),
        (
            "b.rs",
            "pub mod all { pub use crate::a::*; pub use crate::d::D; } pub struct B;",
        ),
        ("d.rs", "pub struct D;"),
    ]
    .into();
    let cases: [(&str, &[&str]); 13] = [
        ("use crate::a::One; fn f(_: One) {}", &["a/one.rs"]),
        (
            "use crate::{a::{One, Own}, b::B}; fn f(_: One, _: Own, _: B) {}",
            &["a/mod.rs", "a/one.rs", "b.rs"],
        ),
        ("fn f(x: &crate::a::Own) {}", &["a/mod.rs"]),
        ("use crate::a::two; fn f() { two::two() }", &["a/two.rs"]),
        (
            "use crate::a::{self as x}; fn f() { x::Other() }",
            &["a/one.rs"],
        ),
        ("use super::d; fn f(_: d::D) {}", &["d.rs"]),
        (
            "mod inner { use super::super::d::D; struct S(D); }",
            &["d.rs"],
        ),
        ("fn f() { g::<super::d::D>() }", &["d.rs"]),
        (
            "use crate::b::all::*; fn f(_: One, _: D) {}",
            &["a/one.rs", "d.rs"],
        ),
        ("use crate::b::all::*; fn f() {}", &[]),
        ("pub use crate::d::D;", &[]),
        (
            "#[cfg(test)] mod tests { use crate::d::D; fn f(_: D) {} }",
            &[],
        ),
        (
            "// use crate::d::D;\nuse other_crate::d; use x::crate_::d;",
            &[],
        ),
    ];
    for (source, expected) in cases {
        let files: Vec<_> = files
            .iter()
            .map(|(file, source)| (PathBuf::from(file), (*source).to_owned()))
            .chain([(PathBuf::from("c.rs"), source.to_owned())])
            .collect();
        let imports = Crate::read(&files).imports();
        let found: BTreeSet<_> = imports
            .iter()
            .filter(|import| import.from == Path::new("c.rs"))
            .map(|import| import.to.to_str().unwrap())
            .collect();
        assert_eq!(Vec::from_iter(found), expected, "{source}");
    }
}
