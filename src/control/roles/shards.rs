//! The servers and replicas of a file, which say themselves who is a primary.
//!
//! ```text
//! each second, and when a server fails --> ROLE at all addresses of a shard --judge--> TopologyStore: set_primary
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{PoolConfig, ServerConfig};
use crate::control::conn::{Conn, Failure};
use crate::control::dns;
use crate::net::ServerAddr;
use crate::protocol::UpstreamError;
use crate::topology::{Replica, TopologyStore};

use super::adopt::adopt_by_role;
use super::role::{Role, ask_role, open};
use super::times::{INTERVAL, PATIENCE, PAUSE};

/// What is to be done about the roles of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Stay,
    Adopt(SocketAddr),
    /// Several say that they are primaries.
    Conflict(Vec<SocketAddr>),
}

/// Judges the roles of a shard. The known primary stays unless it is lost, or is none any more, and exactly one other is.
fn judge(known: Option<SocketAddr>, roles: &[(SocketAddr, Option<Role>)]) -> Verdict {
    let is_primary = |role: &Option<Role>| role.as_ref().is_some_and(Role::is_primary);
    let primaries = roles.iter().filter(|(_, role)| is_primary(role));
    let primaries: Vec<_> = primaries.map(|(address, _)| *address).collect();
    match primaries.as_slice() {
        [only] if known == Some(*only) => Verdict::Stay,
        [only] => Verdict::Adopt(*only),
        [] => Verdict::Stay,
        _ => Verdict::Conflict(primaries),
    }
}

/// Follows the roles of a pool's servers until it is aborted.
pub(super) async fn follow_servers(store: Arc<TopologyStore>, config: Arc<PoolConfig>) {
    let kick = watch::Sender::new(());
    let (looked, mut first_looks) = mpsc::channel(1);
    let shards = config.servers.iter().map(|server| {
        let replicas = config.replicas.iter();
        let replicas = replicas.filter(|replica| replica.server == server.name);
        let members = [&server.address]
            .into_iter()
            .chain(replicas.map(|replica| &replica.address));
        (server, members.cloned().collect::<Vec<_>>())
    });
    let _shards: Vec<_> = shards
        .filter(|(_, members)| members.len() > 1)
        .map(|(server, members)| {
            let shard = Shard {
                store: Arc::clone(&store),
                config: Arc::clone(&config),
                server: server.clone(),
                members,
                conns: HashMap::new(),
                resolved: HashMap::new(),
                is_in_conflict: false,
            };
            let follow = shard.follow(kick.subscribe(), looked.clone());
            AbortOnDropHandle::new(tokio::spawn(follow))
        })
        .collect();
    drop(looked);
    let mut are_read = false;
    loop {
        tokio::select! {
            // Closed when each shard has been looked at once.
            None = first_looks.recv(), if !are_read => {
                are_read = true;
                store.set_roles_read();
            }
            () = store.roles_wanted() => {
                kick.send_replace(());
            }
        }
    }
}

/// A server and its replicas.
struct Shard {
    store: Arc<TopologyStore>,
    config: Arc<PoolConfig>,
    server: ServerConfig,
    /// The addresses of the file, that of the server first.
    members: Vec<ServerAddr>,
    conns: HashMap<SocketAddr, Conn>,
    /// What the addresses stood for last.
    resolved: HashMap<ServerAddr, SocketAddr>,
    is_in_conflict: bool,
}

impl Shard {
    async fn follow(mut self, mut kick: watch::Receiver<()>, looked: mpsc::Sender<()>) {
        let mut looked = Some(looked);
        loop {
            self.look().await;
            looked.take();
            tokio::select! {
                _ = kick.changed() => sleep(PAUSE).await,
                () = sleep(INTERVAL) => {}
            }
        }
    }

    async fn look(&mut self) {
        self.resolve().await;
        let mut addresses: Vec<_> = self.resolved.values().copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut questions = JoinSet::new();
        for address in addresses {
            let conn = self.conns.remove(&address);
            let config = Arc::clone(&self.config);
            questions.spawn(async move {
                let answer = timeout(PATIENCE, ask(&config, address, conn)).await;
                (
                    address,
                    answer.unwrap_or(Err(UpstreamError::TimedOut.into())),
                )
            });
        }
        let mut roles = Vec::new();
        // A task that panicked has asked nothing.
        while let Some(Ok((address, answer))) = questions.join_next().await {
            roles.push((
                address,
                match answer {
                    Ok((conn, role)) => {
                        self.conns.insert(address, conn);
                        Some(role)
                    }
                    Err(error) => {
                        let (pool, server) = (&self.config.name, &self.server.name);
                        tracing::debug!(pool, server, %address, %error, "role not known");
                        None
                    }
                },
            ));
        }
        roles.sort_unstable_by_key(|(address, _)| *address);
        self.apply(&roles);
    }

