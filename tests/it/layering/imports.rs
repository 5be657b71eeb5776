//! Imports between the files of a crate, followed through every `pub use` to the file that defines the item.
//!
//! Not a compiler: it sees only paths, so a method call on a value from elsewhere is no import. Code under
//! `#[cfg(test)]` is skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::source::{tokens, without_tests};

/// An import of something that another file defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    /// The path as written, such as `crate::proxy::Session`.
    pub(super) path: String,
}

/// A path split at `::`, without the crate's name.
type Segments = Vec<String>;

/// One module: that of a file, or one written inline.
#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    /// The names that it imports, under which other modules may refer to the items.
    names: BTreeMap<String, Segments>,
    globs: Vec<Segments>,
    /// The names that its own code defines.
    defined: BTreeSet<String>,
}

/// A path in a file, as found by the reader.
#[derive(Debug)]
struct Mention {
    file: PathBuf,
    path: Segments,
    /// The name under which a `pub use` re-exports it.
    exported: Option<String>,
}

/// The modules of a crate, and the paths in them.
#[derive(Debug, Default)]
pub(super) struct Crate {
    modules: BTreeMap<Segments, Module>,
    mentions: Vec<Mention>,
    words: BTreeMap<PathBuf, BTreeMap<String, usize>>,
}

impl Crate {
    /// Reads files, each by its path inside `src` and its text.
    pub(super) fn read(files: &[(PathBuf, String)]) -> Self {
        let codes: Vec<_> = files
            .iter()
            .map(|(file, source)| (file, without_tests(tokens(source))))
            .collect();
        let mut test_modules = Vec::new();
        for (file, code) in &codes {
            for name in &code.test_modules {
                let mut path = module_path(file);
                path.push(name.clone());
                test_modules.push(path);
            }
        }
        let mut all = Self::default();
        for (file, code) in &codes {
            let path = module_path(file);
            if !test_modules.iter().any(|tests| path.starts_with(tests)) {
                Reader::new(&mut all, file, &code.tokens).read();
            }
        }
        all
    }

    /// All imports between two files.
    pub(super) fn imports(&self) -> BTreeSet<Import> {
        let mut found = BTreeSet::new();
        for mention in &self.mentions {
            let written = format!("crate::{}", mention.path.join("::"));
            // A re-export alone is no import: its users import the item from the defining file.
            let exported = mention.exported.as_ref();
            if exported.is_some_and(|name| self.uses_of(&mention.file, name) < 2) {
                continue;
            }
            for to in self.targets(mention) {
                if to != mention.file {
                    found.insert(Import {
                        from: mention.file.clone(),
                        to,
                        path: written.clone(),
                    });
                }
            }
        }
        found
    }

    /// The files that define what a path names.
    fn targets(&self, mention: &Mention) -> Vec<PathBuf> {
        match mention.path.split_last() {
            Some((star, module)) if star == "*" => self.glob_targets(&mention.file, module),
            _ => Vec::from_iter(self.file_of(&mention.path, 0)),
        }
    }

    /// The files that define the names of a module that `file` uses.
    fn glob_targets(&self, file: &Path, module: &[String]) -> Vec<PathBuf> {
        let Some(found) = self.modules.get(&self.module_of(module, 0)) else {
            return Vec::new();
        };
        let mut targets = Vec::new();
        for name in found.names.keys().chain(&found.defined) {
            if self.uses_of(file, name) > 0 {
                let path = [module, std::slice::from_ref(name)].concat();
                targets.extend(self.file_of(&path, 0));
            }
        }
        for glob in &found.globs {
            targets.extend(self.glob_targets(file, glob));
        }
        targets
    }

    /// The file that defines an item; none if the path names a module.
    fn file_of(&self, path: &[String], depth: usize) -> Option<PathBuf> {
        let mut module = Vec::new();
        for (nth, segment) in path.iter().enumerate() {
            let child = [module.as_slice(), std::slice::from_ref(segment)].concat();
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let found = self.modules.get(&module)?;
            if depth < 8 && !found.defined.contains(segment) {
                if let Some(full) = found.names.get(segment) {
                    let full = [full.as_slice(), &path[nth + 1..]].concat();
                    return self.file_of(&full, depth + 1);
                }
                for glob in &found.globs {
                    let full = [glob.as_slice(), &path[nth..]].concat();
                    let is_there = self.modules.get(glob).is_some_and(|module| {
                        module.defined.contains(segment) || module.names.contains_key(segment)
                    });
                    if is_there {
                        return self.file_of(&full, depth + 1);
                    }
                }
            }
            return Some(found.file.clone());
        }
        None
    }

    /// The module that a path names, where some of its segments may be imported ones.
    fn module_of(&self, path: &[String], depth: usize) -> Segments {
        let mut module = Vec::new();
        for (nth, segment) in path.iter().enumerate() {
            let child = [module.as_slice(), std::slice::from_ref(segment)].concat();
            if self.modules.contains_key(&child) {
                module = child;
            } else if let Some(full) = self.modules.get(&module).and_then(|m| m.names.get(segment))
                && depth < 8
            {
                return self.module_of(&[full.as_slice(), &path[nth + 1..]].concat(), depth + 1);
            }
        }
        module
    }

    fn uses_of(&self, file: &Path, name: &str) -> usize {
        let words = self.words.get(file);
        words
            .and_then(|words| words.get(name))
            .copied()
            .unwrap_or(0)
    }
}

/// The first pass over one file.
#[derive(Debug)]
struct Reader<'c> {
    all: &'c mut Crate,
    file: &'c Path,
    tokens: &'c [String],
    /// The module that the reader is in.
    module: Segments,
    /// For each open brace: true if it is that of a module.
    open: Vec<bool>,
}

