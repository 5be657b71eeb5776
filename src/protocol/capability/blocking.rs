//! Commands that wait for what other clients do.

use bytes::BytesMut;

use crate::protocol::{Protocol, ServerClientId, TryResult, UnblockReason};

/// Commands that wait for what other clients do.
pub trait Blocking<P: Protocol> {
    /// Notes at which servers, by their index, a client waits for what other clients do, and over which connections; none
    /// where it waits no more.
    fn set_blocked_on(client: &P::Client, places: Vec<(u16, ServerClientId)>);

    /// What came of a request that was tried in a transaction of its own, where it does not wait.
    #[must_use]
    fn try_result(reply: &[u8]) -> TryResult<'_>;

    /// Whether to be tried changes what a request that may wait stands for.
    #[must_use]
    fn reads_latest(request: &[u8]) -> bool;

    /// Writes the request that ends what blocks another connection, which the server calls so. Returns whether it can:
    /// otherwise that connection is closed.
    fn write_unblock(identity: &[u8], how: UnblockReason, out: &mut BytesMut) -> bool;

    /// Whether a reply to a part of a request to [`Whom::Each`] says that its server did not yet know what the request is
    /// about, and will: then it is asked again.
    fn unblock_raced(settings: &P::Settings, original: &[u8], part: &[u8], reply: &[u8]) -> bool;

    /// Writes the request that puts back what its server took out of a key for a blocking request. Returns whether it took
    /// anything.
    fn restore_popped(request: &[u8], reply: &[u8], out: &mut BytesMut) -> bool;
}
