//! The error replies of the proxy itself.

use bytes::BytesMut;

use crate::protocol::{ProtocolTypes, UpstreamError};

/// The error replies of the proxy itself.
pub trait ErrorReplies<P: ProtocolTypes> {
    /// Writes that a request is refused because the memory limit of the pool is nearly reached.
    fn write_memory_limit(out: &mut BytesMut);

    /// Writes that a request is refused because of a quota, of which `text` tells; nothing if it expects no reply.
    fn write_over_quota(request: &P::Request, text: &str, out: &mut BytesMut);

    /// Writes the reply after which the connection is closed because its framing is lost.
    fn write_scan_error(error: &P::ScanError, out: &mut BytesMut);

    /// Writes the reply for `error` to a client that expects this reply; nothing if it expects none.
    fn write_upstream_error(error: UpstreamError, expect: P::Expect, out: &mut BytesMut);

    /// Writes the reply for a lost connection to `server`.
    fn write_lost(_server: &str, error: UpstreamError, expect: P::Expect, out: &mut BytesMut) {
        Self::write_upstream_error(error, expect, out);
    }

    /// Writes the error for a request with two keys that are stored on different servers, and a remedy.
    fn write_cross_server(settings: &P::Settings, keys: [&[u8]; 2], out: &mut BytesMut);

    /// Writes why a client is refused that has just connected.
    fn write_refused_client(_text: &str, out: &mut BytesMut) {
        Self::write_max_clients(out);
    }

    /// Writes the reply to a client that is rejected because of the limit of clients.
    fn write_max_clients(out: &mut BytesMut);
}
