//! One sentinel: what it says of the servers of a pool, each second, and at once after its notices.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::config::PoolConfig;
use crate::control::conn::{Conn, Failure};
use crate::control::dns;
use crate::net::ServerAddr;
use crate::protocol::UpstreamError;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::inspect;
use crate::topology::Replica;

use super::choice::Answer;
use super::role::open_sentinel;
use super::times::{INTERVAL, PAUSE};

/// Notices after which something may be different. The sentinel that leads a failover tells of the switch only when it is
/// over, but of the promotion at once.
const NOTICES: [&[u8]; 8] = [
    b"SUBSCRIBE",
    b"+switch-master",
    b"+promoted-slave",
    b"+failover-end",
    b"+slave",
    b"+sdown",
    b"-sdown",
    b"+reset-master",
];

/// What was heard of a sentinel.
#[derive(Debug)]
pub(super) enum Word {
    /// What it says of each server that it knows, and none for those that it does not.
    Answers(Vec<(String, Option<Answer>)>),
    /// It does not answer.
    Silence(Failure),
}

/// Follows a sentinel until it is aborted.
pub(super) async fn follow(
    sentinel: ServerAddr,
    config: Arc<PoolConfig>,
    said: mpsc::Sender<(String, Word)>,
    mut kick: watch::Receiver<()>,
) {
    let name = sentinel.to_string();
    loop {
        let Err(failure) = converse(&sentinel, &config, &said, &mut kick).await;
        if said
            .send((name.clone(), Word::Silence(failure)))
            .await
            .is_err()
        {
            return;
        }
        wait(&mut kick).await;
    }
}

async fn converse(
    sentinel: &ServerAddr,
    config: &PoolConfig,
    said: &mpsc::Sender<(String, Word)>,
    kick: &mut watch::Receiver<()>,
) -> Result<Infallible, Failure> {
    let mut notices = open_sentinel(config, sentinel).await?;
    notices.send(&NOTICES).await?;
    let mut conn = open_sentinel(config, sentinel).await?;
    loop {
        let mut answers = Vec::new();
        ask(&mut conn, config).await?;
        for server in &config.servers {
            match answer(&mut conn, config.reads_replicas()).await? {
                Said::Answer(answer) => answers.push((server.name.clone(), Some(answer))),
                Said::Unknown => answers.push((server.name.clone(), None)),
                Said::Nowhere => {}
            }
        }
        let word = (sentinel.to_string(), Word::Answers(answers));
        if said.send(word).await.is_err() {
            return Err(UpstreamError::Dropped.into());
        }
        tokio::select! {
            notice = notices.next() => {
                refused(&notice?)?;
                while let Some(notice) = notices.take()? {
                    refused(&notice)?;
                }
                sleep(PAUSE).await;
            }
            () = wait(kick) => {}
        }
    }
}

/// Waits until it is time to ask again, or somebody wants to know.
async fn wait(kick: &mut watch::Receiver<()>) {
    let kicked = async {
        if kick.changed().await.is_ok() {
            // Others want to know the same.
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = kicked => {}
        () = sleep(INTERVAL) => {}
    }
}

fn refused(notice: &Bytes) -> Result<(), Failure> {
    if inspect::is_error(notice) {
        return Err(Failure::refused(notice));
    }
    Ok(())
}

enum Said {
    Answer(Answer),
    /// It does not watch a server of that name.
    Unknown,
    /// The name of the host that it says cannot be resolved, as after the host was removed.
    Nowhere,
}

/// Asks about all servers. First for the epoch of each: were a failover to end in between, a new epoch would seem to be that of the
/// old address, for good.
async fn ask(conn: &mut Conn, config: &PoolConfig) -> Result<(), Failure> {
    let mut questions = BytesMut::new();
    for server in &config.servers {
        let name = server.name.as_bytes();
        write_request(&[b"SENTINEL", b"MASTER", name], &mut questions);
        write_request(
            &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name],
            &mut questions,
        );
        if config.reads_replicas() {
            write_request(&[b"SENTINEL", b"REPLICAS", name], &mut questions);
        }
    }
    conn.write(&questions).await
}

/// The answers about one server.
async fn answer(conn: &mut Conn, with_replicas: bool) -> Result<Said, Failure> {
    let state = conn.reply().await?;
    let place = conn.reply().await?;
    let list = if with_replicas {
        Some(conn.reply().await?)
    } else {
        None
    };
    if inspect::is_error(&state) && !state.starts_with(b"-ERR No such master") {
        return Err(Failure::refused(&state));
    }
    let state = inspect::pairs(&state);
    let place = inspect::elements(&place);
    let place: Option<Vec<_>> = place.and_then(|words| words.map(inspect::bulk).collect());
    let (Some(fields), Some([host, port])) = (state, place.as_deref()) else {
        return Ok(Said::Unknown);
    };
    let Some(address) = resolve(host, port).await else {
        return Ok(Said::Nowhere);
    };
    let mut replicas = Vec::new();
    let list = list.as_deref().and_then(inspect::elements);
    for entry in list.into_iter().flatten() {
        if let Some(fields) = inspect::pairs(entry) {
            replicas.extend(replica(&fields).await);
        }
    }
    Ok(Said::Answer(Answer {
        address,
        epoch: number(&fields, b"config-epoch").unwrap_or_default(),
        replicas,
    }))
}

async fn replica(fields: &[(&[u8], &[u8])]) -> Option<Replica> {
    let address = resolve(field(fields, b"ip")?, field(fields, b"port")?).await?;
    let flags = field(fields, b"flags").unwrap_or_default();
    let is_down = flags
        .split(|byte| *byte == b',')
        .any(|flag| [&b"s_down"[..], b"o_down", b"disconnected"].contains(&flag));
    let is_linked = field(fields, b"master-link-status").is_none_or(|status| status == b"ok");
    Some(Replica {
        address,
        is_up: !is_down && is_linked,
        behind_bytes: None,
    })
}

fn field<'f>(fields: &[(&'f [u8], &'f [u8])], name: &[u8]) -> Option<&'f [u8]> {
    let mut fields = fields.iter();
    fields
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

fn number(fields: &[(&[u8], &[u8])], name: &[u8]) -> Option<u64> {
    std::str::from_utf8(field(fields, name)?).ok()?.parse().ok()
}

/// The address that a sentinel says: with `resolve-hostnames` it may be that of a name.
async fn resolve(host: &[u8], port: &[u8]) -> Option<SocketAddr> {
    let (host, port) = (
        std::str::from_utf8(host).ok()?,
        std::str::from_utf8(port).ok()?,
    );
    dns::resolve(host, port.parse().ok()?).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_is_up_while_its_sentinel_and_its_link_say_so() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for (flags, status, is_up) in [
            ("slave", "ok", true),
            ("slave", "err", false),
            ("s_down,slave", "ok", false),
            ("slave,disconnected", "ok", false),
        ] {
            let fields: [(&[u8], &[u8]); 4] = [
                (b"ip", b"10.0.0.5"),
                (b"port", b"6379"),
                (b"flags", flags.as_bytes()),
                (b"master-link-status", status.as_bytes()),
            ];
            let replica = runtime.block_on(replica(&fields)).unwrap();
            assert_eq!(replica.address.to_string(), "10.0.0.5:6379");
            assert_eq!(replica.is_up, is_up, "{flags} {status}");
        }
    }
}
