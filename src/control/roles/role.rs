//! What a server says of its own role.

use crate::config::{PoolConfig, ServerAuth};
use crate::control::conn::{Conn, Failure, auth};
use crate::net::ServerAddr;
use crate::protocol::UpstreamError;
use crate::protocol::redis::resp::inspect;

use super::times::PATIENCE;

/// The reply to `ROLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Role {
    /// A primary, and the length of its history.
    Primary { offset: u64 },
    /// A replica: how much of the history it has, and whether it is connected to its primary.
    Replica { offset: u64, is_linked: bool },
    /// Something else: a sentinel.
    Other,
}

impl Role {
    pub(in crate::control) fn is_primary(&self) -> bool {
        matches!(self, Self::Primary { .. })
    }

    fn read(reply: &[u8]) -> Option<Self> {
        let mut elements = inspect::elements(reply)?;
        let kind = inspect::bulk(elements.next()?)?;
        let number = |reply: &[u8]| u64::try_from(inspect::integer(reply)?.max(0)).ok();
        Some(match kind {
            b"master" => Self::Primary {
                offset: number(elements.next()?)?,
            },
            b"slave" => {
                let state = inspect::bulk(elements.nth(2)?)?;
                Self::Replica {
                    is_linked: state == b"connected",
                    offset: number(elements.next()?)?,
                }
            }
            _ => Self::Other,
        })
    }
}

/// Opens a connection to a server of a pool.
pub(in crate::control) async fn open(
    config: &PoolConfig,
    address: &ServerAddr,
) -> Result<Conn, Failure> {
    let auth = config.server_auth();
    let words = auth.as_ref().map_or_else(Vec::new, ServerAuth::words);
    let tls = config.connector().map(|tls| &**tls);
    Conn::open((address, tls), &words, PATIENCE).await
}

/// Opens a connection to a sentinel of a pool.
pub(in crate::control) async fn open_sentinel(
    config: &PoolConfig,
    address: &ServerAddr,
) -> Result<Conn, Failure> {
    let secret = config.sentinel_auth.as_ref();
    let words = secret.map_or_else(Vec::new, |secret| auth(secret.expose()));
    let tls = config.sentinel_connector().map(|tls| &**tls);
    Conn::open((address, tls), &words, PATIENCE).await
}

/// Asks a server for its role.
pub(in crate::control) async fn ask_role(conn: &mut Conn) -> Result<Role, Failure> {
    let reply = conn.ask(&[b"ROLE"]).await?;
    Ok(Role::read(&reply).ok_or(UpstreamError::BadReply)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_servers_write_them() {
        for (reply, expected) in [
            (
                &b"*3\r\n$6\r\nmaster\r\n:531\r\n*0\r\n"[..],
                Some(Role::Primary { offset: 531 }),
            ),
            (
                b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:7631\r\n$9\r\nhandshake\r\n:-1\r\n",
                Some(Role::Replica {
                    offset: 0,
                    is_linked: false,
                }),
            ),
            (
                b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:7631\r\n$9\r\nconnected\r\n:7\r\n",
                Some(Role::Replica {
                    offset: 7,
                    is_linked: true,
                }),
            ),
            (
                b"*2\r\n$8\r\nsentinel\r\n*1\r\n$1\r\nm\r\n",
                Some(Role::Other),
            ),
            (b"+OK\r\n", None),
            (b"*0\r\n", None),
        ] {
            assert_eq!(Role::read(reply), expected, "{}", reply.escape_ascii());
        }
    }
}
