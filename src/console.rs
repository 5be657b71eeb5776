//! The terminal of a tool, or what stands for it: `main` makes it, and tools write to nothing else.

use std::fmt;
use std::io;
use std::io::Write;

/// The terminal, or what stands for it.
pub struct Console<'a> {
    /// For the report.
    pub out: &'a mut dyn Write,
    /// For the line that shows the progress, if anybody sees it.
    pub terminal: Option<&'a mut dyn Write>,
    /// Asks a question; none if nobody can answer.
    pub confirm: Option<&'a mut Confirm<'a>>,
}

/// Asks a question that has the answers yes and no.
pub type Confirm<'a> = dyn FnMut(&str) -> io::Result<bool> + 'a;

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}
