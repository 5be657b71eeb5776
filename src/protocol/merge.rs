//! How a request is split by server, and how the replies are merged.

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::{ConnProfile, KeySpan, Part, Protocol, UpstreamError};

/// How a request is split by server, and how the replies are merged.
pub trait Merge<P: Protocol> {
    /// Writes what comes before the units of a fragment of `frame`.
    fn begin_fragment(split: P::MergeSpec, frame: &[u8], part: Part, out: &mut BytesMut);

    /// Writes what comes after the units of a fragment.
    fn end_fragment(split: P::MergeSpec, out: &mut BytesMut);

    /// Keeps what joining the replies will need.
    fn merge_context(
        split: P::MergeSpec,
        frame: &[u8],
        keys: &[KeySpan],
        settings: &P::Settings,
    ) -> P::MergeContext;

    /// Whether the reply goes through `gather` even where the pool has one server only.
    fn always_merges(_split: P::MergeSpec) -> bool {
        false
    }

    /// Whether servers get the request on connections of its own: it concerns what runs on those that clients share, and must
    /// not wait behind that. Ejected servers get it, too: what runs may be why.
    fn bypasses_queue(_split: P::MergeSpec) -> bool {
        false
    }

    /// The lane of such connections, for a client of `lane`: a server accepts its greeting whatever it is busy with.
    fn bypass_profile(_settings: &P::Settings, profile: ConnProfile) -> ConnProfile {
        profile
    }

    /// Joins the replies to the fragments of one request, in the order of the servers. `owners` says for each key, in
    /// the order of the request, which of `replies` answers it; it is empty where every server got the whole request.
    fn merge(
        joint: &P::MergeContext,
        owners: &[u16],
        replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> Result<(), UpstreamError>;
}
