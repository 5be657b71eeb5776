//! What the server of one connection was given, since a transaction refers to it.
//!
//! ```text
//! the first transaction with EVALSHA of a script --> [SCRIPT LOAD] [MULTI ... EXEC]      those that follow: [MULTI ... EXEC]
//! ```
//!
//! Within a transaction a request cannot be said again in other words: what stands around it is carried out. So what it
//! refers to goes before. That changes nothing where the server has it, and is not repeated on the connection, unless a
//! reply says that the server has forgotten it meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

/// Names that are remembered. With one more, all are forgotten: what is given twice does no harm.
const MOST: usize = 1024;

/// The names of what was given.
#[derive(Debug, Default)]
pub(crate) struct LoadedScripts {
    given: RefCell<HashSet<Box<[u8]>>>,
    /// When, by the count of the times that all servers were told to forget.
    oblivion: Cell<u64>,
}

impl LoadedScripts {
    /// Forgets all if the servers were told to forget since.
    pub(crate) fn keep_up(&self, oblivion: u64) {
        if self.oblivion.replace(oblivion) != oblivion {
            self.forget();
        }
    }

    /// Whether it was given.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.given.borrow().contains(name)
    }

    /// Notes that it is given now.
    pub(crate) fn note(&self, name: &[u8]) {
        let mut given = self.given.borrow_mut();
        if given.len() >= MOST {
            given.clear();
        }
        given.insert(name.into());
    }

    /// The server may not have any of it any more.
    pub(crate) fn forget(&self) {
        self.given.borrow_mut().clear();
    }
}
