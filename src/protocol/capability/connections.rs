//! Connections to a server that another connection closes.

use bytes::BytesMut;

use crate::protocol::ProtocolTypes;

/// Has a server close a connection that the proxy has abandoned, with requests that the server may still execute.
pub trait Connections<P: ProtocolTypes> {
    /// The server can be told to.
    const CLOSES_OTHERS: bool;

    /// Writes the command that closes the connection from this address. Nothing of it is executed after the reply, unless
    /// that is an error.
    fn write_close_other(address: &str, out: &mut BytesMut);
}