    async fn resolve(&mut self) {
        let mut lookups = JoinSet::new();
        for member in self.members.iter().cloned() {
            lookups.spawn(async move {
                let ServerAddr::Tcp { host, port } = &member else {
                    return None;
                };
                let found = dns::resolve(host, *port).await.ok()?;
                Some((member, found))
            });
        }
        // A name that cannot be looked up stands for what it did last.
        while let Some(found) = lookups.join_next().await {
            self.resolved.extend(found.ok().flatten());
        }
    }

    fn apply(&mut self, roles: &[(SocketAddr, Option<Role>)]) {
        let name = &self.server.name;
        let known = self.store.primary(name).map(|primary| primary.address);
        let by_file = self.resolved.get(&self.server.address).copied();
        match judge(known, roles) {
            Verdict::Stay => self.is_in_conflict = false,
            Verdict::Adopt(address) => {
                self.is_in_conflict = false;
                adopt_by_role(&self.store, name, address);
            }
            Verdict::Conflict(primaries) => {
                if !self.is_in_conflict {
                    self.is_in_conflict = true;
                    self.store.count_roles_conflict();
                    let pool = &self.config.name;
                    let kept = known.or(by_file).map(|address| address.to_string());
                    tracing::warn!(
                        pool,
                        server = name,
                        ?primaries,
                        kept,
                        "several servers of the shard say that they are its primary; the known one stays"
                    );
                }
            }
        }
        let primary = self.store.primary(name).map(|primary| primary.address);
        let primary = primary.or(by_file);
        let history = roles.iter().find_map(|(address, role)| match role {
            Some(Role::Primary { offset }) if Some(*address) == primary => Some(*offset),
            _ => None,
        });
        let replicas = roles
            .iter()
            .filter(|(address, _)| Some(*address) != primary);
        let replicas = replicas.map(|(address, role)| replica(*address, role.as_ref(), history));
        self.store.set_replicas(name, replicas.collect());
    }
}

fn replica(address: SocketAddr, role: Option<&Role>, history: Option<u64>) -> Replica {
    let (is_up, behind_bytes) = match role {
        Some(Role::Replica { offset, is_linked }) => {
            let behind = history.map(|history| history.saturating_sub(*offset));
            (*is_linked, behind)
        }
        _ => (false, None),
    };
    Replica {
        address,
        is_up,
        behind_bytes,
    }
}

/// Asks for a role, over the open connection if there is one.
async fn ask(
    config: &PoolConfig,
    address: SocketAddr,
    conn: Option<Conn>,
) -> Result<(Conn, Role), Failure> {
    if let Some(mut conn) = conn
        && let Ok(role) = ask_role(&mut conn).await
    {
        return Ok((conn, role));
    }
    let mut conn = open(config, &ServerAddr::from(address)).await?;
    let role = ask_role(&mut conn).await?;
    Ok((conn, role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_primary_takes_the_place_of_the_known_one() {
        let at = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let primary = || Some(Role::Primary { offset: 9 });
        let replica = || {
            Some(Role::Replica {
                offset: 9,
                is_linked: true,
            })
        };
        for (known, roles, expected) in [
            (Some(1), [primary(), replica(), replica()], Verdict::Stay),
            (None, [primary(), replica(), None], Verdict::Adopt(at(1))),
            (
                Some(1),
                [replica(), primary(), replica()],
                Verdict::Adopt(at(2)),
            ),
            (Some(1), [None, replica(), primary()], Verdict::Adopt(at(3))),
            (Some(1), [None, replica(), replica()], Verdict::Stay),
            (
                Some(1),
                [primary(), primary(), replica()],
                Verdict::Conflict(vec![at(1), at(2)]),
            ),
            (
                Some(1),
                [replica(), primary(), primary()],
                Verdict::Conflict(vec![at(2), at(3)]),
            ),
            (Some(9), [primary(), replica(), None], Verdict::Adopt(at(1))),
        ] {
            let roles: Vec<_> = [at(1), at(2), at(3)].into_iter().zip(roles).collect();
            assert_eq!(
                judge(known.map(at), &roles),
                expected,
                "{known:?}, {roles:?}"
            );
        }
    }
}
