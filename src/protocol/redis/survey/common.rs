//! What the surveys have in common.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::UpstreamError;
use crate::protocol::redis::command::{MergeKind, ResponsePolicy};
use crate::protocol::redis::merge::context::{MergeContext, MergeSpec};
use crate::topology::{ServerIndex, Topology};

/// All servers of a topology.
pub(super) fn all_servers(topology: &Topology) -> impl Iterator<Item = ServerIndex> {
    ServerIndex::all().take(topology.servers().len())
}

/// The servers that are asked for all keys: not those that are to take the place of another, nor those whose place is taken.
pub(super) fn asked_servers(topology: &Topology) -> Vec<ServerIndex> {
    let router = &topology.router;
    let is_asked =
        |server: &ServerIndex| !router.is_standby(*server) && !router.is_replaced(*server);
    all_servers(topology).filter(is_asked).collect()
}

/// The context of the errors of a command that these servers are asked.
pub(super) fn context(
    name: &'static str,
    topology: &Topology,
    servers: &[ServerIndex],
) -> MergeContext {
    let kind = MergeKind::All(ResponsePolicy::Concat);
    let servers = servers.iter();
    let servers = servers.filter_map(|index| topology.servers().get(index.index()));
    let names: Arc<[String]> = servers.map(|server| server.name.clone()).collect();
    MergeContext {
        servers: Some(names),
        ..MergeContext::from(MergeSpec { name, kind })
    }
}

/// Returns true if a request was not executed, since keys are held that were not when it was queued.
pub(super) fn is_outdated(replies: &[Result<Bytes, UpstreamError>]) -> bool {
    let is_outdated = |reply: &Result<Bytes, UpstreamError>| reply == &Err(UpstreamError::Moving);
    replies.iter().any(is_outdated)
}

/// Returns true if it is certain of all keys whether they have moved.
pub(super) fn is_certain(topology: &Topology) -> bool {
    let router = &topology.router;
    let is_certain = |server: &ServerIndex| {
        let source = router.source(*server);
        source.is_none_or(|source| !source.holds_any())
    };
    let sources = router.laps().map(|[before, _]| before);
    sources.is_none_or(|sources| !router.has_holds() || sources.iter().all(is_certain))
}
