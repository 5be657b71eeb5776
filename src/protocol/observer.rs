//! What a pool learns of the requests that were forwarded.

use std::time::Duration;

use crate::protocol::Protocol;

/// What a pool learns of the requests that were forwarded.
pub trait PoolObserver<P: Protocol> {
    /// From which time on a request is to be noted with [`P::note_slow`]. Asked once a batch of replies.
    fn slow_from(_settings: &P::Settings) -> Duration {
        Duration::MAX
    }

    /// Notes a request of the client of this number whose servers took so long.
    fn note_slow(_settings: &P::Settings, _label: P::CommandTag, _client: u64, _took: Duration) {}
}
