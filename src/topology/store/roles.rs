//! What the watchers of roles say.

use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::TopologyStore;
use crate::topology::roles::{Primary, Replica, Roles};

impl TopologyStore {
    /// Takes the word of `by` on who is the primary of a server: its connections go there from now on. Returns true if it is
    /// another one than was known.
    pub fn set_primary(&self, server: &str, address: SocketAddr, by: &str, epoch: u64) -> bool {
        let mut ledger = self.lock();
        if !ledger.facts.may_have_roles(server) {
            return false;
        }
        let primaries = &mut ledger.facts.roles.primaries;
        if let Some(known) = primaries.get_mut(server)
            && known.address == address
        {
            known.epoch = epoch;
            return false;
        }
        let primary = Primary {
            address,
            by: by.to_owned(),
            epoch,
            since: Instant::now(),
        };
        let before = primaries.insert(server.to_owned(), primary);
        if let Some(before) = before {
            ledger.primary_changes += 1;
            self.record_primary(server, before.address, address, by);
        }
        self.publish(&mut ledger);
        true
    }

    /// Takes the replicas of a server, in any order.
    pub fn set_replicas(&self, server: &str, mut replicas: Vec<Replica>) {
        replicas.sort_by_key(|replica| replica.address);
        replicas.dedup_by_key(|replica| replica.address);
        let mut ledger = self.lock();
        if !ledger.facts.may_have_roles(server) {
            return;
        }
        let known = ledger.facts.roles.replicas.entry(server.to_owned());
        let known = known.or_default();
        let addresses = |replicas: &[Replica]| -> Vec<SocketAddr> {
            replicas.iter().map(|replica| replica.address).collect()
        };
        let is_news = addresses(known) != addresses(&replicas);
        *known = replicas;
        if is_news {
            self.publish(&mut ledger);
        }
    }

    /// Who is the primary of a server, if anybody has said so.
    pub fn primary(&self, server: &str) -> Option<Primary> {
        let ledger = self.lock();
        ledger.facts.roles.primaries.get(server).cloned()
    }

    /// What is known of roles.
    pub fn roles(&self) -> Roles {
        self.lock().facts.roles.clone()
    }

    /// Notes that the primaries are known, as far as anybody tells.
    pub fn set_roles_read(&self) {
        self.roles_read
            .send_if_modified(|are_read| !mem::replace(are_read, true));
    }

    /// Waits for [`Self::set_roles_read`].
    pub async fn roles_read(&self) {
        // The sender lives as long as this.
        let _ = self
            .roles_read
            .subscribe()
            .wait_for(|are_read| *are_read)
            .await;
    }

    /// Counts that several servers of a shard say that they are its primary.
    pub fn count_roles_conflict(&self) {
        self.lock().roles_conflicts += 1;
    }

    /// How often that was so, and how often a server got another primary.
    pub fn role_counts(&self) -> (u64, u64) {
        let ledger = self.lock();
        (ledger.roles_conflicts, ledger.primary_changes)
    }

    /// Notes whether anybody watches the roles of the pool's servers.
    pub(super) fn set_watches_roles(&self, watches: bool) {
        self.watches_roles.store(watches, Ordering::Relaxed);
    }

    /// Has the roles of all servers looked at at once.
    pub fn want_roles(&self) {
        if self.watches_roles.load(Ordering::Relaxed) {
            self.role_lookups.notify_one();
        }
    }

    /// Waits until the roles must be looked at at once.
    pub async fn roles_wanted(&self) {
        self.role_lookups.notified().await;
    }
}
