//! How fresh replicas are, for reads: certificates that all that was acknowledged before a time can be read there.
//!
//! ```text
//! time T --> INFO at the primary: history H, length L --> INFO at a replica: of H, at least L applied --> fresh to T
//! ```
//!
//! Invariants: T is taken before the primary is asked, so all that it acknowledged before T is within L; a replica that is not
//! connected to that history has no certificate.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::PoolConfig;
use crate::control::conn::{Conn, Failure};
use crate::net::ServerAddr;
use crate::protocol::UpstreamError;
use crate::redis_client::Info;
use crate::topology::{PoolReplica, PoolServer, ServerId, ServerIndex, TopologyStore, process_us};

use super::role::open;
use super::times::{INTERVAL, PATIENCE};

/// The lengths of a history that are remembered: a replica may be that many intervals behind.
const REMEMBERED: usize = 64;

/// The lengths of a primary's history at several times, the latest last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct History {
    id: String,
    /// Times of [`process_us`], and lengths.
    lengths: VecDeque<(u64, u64)>,
}

impl History {
    fn note(&mut self, time: u64, replication: &Replication) {
        if self.id != replication.history {
            self.id.clone_from(&replication.history);
            self.lengths.clear();
        }
        if self.lengths.len() == REMEMBERED {
            self.lengths.pop_front();
        }
        self.lengths.push_back((time, replication.length));
    }

    /// The time up to which a replica is fresh; 0 if that is not known.
    fn fresh_to(&self, replica: &Replication) -> u64 {
        if replica.is_primary || !replica.is_linked || replica.history != self.id {
            return 0;
        }
        let mut lengths = self.lengths.iter().rev();
        let applied = lengths.find(|(_, length)| *length <= replica.length);
        applied.map_or(0, |(time, _)| *time)
    }
}

/// `INFO replication`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Replication {
    is_primary: bool,
    /// The id of its history.
    history: String,
    /// A primary's length of the history; how much of it a replica has applied.
    length: u64,
    /// A replica is connected to its primary.
    is_linked: bool,
}

impl Replication {
    fn read(reply: &[u8]) -> Option<Self> {
        let info = Info::of_reply(reply)?;
        info.text("role")?;
        Some(Self {
            is_primary: info.is_primary(),
            history: info.text("master_replid")?.to_owned(),
            length: info.replication_offset()?,
            is_linked: info.text("master_link_status") == Some("up"),
        })
    }
}

