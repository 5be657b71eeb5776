//! Commands that wait for replicas or for the AOF.

use crate::protocol::{ProtocolTypes, ServerCommand};

/// Commands that wait for replicas or for the AOF.
pub trait ReplicaWait<P: ProtocolTypes> {
    /// The offset markers for a request with [`crate::protocol::Plan::WaitReplicas`], written on each connection before
    /// it, so that they count as its last write; the first that the server accepts is used.
    fn markers(split: P::MergeSpec) -> &'static [ServerCommand];
}
