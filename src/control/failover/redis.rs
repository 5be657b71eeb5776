//! The failover that a primary makes by itself: `FAILOVER`.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::control::conn::{Conn, Failure};
use crate::control::roles::role::open;
use crate::protocol::UpstreamError;

use super::shard::{Done, FailoverError, LOOK, Shard};
use super::state::State;

/// The time that the primary waits for its replica, with its writes paused. Then it gives up, and stays the primary.
const SYNC_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn fail_over(
    shard: &Shard,
    to: Option<SocketAddr>,
    deadline: Instant,
) -> Result<Done, FailoverError> {
    let refused = |failure: &Failure| FailoverError::refused(&shard.primary_name(), failure);
    let conn = open(&shard.config, &shard.primary).await;
    let mut conn = conn.map_err(|failure| refused(&failure))?;
    let sync_within = SYNC_WITHIN.as_millis().to_string();
    let place = to.map(|to| (to.ip().to_string(), to.port().to_string()));
    let mut words: Vec<&[u8]> = vec![b"FAILOVER"];
    if let Some((ip, port)) = &place {
        words.extend([&b"TO"[..], ip.as_bytes(), port.as_bytes()]);
    }
    words.extend([&b"TIMEOUT"[..], sync_within.as_bytes()]);
    match conn.ask(&words).await {
        Ok(_) => {}
        Err(Failure::Refused(reply)) if reply.starts_with("ERR unknown command") => {
            return Err(FailoverError::Impossible(format!(
                "{} has no command FAILOVER: it is older than Redis 6.2, or does not allow it",
                shard.primary_name()
            )));
        }
        Err(failure) => return Err(refused(&failure)),
    }
    await_end(shard, &mut conn, deadline).await?;
    match shard.switched(deadline).await {
        Some(new) => Ok((new, "FAILOVER", Vec::new())),
        None => Err(FailoverError::Unfinished(format!(
            "{} is a replica now, and none of the addresses of server '{}' in the file is a primary",
            shard.primary, shard.name
        ))),
    }
}

/// Waits until the primary is a replica, or has given up.
async fn await_end(shard: &Shard, conn: &mut Conn, deadline: Instant) -> Result<(), FailoverError> {
    loop {
        let state = match conn.ask(&[b"INFO", b"replication"]).await {
            Ok(reply) => State::read(&reply).ok_or_else(|| UpstreamError::BadReply.into()),
            Err(failure) => Err(failure),
        };
        // Whether it is done is told by the roles, too.
        let Ok(state) = state else {
            return Ok(());
        };
        if !state.is_primary {
            return Ok(());
        }
        if state.failover == "no-failover" {
            return Err(FailoverError::Unfinished(format!(
                "{} has given up: no replica had all of its data within {} s; it is the primary still",
                shard.primary_name(),
                SYNC_WITHIN.as_secs()
            )));
        }
        if Instant::now() >= deadline {
            return Err(FailoverError::Unfinished(format!(
                "the failover of {} has not ended: it says '{}'",
                shard.primary_name(),
                state.failover
            )));
        }
        sleep(LOOK).await;
    }
}
