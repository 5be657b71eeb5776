//! The replica that a primary's `FAILOVER` may make the new primary: one at an address of the file.
//!
//! The primary connects to it at the address that it knows, and tries that for good, with writes paused. At another address than
//! those of the file it may not be reached, and if it is, the watchers of roles would not find it.

use std::net::SocketAddr;

use crate::control::dns;
use crate::net::ServerAddr;

use super::shard::{FailoverError, Shard};
use super::state::State;

/// A replica as its primary knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    announced: ServerAddr,
    /// What that stands for; none if it is not known.
    address: Option<SocketAddr>,
    acknowledged: u64,
}

/// Chooses the replica to name in `FAILOVER`, by the address that its primary knows; none if each of them will do.
pub(super) async fn choose(
    shard: &Shard,
    state: &State,
    to: Option<SocketAddr>,
) -> Result<Option<ServerAddr>, FailoverError> {
    let primary = shard.primary_name();
    if state.is_failing_over() {
        return Err(FailoverError::Impossible(format!(
            "a failover of {primary} is in progress already ('{}'); FAILOVER ABORT there ends it",
            state.failover
        )));
    }
    if !state.is_primary {
        return Err(FailoverError::Impossible(format!(
            "{primary} is no primary any more"
        )));
    }
    let mut known = Vec::new();
    for (announced, acknowledged) in &state.replicas {
        known.push(Known {
            announced: announced.clone(),
            address: resolve(announced).await,
            acknowledged: *acknowledged,
        });
    }
    let roles = shard.store.roles();
    let of_file = roles.replicas().get(&shard.name).into_iter().flatten();
    let of_file: Vec<_> = of_file.map(|replica| replica.address).collect();
    choose_among(&known, &of_file, to)
        .map_err(|reason| FailoverError::Impossible(reason.words(shard, &known, &of_file)))
}

async fn resolve(address: &ServerAddr) -> Option<SocketAddr> {
    match address {
        ServerAddr::Tcp { host, port } => dns::resolve(host, *port).await.ok(),
        ServerAddr::Unix(_) => None,
    }
}

/// The reason why no replica can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsuitable {
    /// The primary has no replica.
    NoReplica,
    /// The primary has none at this address.
    NotOfPrimary(SocketAddr),
    /// The primary has one at this address, the file has not.
    NotOfFile(SocketAddr),
    /// The primary has none at an address of the file.
    NoneOfFile,
}

fn choose_among(
    known: &[Known],
    of_file: &[SocketAddr],
    to: Option<SocketAddr>,
) -> Result<Option<ServerAddr>, Unsuitable> {
    if let Some(to) = to {
        let mut known = known.iter();
        let target = known.find(|known| known.address == Some(to));
        let target = target.ok_or(Unsuitable::NotOfPrimary(to))?;
        return if of_file.contains(&to) {
            Ok(Some(target.announced.clone()))
        } else {
            Err(Unsuitable::NotOfFile(to))
        };
    }
    if known.is_empty() {
        return Err(Unsuitable::NoReplica);
    }
    let is_suitable = |known: &&Known| {
        let address = known.address;
        address.is_some_and(|address| of_file.contains(&address))
    };
    let suitable: Vec<_> = known.iter().filter(is_suitable).collect();
    if suitable.len() == known.len() {
        return Ok(None);
    }
    let foremost = suitable.iter().max_by_key(|known| known.acknowledged);
    let foremost = foremost.ok_or(Unsuitable::NoneOfFile)?;
    Ok(Some(foremost.announced.clone()))
}

impl Unsuitable {
    fn words(self, shard: &Shard, known: &[Known], of_file: &[SocketAddr]) -> String {
        let (primary, server) = (shard.primary_name(), &shard.name);
        let known = list(known.iter().map(|known| &known.announced));
        match self {
            Self::NoReplica => format!("{primary} has no replica that is online"),
            Self::NotOfPrimary(to) => format!(
                "{to} is not a replica of {primary}, whose replicas that are online are: {known}; if it is one of them, set its \
                 'replica-announce-ip' and 'replica-announce-port' to that address"
            ),
            Self::NotOfFile(to) => format!(
                "{to} is not a replica of server '{server}' in the file: the proxy would not find the new primary"
            ),
            Self::NoneOfFile => format!(
                "{primary} knows its replicas as {known}, which the file has not; there those of server '{server}' are: {}. It might \
                 not reach them, and writes would wait: set 'replica-announce-ip' and 'replica-announce-port' of each replica to \
                 its address in the file",
                list(of_file)
            ),
        }
    }
}

fn list(addresses: impl IntoIterator<Item = impl ToString>) -> String {
    let addresses = addresses.into_iter().map(|address| address.to_string());
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return "none".to_owned();
    }
    addresses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_a_replica_of_the_primary_and_of_the_file() {
        let at = |last: u8| SocketAddr::from(([10, 0, 0, last], 6379));
        let by_name = ServerAddr::Tcp {
            host: "two.test".to_owned(),
            port: 6379,
        };
        let known = [
            (1, at(1).into(), 7),
            (2, by_name.clone(), 9),
            (3, at(3).into(), 9),
        ];
        let known = known.map(|(last, announced, acknowledged)| Known {
            announced,
            address: Some(at(last)),
            acknowledged,
        });
        let file = |lasts: &[u8]| lasts.iter().copied().map(at).collect::<Vec<_>>();
        for (of_file, to, expected) in [
            (file(&[1, 2, 3, 4]), None, Ok(None)),
            // As the primary knows it, for it compares the words.
            (file(&[1, 2]), None, Ok(Some(by_name.clone()))),
            (file(&[1, 2]), Some(at(2)), Ok(Some(by_name))),
            (file(&[1]), None, Ok(Some(at(1).into()))),
            (file(&[4]), None, Err(Unsuitable::NoneOfFile)),
            (
                file(&[4]),
                Some(at(4)),
                Err(Unsuitable::NotOfPrimary(at(4))),
            ),
            (file(&[1]), Some(at(3)), Err(Unsuitable::NotOfFile(at(3)))),
        ] {
            assert_eq!(
                choose_among(&known, &of_file, to),
                expected,
                "{of_file:?}, {to:?}"
            );
        }
        assert_eq!(
            choose_among(&[], &file(&[1]), None),
            Err(Unsuitable::NoReplica)
        );
    }
}
