//! Splitting a request by server, and merging the replies.

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::{ConnProfile, KeySpan, Part, ProtocolTypes, UpstreamError};

/// Splits a request by server, and merges the replies.
pub trait Merge<P: ProtocolTypes> {
    /// Writes the bytes before the units of a fragment of `frame`.
    fn begin_fragment(split: P::MergeSpec, frame: &[u8], part: Part, out: &mut BytesMut);

    /// Writes the bytes after the units of a fragment.
    fn end_fragment(split: P::MergeSpec, out: &mut BytesMut);

    /// Keeps the data that merging the replies needs.
    fn merge_context(
        split: P::MergeSpec,
        frame: &[u8],
        keys: &[KeySpan],
        settings: &P::Settings,
    ) -> P::MergeContext;

    /// Returns true if the reply goes through `merge` even if the pool has only one server.
    fn always_merges(_split: P::MergeSpec) -> bool {
        false
    }

    /// Returns true if the request goes to servers on bypass connections: it concerns commands that run on the shared
    /// connections, and must not wait behind them. Ejected servers get it, too: those commands may be why they are
    /// ejected.
    fn bypasses_queue(_split: P::MergeSpec) -> bool {
        false
    }

    /// The profile of bypass connections, for a client of `profile`: a server accepts its handshake even when it is
    /// busy.
    fn bypass_profile(_settings: &P::Settings, profile: ConnProfile) -> ConnProfile {
        profile
    }

    /// Merges the replies to the fragments of one request, in the order of the servers. `owners` has for each key, in
    /// the order of the request, the index of its reply in `replies`; it is empty if every server got the whole
    /// request.
    fn merge(
        context: &P::MergeContext,
        owners: &[u16],
        replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> Result<(), UpstreamError>;
}
