//! A request that blocks, and where its keys are.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::protocol::Blocking as _;
use crate::protocol::{Protocol, Span};
use crate::proxy::forward::Forwarder;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::topology::{KeyHashes, ServerId, ServerIndex};

/// The request of a blocked client.
#[derive(Debug)]
pub(super) struct BlockingRequest {
    bytes: Bytes,
    keys: Box<[Span]>,
    /// The changes of placement before it was sent.
    placement: u64,
}

impl BlockingRequest {
    /// A copy of a request that is sent by the placement of now.
    pub(super) fn copy<P: Protocol>(
        fw: &Forwarder<P>,
        request: &[u8],
        buffers: &PlanBuffers,
    ) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(request),
            keys: buffers.keys.iter().map(|key| key.key).collect(),
            placement: fw.view.placement(),
        }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The request with the time that is left after it has waited.
    pub(super) fn shortened<P: Protocol>(&self, waited: Duration) -> Bytes {
        let mut shortened = BytesMut::new();
        match P::Stateful::write_shortened(&self.bytes, waited, &mut shortened) {
            Some(_) => shortened.freeze(),
            None => self.bytes.clone(),
        }
    }

    /// How long it waits at most; `None` if that is not limited.
    pub(super) fn limit<P: Protocol>(&self) -> Option<Duration> {
        P::Stateful::write_shortened(&self.bytes, Duration::ZERO, &mut BytesMut::new())
    }

    /// The server of all its keys; `None` if there is none, or not one.
    pub(super) fn owner<P: Protocol>(&self, fw: &Forwarder<P>) -> Option<ServerIndex> {
        let mut owners = self.keys().map(|key| fw.view.route(key));
        let first = owners.next()?;
        owners.all(|owner| owner == first).then_some(first)?
    }

    /// Notes that it is sent again by the placement of now.
    pub(super) fn sent_again<P: Protocol>(&mut self, fw: &Forwarder<P>) {
        self.placement = fw.view.placement();
    }

    /// Notes on a connection for which keys its client waits: in a hold of other keys they are no reason to unblock it.
    pub(super) fn note_keys<P: Protocol>(&self, fw: &Forwarder<P>, upstream: &UpstreamConn<P>) {
        let guarded = upstream.server.guard.as_ref();
        if let (Some(_), Some(dedicated)) = (guarded, upstream.dedicated.as_deref()) {
            let mut hashes = KeyHashes::default();
            for key in self.keys() {
                hashes.add(key, &fw.view.topology.router);
            }
            dedicated.waits_for.replace(Some(hashes));
        }
    }

    /// Returns true if a key is being moved.
    pub(super) fn is_held<P: Protocol>(&self, fw: &Forwarder<P>) -> bool {
        self.keys().any(|key| fw.view.is_held(key))
    }

    /// Returns true if a key is stored on another server than this by now, or is being moved there.
    pub(super) fn has_moved<P: Protocol>(&self, fw: &Forwarder<P>, from: ServerId) -> bool {
        let owner = |key| fw.view.id(fw.view.route(key)?);
        self.placement != fw.view.placement()
            && !fw.view.is_random()
            && (self.keys().any(|key| owner(key) != Some(from)) || self.is_held(fw))
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| key.of(&self.bytes))
    }
}
