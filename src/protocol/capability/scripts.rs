//! Scripts that are called by their SHA1 digest, and that servers may have lost.

use bytes::BytesMut;

use crate::protocol::ProtocolTypes;

/// The effect of a request on the scripts that the proxy knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptOp {
    /// The request contains a script, which is registered.
    Eval,
    /// The request names a script, which its server may lack.
    EvalSha,
    /// All scripts are removed.
    Flush,
}

/// Scripts that are called by their SHA1 digest, and that servers may have lost.
pub trait Scripts<P: ProtocolTypes> {
    /// Registers or removes the scripts of a request, once it has been sent: never while it is planned, since a request
    /// may be planned again, or discarded with its transaction.
    fn on_script(op: ScriptOp, frame: &[u8], settings: &P::Settings);

    /// Returns true if a reply says that the server lacks the script, and so did nothing.
    #[must_use]
    fn is_noscript(reply: &[u8]) -> bool;

    /// Writes a request as EVAL, with the script itself. Returns false if the script is unknown.
    fn write_eval(settings: &P::Settings, frame: &[u8], out: &mut BytesMut) -> bool;

    /// Returns true if the reply to several requests contains such an error.
    #[must_use]
    fn contains_noscript(reply: &[u8]) -> bool;

    /// A number that changes when all servers are sent a command that clears their scripts.
    fn flush_epoch(settings: &P::Settings) -> u64;

    /// The SHA1 digest of the script that a request calls.
    #[must_use]
    fn script_sha(frame: &[u8]) -> &[u8];

    /// Writes the request that loads the script of this digest. Returns false if the script is unknown.
    fn write_script_load(settings: &P::Settings, sha: &[u8], out: &mut BytesMut) -> bool;
}
