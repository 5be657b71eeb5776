//! A client that leaves for another process.
//!
//! Invariant: it has nothing in flight and nothing to be written, and all that it has sent and that was not executed goes with it.

use std::os::fd::OwnedFd;

use bytes::Bytes;

use crate::protocol::ClientRecord;

/// The most bytes that a client takes along; one that has sent more of a request leaves when that is complete.
pub(crate) const UNREAD_MAX_BYTES: usize = 1 << 20;

/// A client that another process is to serve.
#[derive(Debug)]
pub struct Departure {
    /// Its connection.
    pub socket: OwnedFd,
    /// What is known of it.
    pub record: ClientRecord,
    /// What it has sent, and nobody has executed.
    pub unread: Bytes,
}