impl<'c> Reader<'c> {
    fn new(all: &'c mut Crate, file: &'c Path, tokens: &'c [String]) -> Self {
        let module = module_path(file);
        let file_module = all.modules.entry(module.clone()).or_default();
        // What main.rs has is private to it; the root is lib.rs.
        if file != Path::new("main.rs") {
            file_module.file = file.to_owned();
        }
        let words = all.words.entry(file.to_owned()).or_default();
        for word in tokens {
            *words.entry(word.clone()).or_default() += 1;
        }
        Self {
            all,
            file,
            tokens,
            module,
            open: Vec::new(),
        }
    }

    fn token(&self, at: usize) -> &'c str {
        self.tokens.get(at).map_or("", String::as_str)
    }

    fn read(mut self) {
        let mut at = 0;
        // Names may be used above the `use` that imports them.
        let mut paths = Vec::new();
        while at < self.tokens.len() {
            at = match self.token(at) {
                "use" => self.read_use(at + 1),
                "mod" if self.token(at + 2) == "{" => {
                    self.module.push(self.token(at + 1).to_owned());
                    let inline = self.all.modules.entry(self.module.clone()).or_default();
                    inline.file = self.file.to_owned();
                    self.open.push(true);
                    at + 3
                }
                "mod" => {
                    let name = self.token(at + 1).to_owned();
                    let full = [self.module.as_slice(), std::slice::from_ref(&name)].concat();
                    self.names().insert(name, full);
                    at + 2
                }
                "struct" | "enum" | "trait" | "union" | "type" | "fn" | "const" | "static"
                    if self.open.iter().all(|is_module| *is_module) =>
                {
                    let name = self.token(at + 1).to_owned();
                    self.here().defined.insert(name);
                    at + 1
                }
                "{" => {
                    self.open.push(false);
                    at + 1
                }
                "}" => {
                    if self.open.pop() == Some(true) {
                        self.module.pop();
                    }
                    at + 1
                }
                word if is_name(word) && self.token(at + 1) == "::" && self.begins_path(at) => {
                    let mut path = vec![word.to_owned()];
                    let mut end = at + 1;
                    while self.token(end) == "::" && is_name(self.token(end + 1)) {
                        path.push(self.token(end + 1).to_owned());
                        end += 2;
                    }
                    paths.push((self.module.clone(), path));
                    end
                }
                _ => at + 1,
            };
        }
        for (module, path) in paths {
            self.module = module;
            if let Some(path) = self.full(path) {
                self.mention(path, None);
            }
        }
    }

    fn begins_path(&self, at: usize) -> bool {
        at == 0 || !["::", "."].contains(&self.token(at - 1))
    }

    fn here(&mut self) -> &mut Module {
        self.all.modules.entry(self.module.clone()).or_default()
    }

    fn names(&mut self) -> &mut BTreeMap<String, Segments> {
        &mut self.here().names
    }

    fn mention(&mut self, path: Segments, exported: Option<String>) {
        self.all.mentions.push(Mention {
            file: self.file.to_owned(),
            path,
            exported,
        });
    }

    /// A path from the root of the crate; none if it leads to another crate.
    fn full(&self, mut path: Segments) -> Option<Segments> {
        let first = path.first()?.clone();
        match first.as_str() {
            "crate" | "ringroad" => Some(path.split_off(1)),
            "self" => Some([self.module.as_slice(), &path[1..]].concat()),
            "super" => {
                let mut module = self.module.clone();
                let climb = path.iter().take_while(|name| *name == "super").count();
                module.truncate(module.len().saturating_sub(climb));
                Some([module.as_slice(), &path[climb..]].concat())
            }
            name => {
                let names = &self.all.modules.get(&self.module)?.names;
                let full = names.get(name)?.clone();
                Some([full.as_slice(), &path[1..]].concat())
            }
        }
    }

    /// Reads the tree of a `use` to its semicolon.
    fn read_use(&mut self, at: usize) -> usize {
        let before = at.checked_sub(2).map_or("", |at| self.token(at));
        let is_public = before == "pub" || before == ")";
        let mut leaves = Vec::new();
        let end = self.read_tree(at, &[], &mut leaves);
        for (path, name) in leaves {
            let Some(full) = self.full(path) else {
                continue;
            };
            if name == "*" {
                self.here().globs.push(full.clone());
                self.mention([full, vec![name]].concat(), None);
            } else {
                self.mention(full.clone(), is_public.then(|| name.clone()));
                self.names().insert(name, full);
            }
        }
        end
    }

    fn read_tree(
        &self,
        mut at: usize,
        prefix: &[String],
        leaves: &mut Vec<(Segments, String)>,
    ) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match self.token(at) {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while self.token(at) != "}" && at < self.tokens.len() {
                        at = self.read_tree(at, &path, leaves);
                        at += usize::from(self.token(at) == ",");
                    }
                    return at + 1;
                }
                "*" => {
                    leaves.push((path, "*".to_owned()));
                    return at + 1;
                }
                "as" => {
                    leaves.push((path, self.token(at + 1).to_owned()));
                    return at + 2;
                }
                "self" if !path.is_empty() => at += 1,
                word if is_name(word) => {
                    path.push(word.to_owned());
                    at += 1;
                }
                _ => {
                    let name = path.last().cloned().unwrap_or_default();
                    leaves.push((path, name));
                    return at;
                }
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// `pool/health.rs` is `["pool", "health"]`, `pool/mod.rs` is `["pool"]`, and the root is empty.
fn module_path(file: &Path) -> Segments {
    let names = file.with_extension("");
    let mut names: Vec<_> = names
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if matches!(
        names.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        names.pop();
    }
    names
}
