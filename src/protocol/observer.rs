//! Observation of requests.

use std::time::Duration;

use crate::observe::{Monitored, RequestText, SlowRequest};
use crate::protocol::ProtocolTypes;
use crate::stats::CommandId;

/// Observes the requests of a pool.
pub trait PoolObserver<P: ProtocolTypes> {
    /// Calls `visit` with each key of a request whose framing and arity are right.
    fn visit_keys(request: &P::Request, frame: &[u8], visit: &mut dyn FnMut(&[u8]));

    /// As [`Self::visit_keys`], for a request of which this is the start.
    fn visit_keys_of_head(head: &[u8], visit: &mut dyn FnMut(&[u8]));

    /// The name of the command of a request of which this is the start.
    fn name_of_head(head: &[u8]) -> &[u8];

    /// The arguments of a request of which this is the start, without secrets.
    fn text(head: &[u8]) -> RequestText;

    /// Returns true for a request of administration, which is not shown to monitoring clients.
    fn is_administrative(_request: &[u8]) -> bool {
        false
    }

    /// Returns true for the request that has the queued ones of a transaction executed.
    fn is_exec(_request: &[u8]) -> bool {
        false
    }

    /// Writes what a monitoring client is shown of a request, without the first byte.
    fn write_monitored(_request: &Monitored, _out: &mut Vec<u8>) {}

    /// The duration from which a request is passed to [`Self::note_slow`]. Called once per batch of replies.
    fn slow_from(settings: &P::Settings) -> Duration;

    /// Records a slow request of the client with this ID and address.
    fn note_slow(
        settings: &P::Settings,
        command: CommandId,
        client: (u64, &str),
        slow: SlowRequest,
    );

    /// The code of an error reply; `None` for any other reply.
    fn error_code(reply: &[u8]) -> Option<&[u8]>;

    /// Writes the name that an unknown command, or an unknown subcommand, has in a request.
    fn write_unknown_name(request: &P::Request, frame: &[u8], name: &mut Vec<u8>);
}
