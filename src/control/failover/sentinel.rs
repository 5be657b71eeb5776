//! The failover that Sentinel makes, without loss.
//!
//! Valkey's `SENTINEL FAILOVER ... COORDINATED` is not used: it loses nothing either, but its sentinel closes the connections to the
//! old primary, and what was in flight there fails. After a pause of ours the server answers that with READONLY, and it is sent
//! again.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::control::conn::{Conn, Failure};
use crate::control::roles::role::{open, open_sentinel};
use crate::net::ServerAddr;

use super::shard::{Done, FailoverError, LOOK, Shard};
use super::state::State;

/// The time that replicas have to get all of the primary's data, while writes are paused.
const SYNC_WITHIN: Duration = Duration::from_secs(5);

/// How long writes stay paused if nobody ends the pause: longer than all that is waited for.
const PAUSE: Duration = Duration::from_secs(20);

pub(super) async fn fail_over(
    shard: &Shard,
    to: Option<SocketAddr>,
    deadline: Instant,
) -> Result<Done, FailoverError> {
    if to.is_some() {
        return Err(FailoverError::Impossible(
            "Sentinel chooses the replica itself; 'replica-priority' of the replicas says which it prefers".to_owned(),
        ));
    }
    let (who, mut sentinel) = open_any(shard).await?;
    let conn = open(&shard.config, &shard.primary).await;
    let mut conn =
        conn.map_err(|failure| FailoverError::refused(&shard.primary_name(), &failure))?;
    let paused = paused_failover(shard, &mut conn, (&who, &mut sentinel), deadline).await;
    let mut warnings = Vec::new();
    if let Ok(new) = &paused {
        let (ip, port) = (new.ip().to_string(), new.port().to_string());
        // As Sentinel does ten seconds later: until then it would take writes that are lost.
        let demoted = conn
            .ask(&[b"REPLICAOF", ip.as_bytes(), port.as_bytes()])
            .await;
        if let Err(failure) = demoted {
            let (old, primary) = (&shard.primary, new);
            warnings.push(format!(
                "{old} did not become a replica of {primary} ({failure}); Sentinel will see to it"
            ));
        }
    }
    if let Err(failure) = unpause(shard, conn).await {
        let old = &shard.primary;
        warnings.push(format!(
            "the writes at {old} could not be resumed ({failure}); they are by {} s after the start",
            PAUSE.as_secs()
        ));
    }
    match paused {
        Ok(new) => Ok((new, "SENTINEL FAILOVER with writes paused", warnings)),
        Err(error) => {
            for warning in warnings {
                tracing::warn!(pool = shard.config.name, server = shard.name, "{warning}");
            }
            Err(error)
        }
    }
}

/// A connection to a sentinel that says what the proxy knows.
async fn open_any(shard: &Shard) -> Result<(String, Conn), FailoverError> {
    let mut refusals = Vec::new();
    for sentinel in &shard.config.sentinels {
        let who = format!("sentinel {sentinel}");
        let opened = async {
            let mut conn = open_sentinel(&shard.config, sentinel).await?;
            let name = shard.name.as_bytes();
            conn.ask(&[b"SENTINEL", b"MASTER", name]).await?;
            Ok::<_, Failure>(conn)
        };
        match opened.await {
            Ok(conn) => return Ok((who, conn)),
            Err(failure) => refusals.push(format!("{who}: {failure}")),
        }
    }
    Err(FailoverError::Impossible(format!(
        "no sentinel can be asked: {}",
        refusals.join("; ")
    )))
}

/// Pauses writes at the primary, has all replicas get them, and orders the failover. Returns the new primary. The caller ends
/// the pause.
async fn paused_failover(
    shard: &Shard,
    conn: &mut Conn,
    (who, sentinel): (&str, &mut Conn),
    deadline: Instant,
) -> Result<SocketAddr, FailoverError> {
    let refused = |failure: &Failure| FailoverError::refused(&shard.primary_name(), failure);
    let state = State::ask(conn)
        .await
        .map_err(|failure| refused(&failure))?;
    if !state.is_primary || state.replicas.is_empty() {
        let lacks = if state.is_primary {
            "has no replica that is online"
        } else {
            "is no primary any more"
        };
        return Err(FailoverError::Impossible(format!(
            "{} {lacks}",
            shard.primary_name()
        )));
    }
    let pause = PAUSE.as_millis().to_string();
    let paused = conn
        .ask(&[b"CLIENT", b"PAUSE", pause.as_bytes(), b"WRITE"])
        .await;
    paused.map_err(|failure| refused(&failure))?;
    let synced = sync(shard, conn).await;
    synced
        .map_err(|failure| refused(&failure))?
        .then_some(())
        .ok_or_else(|| {
            FailoverError::Unfinished(format!(
                "the replicas of {} had not all of its data within {} s; it is the primary still",
                shard.primary,
                SYNC_WITHIN.as_secs()
            ))
        })?;
    let ordered = sentinel
        .ask(&[b"SENTINEL", b"FAILOVER", shard.name.as_bytes()])
        .await;
    ordered.map_err(|failure| FailoverError::refused(who, &failure))?;
    shard.switched(deadline).await.ok_or_else(|| {
        FailoverError::Unfinished(format!(
            "{who} has begun the failover, and no other primary is known yet; writes at {} go on, and are lost if it is \
             made after all",
            shard.primary
        ))
    })
}

/// Waits until all connected replicas have what the primary had when writes were paused. Returns false if they have not in time.
async fn sync(shard: &Shard, conn: &mut Conn) -> Result<bool, Failure> {
    let deadline = Instant::now() + SYNC_WITHIN;
    let goal = State::ask(conn).await?.offset;
    loop {
        let state = State::ask(conn).await?;
        let mut are_synced = !state.replicas.is_empty();
        for (address, acknowledged) in state.replicas {
            // It acknowledges once a second only.
            are_synced &= acknowledged >= goal || applied(shard, &address).await >= goal;
        }
        if are_synced {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(LOOK).await;
    }
}

/// How much of the history a replica has applied, by its own word; 0 if it does not answer.
async fn applied(shard: &Shard, address: &ServerAddr) -> u64 {
    let asking = async {
        let mut conn = open(&shard.config, address).await?;
        State::ask(&mut conn).await
    };
    match asking.await {
        Ok(state) if !state.is_primary => state.offset,
        _ => 0,
    }
}

/// Ends the pause, over another connection if that one is lost.
async fn unpause(shard: &Shard, mut conn: Conn) -> Result<(), Failure> {
    if conn.ask(&[b"CLIENT", b"UNPAUSE"]).await.is_ok() {
        return Ok(());
    }
    let mut conn = open(&shard.config, &shard.primary).await?;
    conn.ask(&[b"CLIENT", b"UNPAUSE"]).await.map(|_| ())
}
