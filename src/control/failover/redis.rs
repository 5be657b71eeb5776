//! The failover that a primary makes by itself: `FAILOVER`.
//!
//! Invariant: a primary that was told to begin has ended it, or is told to, by `FAILOVER ABORT`, when nobody waits any more. By
//! itself it gives up only while its replica lacks data; then it tries for good to hand over, with its writes paused.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::control::conn::{Conn, Failure};
use crate::control::roles::role::open;
use crate::net::ServerAddr;

use super::shard::{Done, FailoverError, LOOK, Shard};
use super::state::State;
use super::target;

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
    let state = State::ask(&mut conn).await;
    let state = state.map_err(|failure| refused(&failure))?;
    let target = target::choose(shard, &state, to).await?;
    let conn = match begin(&mut conn, target.as_ref()).await {
        Ok(()) => Some(conn),
        // It may have begun.
        Err(Failure::Connection(_)) => None,
        Err(Failure::Refused(reply)) if reply.starts_with("ERR unknown command") => {
            return Err(FailoverError::Impossible(format!(
                "{} has no command FAILOVER: it is older than Redis 6.2, or does not allow it",
                shard.primary_name()
            )));
        }
        Err(failure) => return Err(refused(&failure)),
    };
    let mut primary = Primary { shard, conn };
    match primary.end(deadline).await {
        End::Switched(new) => Ok((new, "FAILOVER", Vec::new())),
        End::GivenUp => Err(FailoverError::Unfinished(format!(
            "{} has given up: no replica had all of its data within {} s; it is the primary still",
            shard.primary_name(),
            SYNC_WITHIN.as_secs()
        ))),
        End::Unknown(reason) => {
            let aborted = primary.abort().await;
            Err(FailoverError::Unfinished(format!("{reason}; {aborted}")))
        }
    }
}

async fn begin(conn: &mut Conn, target: Option<&ServerAddr>) -> Result<(), Failure> {
    let sync_within = SYNC_WITHIN.as_millis().to_string();
    let place = match target {
        Some(ServerAddr::Tcp { host, port }) => Some((host, port.to_string())),
        _ => None,
    };
    let mut words: Vec<&[u8]> = vec![b"FAILOVER"];
    if let Some((host, port)) = &place {
        words.extend([&b"TO"[..], host.as_bytes(), port.as_bytes()]);
    }
    words.extend([&b"TIMEOUT"[..], sync_within.as_bytes()]);
    conn.ask(&words).await.map(|_| ())
}

/// How a failover that was begun has ended.
enum End {
    Switched(SocketAddr),
    /// The old primary has ended it, and is one still.
    GivenUp,
    /// Not in time, as far as is known: what is known instead.
    Unknown(String),
}

/// The primary that was told to begin.
struct Primary<'s> {
    shard: &'s Shard,
    /// None after it was lost.
    conn: Option<Conn>,
}

impl Primary<'_> {
    /// Waits until the watchers of roles have adopted another primary, or this one has given up.
    async fn end(&mut self, deadline: Instant) -> End {
        loop {
            let state = self.state().await;
            if let Some(new) = self.shard.new_primary() {
                return End::Switched(new);
            }
            let is_primary = match &state {
                Ok(state) if state.is_primary && !state.is_failing_over() => return End::GivenUp,
                Ok(state) => state.is_primary,
                Err(_) => false,
            };
            if Instant::now() >= deadline {
                return End::Unknown(self.unfinished(state));
            }
            if !is_primary {
                self.shard.store.want_roles();
            }
            sleep(LOOK).await;
        }
    }

    /// What it says, over another connection if that one is lost.
    async fn state(&mut self) -> Result<State, Failure> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => open(&self.shard.config, &self.shard.primary).await?,
        };
        let state = State::ask(&mut conn).await?;
        self.conn = Some(conn);
        Ok(state)
    }

    fn unfinished(&self, state: Result<State, Failure>) -> String {
        let primary = self.shard.primary_name();
        match state {
            Ok(state) if state.is_failing_over() => format!(
                "the failover of {primary} has not ended: it says '{}'",
                state.failover
            ),
            Ok(_) => format!(
                "{} is a replica now, and none of the addresses of server '{}' in the file is a primary",
                self.shard.primary, self.shard.name
            ),
            Err(failure) => format!("the failover of {primary} may not have ended: {failure}"),
        }
    }

    /// Ends the failover, so that writes go on. Returns the words for whether that was done.
    async fn abort(mut self) -> String {
        match self.ask_to_abort().await {
            Ok(()) => {
                "FAILOVER ABORT was sent: it is the primary still, and takes writes".to_owned()
            }
            Err(Failure::Refused(reply)) => {
                format!("FAILOVER ABORT was sent, and refused: '{reply}'")
            }
            Err(failure) => format!(
                "FAILOVER ABORT could not be sent ({failure}): send it there, or its writes may stay paused"
            ),
        }
    }

    async fn ask_to_abort(&mut self) -> Result<(), Failure> {
        let words: [&[u8]; 2] = [b"FAILOVER", b"ABORT"];
        if let Some(mut conn) = self.conn.take() {
            match conn.ask(&words).await {
                Err(Failure::Connection(_)) => {}
                outcome => return outcome.map(|_| ()),
            }
        }
        let mut conn = open(&self.shard.config, &self.shard.primary).await?;
        conn.ask(&words).await.map(|_| ())
    }
}
