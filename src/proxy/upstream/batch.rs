//! A MULTI block that is queued in one piece.

use crate::buf::WriteBuf;

/// The requests of a whole transaction, side by side.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: WriteBuf,
    pub(crate) lens: Vec<usize>,
}
