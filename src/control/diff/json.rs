//! A difference as JSON.

use serde_json::{Value, json};

use crate::config::Setting;
use crate::topology::Basis;

use super::{
    ConfigDiff, PlacementChange, PoolDiff, Replacement, ServerChange, ServerChangeKind,
    SettingChange,
};

impl ConfigDiff {
    /// Everything, for programs. `docs/operations.md` describes the fields.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed.iter().map(pool).collect::<Vec<_>>(),
            "replaced": self.replaced.iter().map(replacement).collect::<Vec<_>>(),
        })
    }
}

fn replacement(replacement: &Replacement) -> Value {
    json!({
        "old": replacement.old,
        "new": replacement.new,
        "placement": placement(&replacement.placement),
    })
}

fn pool(pool: &PoolDiff) -> Value {
    json!({
        "name": pool.name,
        "reload": pool.verdict().word(),
        "settings": pool.settings.iter().map(setting).collect::<Vec<_>>(),
        "servers": pool.servers.iter().map(server).collect::<Vec<_>>(),
        "placement": pool.placement.as_ref().map(placement),
    })
}

/// A password has no values.
fn setting(change: &SettingChange) -> Value {
    let value = |setting: &Setting| match setting {
        Setting::Text(text) => Some(text.clone()),
        Setting::File { path, .. } => Some(path.clone()),
        Setting::Absent | Setting::Secret(_) => None,
    };
    json!({
        "directive": change.directive,
        "old": value(&change.old),
        "new": value(&change.new),
    })
}

fn server(change: &ServerChange) -> Value {
    let name = &change.name;
    match &change.kind {
        ServerChangeKind::Added { address, weight } => {
            json!({"name": name, "change": "added", "new": {"address": address.to_string(), "weight": weight}})
        }
        ServerChangeKind::Removed { address, weight } => {
            json!({"name": name, "change": "removed", "old": {"address": address.to_string(), "weight": weight}})
        }
        ServerChangeKind::Address { old, new } => {
            let (old, new) = (old.to_string(), new.to_string());
            json!({"name": name, "change": "address", "old": {"address": old}, "new": {"address": new}})
        }
        ServerChangeKind::Weight { old, new } => {
            json!({"name": name, "change": "weight", "old": {"weight": old}, "new": {"weight": new}})
        }
    }
}

fn placement(placement: &PlacementChange) -> Value {
    let moved = &placement.moved;
    let rows = moved
        .rows
        .iter()
        .map(|row| json!({"from": row.from, "to": row.to, "share": row.share}));
    json!({
        "on_placement_change": placement.rule.name(),
        "share": moved.share,
        "basis": match moved.basis {
            Basis::AllHashes => "all hashes",
            Basis::SampleKeys => "sample keys",
            Basis::TaggedKeys => "sample keys with a hash tag",
        },
        "moved": rows.collect::<Vec<_>>(),
    })
}
