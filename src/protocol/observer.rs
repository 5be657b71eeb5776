//! Observation of requests.

use std::time::Duration;

use crate::protocol::ProtocolTypes;
use crate::stats::CommandId;

/// Observes the requests of a pool.
pub trait PoolObserver<P: ProtocolTypes> {
    /// The duration from which a request is passed to [`Self::note_slow`]. Called once per batch of replies.
    fn slow_from(_settings: &P::Settings) -> Duration {
        Duration::MAX
    }

    /// Records a request of the client with this ID and the time that its servers took.
    fn note_slow(_settings: &P::Settings, _command: CommandId, _client: u64, _took: Duration) {}

    /// The code of an error reply; `None` for any other reply.
    fn error_code(reply: &[u8]) -> Option<&[u8]>;

    /// Writes the name that an unknown command, or an unknown subcommand, has in a request.
    fn write_unknown_name(request: &P::Request, frame: &[u8], name: &mut Vec<u8>);
}
