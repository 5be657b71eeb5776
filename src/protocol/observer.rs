//! Observation of forwarded requests.

use std::time::Duration;

use crate::protocol::ProtocolTypes;

/// Observes the forwarded requests of a pool.
pub trait PoolObserver<P: ProtocolTypes> {
    /// The duration from which a request is passed to [`Self::note_slow`]. Called once per batch of replies.
    fn slow_from(_settings: &P::Settings) -> Duration {
        Duration::MAX
    }

    /// Records a request of the client with this ID and the time that its servers took.
    fn note_slow(_settings: &P::Settings, _tag: P::CommandTag, _client: u64, _took: Duration) {}
}
