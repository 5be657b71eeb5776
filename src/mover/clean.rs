//! Unlinks keys of a server, in slices.

use std::fmt;

use crate::mover::endpoint::Endpoint;
use crate::mover::error::MoverError;
use crate::mover::pace::{Limits, Pace};
use crate::mover::scan::Scan;
use crate::mover::source::Source;
use crate::protocol::redis::resp::inspect;
use crate::redis_client::{Connection, ServerError};

/// The keys of one UNLINK.
const SLICE_KEYS: usize = 100;

/// What is to be unlinked, and how.
pub struct Clean<'a> {
    /// The server.
    pub at: &'a Endpoint,
    /// The databases.
    pub databases: &'a [u32],
    /// Says which keys go. Marks stay, whatever it says.
    pub goes: &'a dyn Fn(&[u8]) -> bool,
    /// The name of the connection in the server's `CLIENT LIST`.
    pub client_name: &'a str,
    /// The limits; that of bytes means nothing here.
    pub limits: Limits,
}

impl fmt::Debug for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clean")
            .field("at", self.at)
            .finish_non_exhaustive()
    }
}

/// Scans a server, and unlinks what goes. Tells `progress` the keys that were scanned and unlinked so far, after each
/// page; returns the number of keys that were unlinked.
pub fn clean(job: &Clean<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<u64, MoverError> {
    clean_if(job, &mut |_| Ok(true), progress)
}

/// As [`clean`], if `may_begin` says so: it is asked once, over the connection that will unlink, when that is open.
pub fn clean_if(
    job: &Clean<'_>,
    may_begin: &mut dyn FnMut(&mut Connection) -> Result<bool, ServerError>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, MoverError> {
    let mut source = Source::open(job.at.clone(), job.client_name)?;
    let may = may_begin(&mut source.connection);
    if !may.map_err(|error| source.fault(error))? {
        return Ok(0);
    }
    let mut pace = Pace::new(job.limits);
    let mut scan = Scan::new(job.databases.iter().copied(), pace.page_keys());
    let (mut scanned, mut unlinked) = (0, 0);
    loop {
        source.measure(&mut pace)?;
        let found = scan.next(&mut source.connection);
        let Some((_, mut keys)) = found.map_err(|error| source.fault(error))? else {
            return Ok(unlinked);
        };
        scanned += keys.len() as u64;
        keys.retain(|key| (job.goes)(key));
        for slice in keys.chunks(SLICE_KEYS) {
            let mut words: Vec<&[u8]> = vec![b"UNLINK"];
            words.extend(slice.iter().map(AsRef::<[u8]>::as_ref));
            let reply = source.connection.call(&words);
            let reply = reply.map_err(|error| source.fault(error))?;
            let count = inspect::integer(&reply).and_then(|count| u64::try_from(count).ok());
            unlinked += count.unwrap_or_default();
            pace.wait(slice.len() as u64, 0);
        }
        progress(scanned, unlinked);
    }
}