/// Certifies the freshness of a pool's replicas until it is aborted.
pub(super) async fn certify(store: Arc<TopologyStore>, config: Arc<PoolConfig>) {
    let mut changes = store.changes();
    let mut shards: HashMap<ServerId, (Vec<ServerId>, Vec<AbortOnDropHandle<()>>)> = HashMap::new();
    loop {
        let topology = store.topology();
        shards.retain(|server, _| topology.index_of(*server).is_some());
        for (index, server) in ServerIndex::all().zip(topology.servers()) {
            let replicas = topology.replicas(index);
            let ids: Vec<_> = replicas.iter().map(|replica| replica.id).collect();
            let known = shards.get(&server.id);
            if known.is_none_or(|(known, _)| *known != ids) {
                let tasks = certify_shard(&config, server, replicas);
                shards.insert(server.id, (ids, tasks));
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn certify_shard(
    config: &Arc<PoolConfig>,
    server: &Arc<PoolServer>,
    replicas: &[Arc<PoolReplica>],
) -> Vec<AbortOnDropHandle<()>> {
    if replicas.is_empty() {
        return Vec::new();
    }
    let history = watch::Sender::new(History::default());
    let of_replica = |replica: &Arc<PoolReplica>| {
        let (config, replica) = (Arc::clone(config), Arc::clone(replica));
        tokio::spawn(follow_replica(config, replica, history.subscribe()))
    };
    let mut tasks: Vec<_> = replicas.iter().map(of_replica).collect();
    let (config, server) = (Arc::clone(config), Arc::clone(server));
    tasks.push(tokio::spawn(follow_primary(config, server, history)));
    tasks.into_iter().map(AbortOnDropHandle::new).collect()
}

/// The interval at which servers are asked.
fn every(config: &PoolConfig) -> Duration {
    let probes = config.server_probe_interval.unwrap_or(INTERVAL);
    let probes = if probes.is_zero() { INTERVAL } else { probes };
    probes.min(config.replica_max_lag / 4)
}

async fn follow_primary(
    config: Arc<PoolConfig>,
    server: Arc<PoolServer>,
    history: watch::Sender<History>,
) {
    let address = server
        .in_use()
        .map_or_else(|| server.address.clone(), ServerAddr::from);
    let mut ticks = interval(every(&config));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut conn = None;
    loop {
        ticks.tick().await;
        let asked = process_us(Instant::now().into_std());
        if let Ok(replication) = ask(&mut conn, &config, &address).await
            && replication.is_primary
        {
            history.send_modify(|history| history.note(asked, &replication));
        }
    }
}

async fn follow_replica(
    config: Arc<PoolConfig>,
    replica: Arc<PoolReplica>,
    mut history: watch::Receiver<History>,
) {
    let address = ServerAddr::from(replica.address);
    let mut conn = None;
    while history.changed().await.is_ok() {
        let replication = ask(&mut conn, &config, &address).await;
        let fresh_to = replication.map_or(0, |replication| history.borrow().fresh_to(&replication));
        replica.set_fresh_to_us(fresh_to);
    }
}

/// Asks for the state of replication, over the open connection if there is one.
async fn ask(
    conn: &mut Option<Conn>,
    config: &PoolConfig,
    address: &ServerAddr,
) -> Result<Replication, Failure> {
    let asking = async {
        let mut open = match conn.take() {
            Some(conn) => conn,
            None => open(config, address).await?,
        };
        let reply = open.ask(&[b"INFO", b"replication"]).await?;
        let replication = Replication::read(&reply).ok_or(UpstreamError::BadReply)?;
        Ok::<_, Failure>((open, replication))
    };
    let answer = timeout(PATIENCE, asking).await;
    let answer = answer.unwrap_or_else(|_| Err(UpstreamError::TimedOut.into()));
    let (open, replication) = answer?;
    *conn = Some(open);
    Ok(replication)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replication(text: &str) -> Replication {
        let text = text.replace(' ', "\r\n");
        let reply = format!("${}\r\n{text}\r\n", text.len());
        Replication::read(reply.as_bytes()).unwrap()
    }

    fn primary(history: &str, length: u64) -> Replication {
        replication(&format!(
            "role:master master_replid:{history} master_repl_offset:{length} second_repl_offset:-1"
        ))
    }

    fn replica(link: &str, history: &str, length: u64) -> Replication {
        replication(&format!(
            "role:slave master_link_status:{link} slave_read_repl_offset:99999 slave_repl_offset:{length} \
             master_replid:{history} master_repl_offset:99999"
        ))
    }

    #[test]
    fn replica_is_as_fresh_as_what_it_has_applied() {
        let mut history = History::default();
        assert_eq!(history.fresh_to(&replica("up", "a", 5)), 0);
        for (time, length) in [(100, 5), (200, 5), (300, 8), (400, 20)] {
            history.note(time, &primary("a", length));
        }
        for (replica, expected) in [
            (replica("up", "a", 20), 400),
            (replica("up", "a", 25), 400),
            (replica("up", "a", 19), 300),
            (replica("up", "a", 7), 200),
            (replica("up", "a", 4), 0),
            (replica("down", "a", 20), 0),
            (replica("up", "b", 20), 0),
            (primary("a", 20), 0),
        ] {
            assert_eq!(history.fresh_to(&replica), expected, "{replica:?}");
        }
    }

    #[test]
    fn another_history_voids_what_was_known_of_the_last() {
        let mut history = History::default();
        history.note(100, &primary("a", 5));
        history.note(200, &primary("b", 3));
        assert_eq!(history.fresh_to(&replica("up", "a", 9)), 0);
        assert_eq!(history.fresh_to(&replica("up", "b", 3)), 200);
    }

    #[test]
    fn only_the_last_lengths_are_remembered() {
        let mut history = History::default();
        for time in 1..=200 {
            history.note(time, &primary("a", time));
        }
        assert_eq!(history.lengths.len(), REMEMBERED);
        assert_eq!(history.fresh_to(&replica("up", "a", 150)), 150);
        assert_eq!(history.fresh_to(&replica("up", "a", 100)), 0);
    }
}
