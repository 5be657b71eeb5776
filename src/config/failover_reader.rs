//! Reading of what a pool says of failovers, and the rules for it.

use std::collections::HashSet;

use super::draft::Draft;
use super::failover::{self, ReadFrom, ReplicaConfig};
use super::pool_reader::Reader;
use super::problem::{Position, nearest};
use super::yaml::{Shape, Tree};
use crate::net::ServerAddr;

impl Reader<'_> {
    pub(super) fn sentinels(&mut self, list: &[Tree], draft: &mut Draft) {
        for (text, at) in self.texts("sentinels", "a sentinel", list) {
            match failover::sentinel(text) {
                Ok(sentinel) if draft.sentinels.contains(&sentinel) => {
                    self.error("sentinels", at, format!("has '{text}' twice"));
                }
                Ok(sentinel) => draft.sentinels.push(sentinel),
                Err(reason) => self.error("sentinels", at, reason),
            }
        }
    }

    pub(super) fn replicas(&mut self, list: &[Tree], draft: &mut Draft) {
        for (text, at) in self.texts("replicas", "a replica", list) {
            match ReplicaConfig::parse(text) {
                Ok(replica) => {
                    let mut others = draft.replicas.iter();
                    if others.any(|other| other.address == replica.address) {
                        let text = format!("has the address {} twice", replica.address);
                        self.error("replicas", at, text);
                    }
                    draft.replicas.push(replica);
                    self.replicas_at.push(at);
                }
                Err(reason) => self.error("replicas", at, reason),
            }
        }
    }

    /// The texts of a list, and their positions.
    pub(super) fn texts<'t>(
        &mut self,
        key: &str,
        noun: &str,
        list: &'t [Tree],
    ) -> Vec<(&'t str, Position)> {
        let mut texts = Vec::new();
        for item in list {
            match &item.shape {
                Shape::Text(text) if !text.is_empty() => texts.push((text.as_str(), item.at)),
                Shape::Refused => {}
                other => {
                    let text = format!("an entry must be {noun}, not {}", other.noun());
                    self.error(key, item.at, text);
                }
            }
        }
        texts
    }

    /// Checks the rules for failovers.
    pub(super) fn check_failover(&mut self, draft: &Draft) {
        let (has_sentinels, has_replicas) =
            (!draft.sentinels.is_empty(), !draft.replicas.is_empty());
        if has_sentinels && has_replicas {
            let text = "is not possible with 'sentinels': they say what replicas there are";
            self.refuse("replicas", text);
        }
        let source = if has_sentinels {
            "sentinels"
        } else {
            "replicas"
        };
        if has_sentinels || has_replicas {
            self.check_shards(draft, source);
        } else {
            if draft
                .server_failover_timeout
                .is_some_and(|time| !time.is_zero())
            {
                let text =
                    "needs 'sentinels' or 'replicas': nothing else gives a shard another primary";
                self.refuse("server_failover_timeout", text);
            }
            if draft.read_from != ReadFrom::Primary {
                let text = "needs 'sentinels' or 'replicas': the proxy knows no replicas otherwise";
                self.refuse("read_from", text);
            }
        }
        if draft.read_hedge_limit > 0 && draft.read_from == ReadFrom::Primary {
            let text = "needs 'read_from: replica' or 'any': other reads have only one server";
            self.refuse("read_hedge_limit", text);
        }
        if draft.sentinel_auth.is_some() && !has_sentinels {
            self.refuse("sentinel_auth", "needs 'sentinels'");
        }
        if draft.read_from != ReadFrom::Primary && draft.placement_guard {
            let text = format!(
                "'{}' is not possible with 'placement_guard: true': replicas tell nobody that a key has moved",
                draft.read_from.name()
            );
            self.refuse("read_from", &text);
        }
    }

    fn check_shards(&mut self, draft: &Draft, source: &str) {
        if draft.auto_eject_hosts {
            let text = format!(
                "is not possible with '{source}': a server that fails is replaced by its replica, and one that is ejected \
                 gives its keys away"
            );
            self.refuse("auto_eject_hosts", &text);
        }
        if !draft.sentinels.is_empty() {
            for (name, at) in std::mem::take(&mut self.unnamed) {
                let text = format!(
                    "server '{name}' needs a name of its own, that of its primary in Sentinel, as in '{name}:1 shard1'"
                );
                self.error("servers", at, text);
            }
        }
        let sockets = self.servers.iter();
        let sockets = sockets.filter(|server| matches!(server.address, ServerAddr::Unix(_)));
        let sockets: Vec<_> = sockets.map(|server| server.name.clone()).collect();
        for name in sockets {
            let text = format!(
                "server '{name}' is a unix socket; with '{source}' it needs an address, as its replicas have"
            );
            self.refuse("servers", &text);
        }
        let servers = self.servers.iter();
        let names: HashSet<_> = servers.map(|server| server.name.clone()).collect();
        let unknown = draft.replicas.iter().zip(self.replicas_at.clone());
        for (replica, at) in unknown.filter(|(replica, _)| !names.contains(&replica.server)) {
            let name = &replica.server;
            let hint = nearest(name, names.iter().map(String::as_str));
            let hint = hint.map_or_else(String::new, |hint| format!("; did you mean '{hint}'?"));
            let text = format!("'{replica}' names a server that the pool does not have{hint}");
            self.error("replicas", at, text);
        }
    }

    /// An error of a directive that the file has.
    pub(super) fn refuse(&mut self, key: &str, text: &str) {
        let at = self.places.get(key).copied().unwrap_or(self.at);
        self.error(key, at, text.to_owned());
    }
}
