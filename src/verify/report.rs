//! What a pass has found, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::console;
use crate::text::{Align, Printable, printable_key, size, table};
use crate::verify::scan::{Fix, Stray, Sums, Tally};
use crate::verify::servers::Server;

/// The result of a pass.
pub(super) struct Report<'r> {
    pub(super) pool: &'r str,
    pub(super) servers: &'r [Server],
    /// What may be misunderstood.
    pub(super) notes: &'r [String],
    /// What the pass did with strays.
    pub(super) fix: Fix,
    pub(super) tally: Tally,
    pub(super) examples: Examples,
}

/// The first strays of each kind.
#[derive(Debug, Default)]
pub(super) struct Examples {
    copies: Vec<Stray>,
    only: Vec<Stray>,
}

const EXAMPLES: usize = 3;

impl Examples {
    pub(super) fn add(&mut self, stray: &Stray) {
        let kind = if stray.is_copy {
            &mut self.copies
        } else {
            &mut self.only
        };
        if kind.len() < EXAMPLES {
            kind.push(stray.clone());
        }
    }
}

impl Report<'_> {
    /// Returns true if no stray is left.
    pub(super) fn is_clean(&self) -> bool {
        let Sums { keys, unlinked, .. } = self.tally.total();
        keys == unlinked
    }

    /// The question before a fix; none if it would unlink nothing.
    pub(super) fn question(&self, fix: Fix) -> Option<String> {
        const CAUTION: &str = "Do all proxies of these servers use this file?";
        let Sums { keys, copies, .. } = self.tally.total();
        let only = keys - copies;
        match fix {
            Fix::Copies if copies > 0 => {
                let kept = if only > 0 {
                    format!(" and keep {only} that are not")
                } else {
                    String::new()
                };
                Some(format!(
                    "{CAUTION} Unlink {copies} strays that are on their owner too{kept}? [y/N] "
                ))
            }
            Fix::All if keys > 0 => Some(format!(
                "{CAUTION} Unlink {keys} strays? {only} of them are not on their owner: they will be lost. [y/N] "
            )),
            Fix::Nothing | Fix::Copies | Fix::All => None,
        }
    }

    /// Strays by server and owner.
    fn table(&self) -> String {
        let head = ["ON", "OWNER", "STRAYS", "OWNER HAS TOO", "SIZE"].map(str::to_owned);
        let rows = self.tally.strays.iter().map(|((on, owner), sums)| {
            [
                name(self.servers, *on),
                name(self.servers, *owner),
                sums.keys.to_string(),
                sums.copies.to_string(),
                self.size(sums.bytes),
            ]
        });
        let rows: Vec<_> = [head].into_iter().chain(rows).collect();
        let right = Align::Right;
        table([Align::Left, Align::Left, right, right, right], &rows)
    }

    fn size(&self, bytes: u64) -> String {
        if self.tally.is_size_unknown {
            "-".to_owned()
        } else {
            size(bytes)
        }
    }

    fn write_kinds(&self, out: &mut String, total: Sums) {
        let Sums { keys, copies, .. } = total;
        let examples = |strays: &[Stray]| {
            let keys: Vec<_> = strays
                .iter()
                .map(|stray| printable_key(&stray.key))
                .collect();
            keys.join(", ")
        };
        if copies > 0 {
            let fate = match self.fix {
                Fix::Nothing => "--fix unlinks the strays",
                Fix::Copies | Fix::All => "the strays were unlinked",
            };
            let examples = examples(&self.examples.copies);
            let _ = writeln!(
                out,
                "  {copies} are on their owner too, where clients find them: {fate}\n    such as {examples}"
            );
        }
        if keys > copies {
            let only = keys - copies;
            let fate = match self.fix {
                Fix::Nothing | Fix::Copies => "--fix keeps them, unless with --drop-only-copies",
                Fix::All => "they were unlinked",
            };
            let examples = examples(&self.examples.only);
            let _ = writeln!(
                out,
                "  {only} are not on their owner, so clients do not find them: {fate}\n    such as {examples}"
            );
        }
        if self.fix != Fix::Nothing {
            let _ = writeln!(
                out,
                "  unlinked: {}, left: {}",
                total.unlinked,
                keys - total.unlinked
            );
        }
    }
}

impl console::Report for Report<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        let (scanned, total) = (self.tally.scanned(), self.tally.total());
        let pool = Printable(self.pool);
        // Writing to a String cannot fail.
        let _ = match total.keys {
            0 => writeln!(
                out,
                "pool '{pool}': all {scanned} keys are where the file looks for them"
            ),
            keys => writeln!(
                out,
                "pool '{pool}': {keys} of {scanned} keys are not where the file looks for them"
            ),
        };
        if total.keys > 0 {
            for line in self.table().lines() {
                let _ = writeln!(out, "  {line}");
            }
            self.write_kinds(&mut out, total);
        }
        if self.tally.is_size_unknown {
            let _ = writeln!(
                out,
                "note: a server does not tell the size of its keys (MEMORY USAGE)"
            );
        }
        for note in self.notes {
            let _ = writeln!(out, "note: {}", Printable(note));
        }
        out
    }

    fn json(&self) -> Value {
        let total = self.tally.total();
        let keys = |index: usize| self.tally.keys.get(&index).copied();
        let servers = self.servers.iter().map(|server| {
            json!({
                "name": server.name,
                "address": server.address.to_string(),
                "keys": keys(server.instance),
            })
        });
        let bytes = |bytes: u64| (!self.tally.is_size_unknown).then_some(bytes);
        let strays = self.tally.strays.iter().map(|((on, owner), sums)| {
            json!({
                "on": name(self.servers, *on),
                "owner": name(self.servers, *owner),
                "keys": sums.keys,
                "copies": sums.copies,
                "unlinked": sums.unlinked,
                "bytes": bytes(sums.bytes),
            })
        });
        json!({
            "pool": self.pool,
            "keys": self.tally.scanned(),
            "strays": total.keys,
            "copies": total.copies,
            "unlinked": total.unlinked,
            "bytes": bytes(total.bytes),
            "servers": servers.collect::<Vec<_>>(),
            "from_to": strays.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// A line for each stray: server, owner, database, `copy` or `only`, bytes, key, separated by tabs.
pub(super) fn stray_text(stray: &Stray, servers: &[Server]) -> String {
    let (on, owner) = (name(servers, stray.on), name(servers, stray.owner));
    let kind = if stray.is_copy { "copy" } else { "only" };
    let bytes = stray
        .bytes
        .map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    let (database, key) = (stray.database, printable_key(&stray.key));
    format!("{on}\t{owner}\t{database}\t{kind}\t{bytes}\t{key}")
}

/// The same as an object. A key that is not UTF-8 is in hexadecimal digits.
pub(super) fn stray_json(stray: &Stray, servers: &[Server]) -> Value {
    let key = str::from_utf8(&stray.key);
    let hex = |_| {
        let mut hex = String::new();
        for byte in &stray.key {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    };
    json!({
        "on": name(servers, stray.on),
        "owner": name(servers, stray.owner),
        "database": stray.database,
        "copy": stray.is_copy,
        "bytes": stray.bytes,
        "unlinked": stray.is_unlinked,
        "key": key.ok(),
        "key_hex": key.err().map(hex),
    })
}

fn name(servers: &[Server], index: usize) -> String {
    let server = servers.get(index).map(|server| server.name.as_str());
    Printable(server.unwrap_or_default()).to_string()
}
