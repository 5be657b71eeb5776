//! What the server of one connection was given, since a transaction refers to it.
//!
//! ```text
//! the first transaction with EVALSHA of a script --> [SCRIPT LOAD] [MULTI ... EXEC]      those that follow: [MULTI ... EXEC]
//! ```
//!
//! Within a transaction a request cannot be said again in other words: what stands around it is carried out. So what it
//! refers to goes before. That changes nothing where the server has it, and is not repeated on the connection, unless a
//! reply says that the server has forgotten it meanwhile.

use std::cell::RefCell;
use std::collections::HashSet;

/// Names that are remembered. With one more, all are forgotten: what is given twice does no harm.
const MOST: usize = 1024;

/// The names of what was given.
#[derive(Debug, Default)]
pub(super) struct Lessons(RefCell<HashSet<Box<[u8]>>>);

impl Lessons {
    /// Whether it was given.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.0.borrow().contains(name)
    }

    /// Notes that it is given now.
    pub(super) fn note(&self, name: &[u8]) {
        let mut given = self.0.borrow_mut();
        if given.len() >= MOST {
            given.clear();
        }
        given.insert(name.into());
    }

    /// The server may not have any of it any more.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}
