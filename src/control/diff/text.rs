//! A difference as text.

use std::fmt;

use crate::config::{OnPlacementChange, Setting};
use crate::text::{Align, Printable, table};
use crate::topology::{MovedKeys, MovedRow, Percent};

use super::{
    ConfigDiff, PlacementChange, PoolDiff, Replacement, ServerChange, ServerChangeKind,
    SettingChange, Verdict,
};

/// The maximum number of rows of a table; of more, the largest are shown.
const ROWS_MAX: usize = 20;

impl fmt::Display for ConfigDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.removed {
            writeln!(f, "pool '{}': removed", Printable(name))?;
        }
        for name in &self.added {
            writeln!(f, "pool '{}': added", Printable(name))?;
        }
        for pool in &self.changed {
            write!(f, "{pool}")?;
        }
        for Replacement {
            old,
            new,
            placement,
        } in &self.replaced
        {
            let (old, new) = (Printable(old), Printable(new));
            write!(f, "pool '{new}': takes the place of '{old}'\n{placement}")?;
            if refusal("", placement).is_some() {
                writeln!(
                    f,
                    "  reload: refused; 'on_placement_change: swap' allows it"
                )?;
            }
        }
        if self.is_empty() {
            writeln!(f, "no difference")?;
        }
        Ok(())
    }
}

impl fmt::Display for PoolDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pool '{}': changed", Printable(&self.name))?;
        for setting in &self.settings {
            writeln!(f, "  {setting}")?;
        }
        for server in &self.servers {
            writeln!(f, "  {server}")?;
        }
        if let Some(placement) = &self.placement {
            write!(f, "{placement}")?;
        }
        self.write_hint(f)?;
        self.write_verdict(f)
    }
}

impl ConfigDiff {
    /// The reasons why a running proxy refuses the change, one line each; none if it applies.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        let changed = self.changed.iter().flat_map(PoolDiff::refusals);
        let replaced = self.replaced.iter().filter_map(
            |Replacement {
                 old,
                 new,
                 placement,
             }| {
                let subject = format!(
                    "pool '{}', in the place of '{}'",
                    Printable(new),
                    Printable(old)
                );
                refusal(&subject, placement)
            },
        );
        changed.chain(replaced).collect()
    }

    /// What changes, one line each.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let removed = self.removed.iter();
        let removed = removed.map(|name| format!("pool '{}': removed", Printable(name)));
        let added = self.added.iter();
        let added = added.map(|name| format!("pool '{}': added", Printable(name)));
        let changed = self.changed.iter().flat_map(PoolDiff::changes);
        removed.chain(added).chain(changed).collect()
    }
}

/// The reason why a change of the placement is refused, if it is.
fn refusal(subject: &str, placement: &PlacementChange) -> Option<String> {
    let is_refused = placement.rule == OnPlacementChange::Refuse && !placement.moved.is_empty();
    is_refused.then(|| {
        format!(
            "{subject}: {} would be looked for elsewhere; 'on_placement_change: swap' allows it, and leaves the keys that \
             move behind",
            placement.moved
        )
    })
}

impl PoolDiff {
    fn changes(&self) -> Vec<String> {
        let settings = self.settings.iter().map(ToString::to_string);
        let servers = self.servers.iter().map(ToString::to_string);
        let moved = self.placement.as_ref().map(|placement| &placement.moved);
        let moved = moved.filter(|moved| !moved.is_empty());
        let moved = moved.map(|moved| format!("{moved} are looked for elsewhere from now on"));
        let name = Printable(&self.name);
        let lines = settings.chain(servers).chain(moved);
        lines.map(|line| format!("pool '{name}': {line}")).collect()
    }

    fn refusals(&self) -> Vec<String> {
        let name = Printable(&self.name);
        let refused = self.unchangeable().map(|change| {
            let (directive, way) = (change.directive, change.way.unwrap_or_default());
            format!("pool '{name}': '{directive}' cannot change while the proxy runs: {way}")
        });
        let subject = format!("pool '{name}'");
        let placement = self
            .placement
            .as_ref()
            .and_then(|placement| refusal(&subject, placement));
        refused.chain(placement).collect()
    }

