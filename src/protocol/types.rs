//! The types of a protocol, which its capabilities share.

use std::fmt;

/// The data of a wire format: what it keeps of a pool, of a client, and of a request in flight.
pub trait ProtocolTypes: Sized + fmt::Debug + 'static {
    /// The protocol's settings of a pool.
    type Settings: fmt::Debug + 'static;
    /// The state of one client.
    type Client: fmt::Debug + Unpin + 'static;
    /// The state of the scan of a request.
    type RequestScanner: fmt::Debug + Default + Unpin + 'static;
    /// The state of the scan of a reply.
    type ReplyScanner: fmt::Debug + Default + Unpin + 'static;
    /// A scanned request: spans, no bytes.
    type Request: fmt::Debug + Copy + Unpin + 'static;
    /// The context that the reply scanner needs of the request that a reply answers.
    type Expect: fmt::Debug + Copy;
    /// The way a request is split and its replies are merged.
    type MergeSpec: fmt::Debug + Copy;
    /// The data of a split request that is kept until its replies can be merged.
    type MergeContext: fmt::Debug + 'static;
    /// The error when the framing of a client's bytes is lost.
    type ScanError: fmt::Debug;
}
