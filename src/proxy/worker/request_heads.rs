//! Copies of the starts of requests that are split by server, for the slow log: their memory is used again.

use std::cell::RefCell;

/// The number of bytes of a request that are kept.
const HEAD_BYTES: usize = 2 << 10;

/// The number of copies whose memory is kept.
const SPARE: usize = 64;

/// The memory of such copies.
#[derive(Debug, Default)]
pub(crate) struct RequestHeads {
    spare: RefCell<Vec<Vec<u8>>>,
}

impl RequestHeads {
    /// A copy of the start of a request.
    pub(crate) fn copy(&self, request: &[u8]) -> Vec<u8> {
        let mut head = self.spare.borrow_mut().pop().unwrap_or_default();
        head.extend_from_slice(request.get(..HEAD_BYTES).unwrap_or(request));
        head
    }

    /// Takes back the memory of a copy.
    pub(crate) fn reclaim(&self, mut head: Vec<u8>) {
        head.clear();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(head);
        }
    }
}