    /// Writes how to keep the keys of a server whose address was its name.
    fn write_hint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = |is_wanted: fn(&ServerChangeKind) -> bool| {
            let mut changes = self
                .servers
                .iter()
                .filter(move |change| is_wanted(&change.kind));
            changes.next().filter(|_| changes.next().is_none())
        };
        let gone = changes(|kind| matches!(kind, ServerChangeKind::Removed { .. }));
        let come = changes(|kind| matches!(kind, ServerChangeKind::Added { .. }));
        let (Some(gone), Some(come)) = (gone, come) else {
            return Ok(());
        };
        match (&gone.kind, &come.kind) {
            (
                ServerChangeKind::Removed { weight: old, .. },
                ServerChangeKind::Added { weight, address },
            ) if old == weight && !gone.name.contains(' ') => {
                let name = Printable(&gone.name);
                writeln!(
                    f,
                    "  if '{address}' has the keys of '{name}', write '{address}:{weight} {name}': the name decides which \
                     keys a server holds"
                )
            }
            _ => Ok(()),
        }
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unchangeable = self.unchangeable().next();
        match (self.verdict(), unchangeable) {
            (Verdict::Applies, _) => writeln!(f, "  reload: applies"),
            (Verdict::Swaps, _) => {
                writeln!(
                    f,
                    "  reload: applies; keys that move are left behind (on_placement_change: swap)"
                )
            }
            (Verdict::Refuses, Some(SettingChange { directive, way, .. })) => {
                let way = way.unwrap_or_default();
                writeln!(
                    f,
                    "  reload: refused; '{directive}' cannot change while the proxy runs: {way}"
                )
            }
            (Verdict::Refuses, None) => {
                writeln!(
                    f,
                    "  reload: refused; 'on_placement_change: swap' allows it, and leaves keys that move behind"
                )
            }
        }
    }
}

/// `timeout: 400 -> 500`.
impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            directive,
            old,
            new,
            ..
        } = self;
        match (old, new) {
            (Setting::Secret(_), _) | (_, Setting::Secret(_)) => write!(f, "{directive}: changed"),
            (Setting::File { path, .. }, Setting::File { path: new, .. }) if path == new => {
                write!(f, "{directive}: {} has another content", Printable(path))
            }
            _ => {
                let (old, new) = (old.to_string(), new.to_string());
                let (old, new) = (Printable(&old), Printable(&new));
                write!(f, "{directive}: {old} -> {new}")
            }
        }
    }
}

/// `server 'a': weight 1 -> 2`.
impl fmt::Display for ServerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server '{}': ", Printable(&self.name))?;
        match &self.kind {
            ServerChangeKind::Added { address, weight } => {
                write!(f, "added ({address}, weight {weight})")
            }
            ServerChangeKind::Removed { address, weight } => {
                write!(f, "removed ({address}, weight {weight})")
            }
            ServerChangeKind::Address { old, new } => write!(f, "address {old} -> {new}"),
            ServerChangeKind::Weight { old, new } => write!(f, "weight {old} -> {new}"),
        }
    }
}

/// Lines with the share of keys and a table.
impl fmt::Display for PlacementChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moved, .. } = self;
        if moved.is_empty() {
            return writeln!(f, "  all keys stay on their servers");
        }
        writeln!(f, "  {moved} would be looked for elsewhere:")?;
        write_table(f, moved)
    }
}

/// Writes the rows in the order of the servers, but if there are many, the largest first.
fn write_table(f: &mut fmt::Formatter<'_>, moved: &MovedKeys) -> fmt::Result {
    let mut rows: Vec<&MovedRow> = moved.rows.iter().collect();
    if rows.len() > ROWS_MAX {
        rows.sort_by(|a, b| b.share.total_cmp(&a.share));
    }
    let rest = rows.split_off(rows.len().min(ROWS_MAX));
    let shown = |row: &MovedRow| {
        let [from, to] = [&row.from, &row.to].map(|name| Printable(name).to_string());
        [from, to, Percent(row.share).to_string()]
    };
    let head = ["FROM", "TO", "KEYS"].map(str::to_owned);
    let rows: Vec<_> = [head]
        .into_iter()
        .chain(rows.into_iter().map(shown))
        .collect();
    for line in table([Align::Left, Align::Left, Align::Right], &rows).lines() {
        writeln!(f, "    {line}")?;
    }
    if !rest.is_empty() {
        let share = Percent(rest.iter().map(|row| row.share).sum());
        writeln!(f, "    and {} smaller, together {share}", rest.len())?;
    }
    Ok(())
}

impl Verdict {
    /// The word for programs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Applies => "apply",
            Self::Swaps => OnPlacementChange::Swap.name(),
            Self::Refuses => OnPlacementChange::Refuse.name(),
        }
    }
}
