//! Detection of import cycles between files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::imports::Import;

type Edges<'i> = BTreeMap<&'i Path, BTreeMap<&'i Path, &'i str>>;

/// Describes each strongly connected set of files, with a shortest cycle in it.
pub(super) fn circles(imports: &[Import]) -> Vec<String> {
    let mut edges = Edges::new();
    for import in imports {
        let to = edges.entry(&import.from).or_default();
        to.insert(&import.to, &import.path);
    }
    let reach: BTreeMap<_, _> = edges
        .keys()
        .map(|from| (*from, reached_from(from, &edges)))
        .collect();
    let reaches = |from, to| reach.get(from).is_some_and(|all| all.contains(to));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for file in edges.keys() {
        if !reaches(*file, *file) || !seen.insert(*file) {
            continue;
        }
        let circle: Vec<_> = edges
            .keys()
            .filter(|other| reaches(*file, **other) && reaches(**other, *file))
            .copied()
            .collect();
        let shortest = circle.iter().map(|file| shortest(file, &edges));
        let shortest = shortest.min_by_key(Vec::len).unwrap_or_default();
        let names: Vec<_> = circle.iter().map(|file| file.to_string_lossy()).collect();
        found.push(format!(
            "{} files: {}; the shortest circle: {}",
            circle.len(),
            names.join(", "),
            shortest.join(", ")
        ));
        seen.extend(circle);
    }
    found
}

fn reached_from<'i>(from: &Path, edges: &Edges<'i>) -> BTreeSet<&'i Path> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        for to in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*to) {
                next.push(to);
            }
        }
    }
    reached
}

/// The imports of a shortest path from a file back to itself.
fn shortest(file: &Path, edges: &Edges<'_>) -> Vec<String> {
    let mut came_from: BTreeMap<&Path, (&Path, &str)> = BTreeMap::new();
    let mut next = VecDeque::from([file]);
    while let Some(from) = next.pop_front() {
        for (to, path) in edges.get(from).into_iter().flatten() {
            if *to == file {
                let mut steps = vec![step(from, path)];
                let mut at = from;
                while let Some((before, path)) = came_from.get(at) {
                    steps.insert(0, step(before, path));
                    at = before;
                }
                return steps;
            }
            if !came_from.contains_key(to) && *to != file {
                came_from.insert(*to, (from, *path));
                next.push_back(to);
            }
        }
    }
    Vec::new()
}

fn step(from: &Path, path: &str) -> String {
    format!("src/{} imports {path}", from.display())
}

#[test]
fn circles_are_found_whole_and_apart() {
    let edges = ["a b", "b c", "c a", "c d", "d e", "e d", "e f", "a c"];
    let imports: Vec<_> = edges
        .iter()
        .map(|edge| {
            let (from, to) = edge.split_once(' ').unwrap();
            Import {
                from: from.into(),
                to: to.into(),
                path: to.to_owned(),
            }
        })
        .collect();
    assert_eq!(
        circles(&imports),
        [
            "3 files: a, b, c; the shortest circle: src/a imports c, src/c imports a",
            "2 files: d, e; the shortest circle: src/d imports e, src/e imports d",
        ]
    );
    assert!(circles(&imports[..2]).is_empty());
}
