//! The error replies of the proxy itself.

use bytes::BytesMut;

use crate::protocol::{Protocol, UpstreamError};

/// The error replies of the proxy itself.
pub trait ErrorReplies<P: Protocol> {
    /// Writes the reply that tells a client its framing is lost; the connection closes after it.
    fn write_scan_error(error: &P::ScanError, out: &mut BytesMut);

    /// Writes how `fault` reads on this wire, for a client that expects this reply; nothing where it expects none.
    fn write_upstream_error(error: UpstreamError, expect: P::Expect, out: &mut BytesMut);

    /// Writes that the connection to `server` is lost.
    fn write_lost(_server: &str, error: UpstreamError, expect: P::Expect, out: &mut BytesMut) {
        P::Errors::write_upstream_error(error, expect, out);
    }

    /// Writes that a request cannot be carried out since two of its keys live on different servers, and what to do.
    fn write_cross_server(settings: &P::Settings, keys: [&[u8]; 2], out: &mut BytesMut);

    /// Writes the reply to a client for whom there is no room.
    fn write_max_clients(out: &mut BytesMut);
}
