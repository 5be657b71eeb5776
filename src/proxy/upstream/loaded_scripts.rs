//! The scripts loaded over one connection, since a transaction refers to them.
//!
//! ```text
//! the first transaction with EVALSHA of a script --> [SCRIPT LOAD] [MULTI ... EXEC]      later ones: [MULTI ... EXEC]
//! ```
//!
//! Within a transaction EVALSHA cannot be retried as EVAL: the commands around it are executed. So its script is loaded
//! before. That changes nothing if the server has it, and is not repeated on the connection, unless a reply shows that
//! the server has lost it meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

/// Maximum number of SHAs remembered. With one more, all are forgotten: loading a script twice does no harm.
const MAX_SCRIPTS: usize = 1024;

/// The SHAs of the loaded scripts.
#[derive(Debug, Default)]
pub(crate) struct LoadedScripts {
    shas: RefCell<HashSet<Box<[u8]>>>,
    /// The number of SCRIPT FLUSH to all servers before they were loaded.
    flush_epoch: Cell<u64>,
}

impl LoadedScripts {
    /// Forgets all if scripts were flushed since.
    pub(crate) fn keep_up(&self, flush_epoch: u64) {
        if self.flush_epoch.replace(flush_epoch) != flush_epoch {
            self.forget();
        }
    }

    /// Returns true if the script was loaded.
    pub(crate) fn has(&self, sha: &[u8]) -> bool {
        self.shas.borrow().contains(sha)
    }

    /// Notes that a script is loaded.
    pub(crate) fn note(&self, sha: &[u8]) {
        let mut shas = self.shas.borrow_mut();
        if shas.len() >= MAX_SCRIPTS {
            shas.clear();
        }
        shas.insert(sha.into());
    }

    /// Forgets all: the server may have lost them.
    pub(crate) fn forget(&self) {
        self.shas.borrow_mut().clear();
    }
}
