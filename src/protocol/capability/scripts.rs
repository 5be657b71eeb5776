//! Scripts that servers are given by name, and may have lost.

use bytes::BytesMut;

use crate::protocol::{Protocol, ScriptOp};

/// Scripts that servers are given by name, and may have lost.
pub trait Scripts<P: Protocol> {
    /// Registers or removes the scripts that a request is about, once it has been sent: never while it is planned, since a
    /// request may be planned again, or discarded with its transaction.
    fn on_script(op: ScriptOp, frame: &[u8], settings: &P::Settings);

    /// Whether a reply says that its server lacks what the request refers to, and so did nothing.
    #[must_use]
    fn is_noscript(reply: &[u8]) -> bool;

    /// Writes a request in words that its server cannot lack. Returns whether there are any.
    fn write_eval(settings: &P::Settings, frame: &[u8], out: &mut BytesMut) -> bool;

    /// Whether a reply to several requests says so of one of them.
    #[must_use]
    fn contains_noscript(reply: &[u8]) -> bool;

    /// A number that changes when all servers were told to forget what they may lack.
    fn flush_epoch(settings: &P::Settings) -> u64;

    /// The name of what the server of a request may lack.
    #[must_use]
    fn script_sha(frame: &[u8]) -> &[u8];

    /// Writes a request that gives a server what has this name. Returns whether there is any.
    fn write_script_load(settings: &P::Settings, name: &[u8], out: &mut BytesMut) -> bool;
}
