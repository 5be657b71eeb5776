//! What a primary says of its replicas.

use crate::control::conn::{Conn, Failure};
use crate::net::ServerAddr;
use crate::protocol::UpstreamError;
use crate::redis_client::Info;

const NO_FAILOVER: &str = "no-failover";

/// `INFO replication` of a server that is asked for a failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) is_primary: bool,
    /// The length of its history; of a replica, how much of it it has applied.
    pub(super) offset: u64,
    /// Its own failover, as in `no-failover`.
    pub(super) failover: String,
    /// The replicas that are online, at the addresses that they announce, which may be names; and how much of the history they have acknowledged.
    pub(super) replicas: Vec<(ServerAddr, u64)>,
}

impl State {
    pub(super) async fn ask(conn: &mut Conn) -> Result<Self, Failure> {
        let reply = conn.ask(&[b"INFO", b"replication"]).await?;
        Self::read(&reply).ok_or_else(|| UpstreamError::BadReply.into())
    }

    /// Returns true if its own `FAILOVER` goes on. It says that it is a replica, once it hands over.
    pub(super) fn is_failing_over(&self) -> bool {
        self.failover != NO_FAILOVER
    }

    fn read(reply: &[u8]) -> Option<Self> {
        let info = Info::of_reply(reply)?;
        let failover = info.text("master_failover_state");
        Some(Self {
            is_primary: info.is_primary(),
            offset: info.replication_offset().unwrap_or_default(),
            failover: failover.unwrap_or(NO_FAILOVER).to_owned(),
            replicas: info.replicas().filter_map(replica).collect(),
        })
    }
}

/// A replica that is online; none of another one.
fn replica(value: &str) -> Option<(ServerAddr, u64)> {
    let field = |name: &str| {
        let mut fields = value.split(',').filter_map(|field| field.split_once('='));
        fields
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    };
    field("state").filter(|state| *state == "online")?;
    let address = ServerAddr::Tcp {
        host: field("ip")?.to_owned(),
        port: field("port")?.parse().ok()?,
    };
    Some((address, field("offset")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_tells_the_replicas_that_are_online() {
        let text = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
            slave0:ip=10.0.0.5,port=6379,state=online,offset=14,lag=0,type=replica\r\n\
            slave1:ip=10.0.0.6,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
            master_failover_state:waiting-for-sync\r\nmaster_replid:a\r\nmaster_repl_offset:20\r\n";
        let reply = format!("${}\r\n{text}\r\n", text.len());
        let state = State::read(reply.as_bytes()).unwrap();
        assert!(state.is_primary);
        assert_eq!(
            (state.offset, state.failover.as_str()),
            (20, "waiting-for-sync")
        );
        assert_eq!(state.replicas, [("10.0.0.5:6379".parse().unwrap(), 14)]);
        assert!(state.is_failing_over());
    }

    #[test]
    fn offset_of_a_replica_is_what_it_has_applied() {
        let text = "role:slave\r\nslave_read_repl_offset:9\r\nslave_repl_offset:7\r\nslave_priority:100\r\n\
            master_repl_offset:9\r\n";
        let reply = format!("${}\r\n{text}\r\n", text.len());
        let state = State::read(reply.as_bytes()).unwrap();
        assert!(!state.is_primary);
        assert_eq!(state.offset, 7);
    }
}
