//! Transactions.

use bytes::BytesMut;

use crate::protocol::{ProtocolTypes, ProxyReply, ServerCommand, Span};

/// MULTI, EXEC, WATCH and the commands that the proxy sends on its own account.
pub trait Transactions<P: ProtocolTypes> {
    /// Records whether a client's requests are queued from now on.
    fn set_in_multi(client: &mut P::Client, queues: bool);

    /// Writes a command of the proxy to a server.
    fn write_server_command(command: ServerCommand, out: &mut BytesMut);

    /// Writes a reply of the proxy to a client.
    fn write_proxy_reply(reply: ProxyReply, out: &mut BytesMut);

    /// Writes the reply to an EXEC that executes nothing, since a watched key may have changed.
    fn write_nil(client: &P::Client, out: &mut BytesMut);

    /// Writes the reason of a failed transaction, if `reply` says that it failed: the server's error for one of its
    /// requests.
    fn write_exec_abort(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool;

    /// Writes the error for which a server has rejected EXEC itself, if `reply` says that it has.
    fn write_abort_cause(reply: &[u8], out: &mut BytesMut) -> bool;

    /// Returns true if a client may have lost rights since it began the transaction.
    fn rights_changed(_client: &P::Client) -> bool {
        false
    }

    /// Writes the reply to EXEC if a queued request may not be executed any more.
    fn write_lost_right(
        _client: &P::Client,
        _settings: &P::Settings,
        _request: &[u8],
        _out: &mut BytesMut,
    ) -> bool {
        false
    }

    /// The elements of the reply to EXEC; `None` if nothing was executed.
    fn exec_elements(reply: &[u8]) -> Option<Vec<Span>>;

    /// Writes the first line of a reply to EXEC.
    fn write_array_header(count: usize, out: &mut BytesMut);

    /// Returns true if the reply to EXEC says that nothing was executed, and that the transaction is over.
    #[must_use]
    fn is_abort(reply: &[u8]) -> bool;
}
