//! Transactions.

use bytes::BytesMut;

use crate::protocol::{ProtocolTypes, ProxyReply, ServerCommand};

/// MULTI, EXEC, WATCH and the commands that the proxy sends on its own account.
pub trait Transactions<P: ProtocolTypes> {
    /// Records whether a client's requests are queued from now on.
    fn set_in_multi(client: &mut P::Client, queues: bool);

    /// Writes a command of the proxy to a server.
    fn write_server_command(command: ServerCommand, out: &mut BytesMut);

    /// Writes a reply of the proxy to a client.
    fn write_proxy_reply(reply: ProxyReply, out: &mut BytesMut);

    /// Writes the reason of a failed transaction, if `reply` says that it failed: the server's error for one of its
    /// requests.
    fn write_exec_abort(cause: &[u8], reply: &[u8], out: &mut BytesMut) -> bool;

    /// Returns true if the reply to EXEC says that nothing was executed, and that the transaction is over.
    #[must_use]
    fn is_abort(reply: &[u8]) -> bool;
}
