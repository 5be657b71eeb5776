//! Commands that wait for replicas, or for the disk.

use crate::protocol::{Phrase, Protocol};

/// Commands that wait for replicas, or for the disk.
pub trait ReplicaWait<P: Protocol> {
    /// What is written for a request to [`Plan::Attest`] on each connection before it, so that it counts as the last that
    /// was written there; the first that the server takes.
    fn markers(split: P::MergeSpec) -> &'static [Phrase];
}
