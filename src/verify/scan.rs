//! One pass over all keys of all servers.
//!
//! A stray is examined, and perhaps unlinked, right after it was found: between the question whether its owner has the
//! key and the answer to it lies one round trip, and no list of strays is kept, however many there are.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use crate::protocol::redis::resp::inspect;
use crate::redis_client::refused;
use crate::topology::{Router, ServerIndex, is_mark};
use crate::verify::progress::{Pace, Progress};
use crate::verify::servers::{Server, ServerFault};

/// What to do with strays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Nothing.
    Nothing,
    /// Unlink those that their owner has too: clients do not miss them.
    Copies,
    /// Unlink all, also those that may be the only copy.
    All,
}

/// A key on a server on which the file does not look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) key: Bytes,
    pub(super) database: u32,
    /// The server that has it.
    pub(super) on: usize,
    /// The server on which the file looks for it.
    pub(super) owner: usize,
    /// True if the owner has such a key too.
    pub(super) is_copy: bool,
    /// Its memory; none if the server does not tell.
    pub(super) bytes: Option<u64>,
    pub(super) is_unlinked: bool,
}

/// The sums of a pass.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// Keys by server.
    pub(super) keys: BTreeMap<usize, u64>,
    /// Strays by the server that has them and their owner.
    pub(super) strays: BTreeMap<(usize, usize), Sums>,
    /// A server did not tell how large its strays are.
    pub(super) is_size_unknown: bool,
}

/// The sums of some strays.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) keys: u64,
    /// Of these, those that their owner has too.
    pub(super) copies: u64,
    pub(super) unlinked: u64,
    pub(super) bytes: u64,
}

impl Tally {
    pub(super) fn scanned(&self) -> u64 {
        self.keys.values().sum()
    }

    pub(super) fn total(&self) -> Sums {
        let mut total = Sums::default();
        for sums in self.strays.values() {
            total.keys += sums.keys;
            total.copies += sums.copies;
            total.unlinked += sums.unlinked;
            total.bytes += sums.bytes;
        }
        total
    }

    fn add(&mut self, stray: &Stray) {
        let sums = self.strays.entry((stray.on, stray.owner)).or_default();
        sums.keys += 1;
        sums.copies += u64::from(stray.is_copy);
        sums.unlinked += u64::from(stray.is_unlinked);
        sums.bytes += stray.bytes.unwrap_or_default();
        self.is_size_unknown |= stray.bytes.is_none();
    }
}

/// The reason why a pass ends early.
#[derive(Debug)]
pub(super) enum Stop {
    Server(Box<ServerFault>),
    /// What was found cannot be written.
    Output(io::Error),
}

impl From<ServerFault> for Stop {
    fn from(fault: ServerFault) -> Self {
        Self::Server(Box::new(fault))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// One pass.
pub(super) struct Pass<'p> {
    pub(super) router: &'p Router,
    pub(super) servers: &'p [Server],
    /// The databases that clients can select.
    pub(super) databases: &'p dyn Fn(u32) -> bool,
    pub(super) fix: Fix,
    pub(super) pace: Pace,
    pub(super) progress: Progress<'p>,
    /// Is told of each stray.
    pub(super) found: &'p mut dyn FnMut(&Stray) -> io::Result<()>,
}

impl Pass<'_> {
    /// Scans all servers. The tally is complete up to a failure.
    pub(super) fn run(mut self) -> (Tally, Result<(), Stop>) {
        let mut tally = Tally::default();
        let result = self.scan_all(&mut tally);
        self.progress.clear();
        (tally, result)
    }

    fn scan_all(&mut self, tally: &mut Tally) -> Result<(), Stop> {
        let instances = |server: &&Server| server.instance == server.index;
        for on in self.servers.iter().filter(instances) {
            tally.keys.insert(on.index, 0);
            let databases = on.databases.iter().map(|&(database, _)| database);
            for database in databases.filter(|&number| (self.databases)(number)) {
                self.scan(on, database, tally)?;
            }
        }
        Ok(())
    }

    fn scan(&mut self, on: &Server, database: u32, tally: &mut Tally) -> Result<(), Stop> {
        let mut cursor = Bytes::from_static(b"0");
        loop {
            let batch = self.pace.batch();
            let (next, mut keys) =
                on.ask(database, |connection| connection.scan(&cursor, batch))?;
            keys.retain(|key| !is_mark(key));
            let scanned = keys.len() as u64;
            *tally.keys.entry(on.index).or_default() += scanned;
            self.examine(on, database, &keys, tally)?;
            self.progress.show(tally.scanned(), tally.total().keys);
            self.pace.wait(scanned);
            if next == b"0".as_slice() {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Finds the strays among the keys of a server.
    fn examine(
        &mut self,
        on: &Server,
        database: u32,
        keys: &[Bytes],
        tally: &mut Tally,
    ) -> Result<(), Stop> {
        let mut by_owner: BTreeMap<usize, Vec<Stray>> = BTreeMap::new();
        for key in keys {
            let owner = self.router.route(key).map(ServerIndex::index);
            let owner = owner.and_then(|owner| self.servers.get(owner));
            if let Some(owner) = owner.filter(|owner| owner.instance != on.index) {
                let stray = Stray {
                    key: key.clone(),
                    database,
                    on: on.index,
                    owner: owner.index,
                    is_copy: false,
                    bytes: None,
                    is_unlinked: false,
                };
                by_owner.entry(owner.index).or_default().push(stray);
            }
        }
        for (owner, mut strays) in by_owner {
            if let Some(owner) = self.servers.get(owner) {
                find_copies(owner, database, &mut strays)?;
            }
            measure(on, database, &mut strays)?;
            let unlinked = unlink(on, database, &mut strays, self.fix);
            for stray in &strays {
                tally.add(stray);
                (self.found)(stray)?;
            }
            unlinked?;
        }
        Ok(())
    }
}

/// Asks the owner which of the keys it has too.
fn find_copies(owner: &Server, database: u32, strays: &mut [Stray]) -> Result<(), ServerFault> {
    owner.ask(database, |connection| {
        let words: &[&[u8]] = &[b"EXISTS"];
        let replies = connection.call_each(words, keys(strays))?;
        for (stray, reply) in strays.iter_mut().zip(&replies) {
            let count = inspect::integer(reply).ok_or_else(|| refused(words, reply))?;
            stray.is_copy = count > 0;
        }
        Ok(())
    })
}

/// Asks for the sizes, and forgets keys that are gone. A server may refuse to tell them.
fn measure(on: &Server, database: u32, strays: &mut Vec<Stray>) -> Result<(), ServerFault> {
    let words: &[&[u8]] = &[b"MEMORY", b"USAGE"];
    let replies = on.ask(database, |connection| {
        connection.call_each(words, keys(strays))
    })?;
    let mut replies = replies.iter();
    strays.retain_mut(|stray| {
        let reply = replies.next().map(AsRef::as_ref).unwrap_or_default();
        let bytes = inspect::integer(reply);
        stray.bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        stray.bytes.is_some() || inspect::is_error(reply)
    });
    Ok(())
}

/// Unlinks what the fix allows. After an error, the strays that were unlinked before it are known.
fn unlink(on: &Server, database: u32, strays: &mut [Stray], fix: Fix) -> Result<(), ServerFault> {
    let is_wanted = |stray: &&mut Stray| match fix {
        Fix::Nothing => false,
        Fix::Copies => stray.is_copy,
        Fix::All => true,
    };
    let mut strays: Vec<&mut Stray> = strays.iter_mut().filter(is_wanted).collect();
    if strays.is_empty() {
        return Ok(());
    }
    on.ask(database, |connection| {
        let words: &[&[u8]] = &[b"UNLINK"];
        let replies = connection.call_each(words, strays.iter().map(|stray| &*stray.key))?;
        let mut result = Ok(());
        for (stray, reply) in strays.iter_mut().zip(&replies) {
            match inspect::integer(reply) {
                Some(count) => stray.is_unlinked = count > 0,
                None => result = Err(refused(words, reply)),
            }
        }
        result
    })
}

fn keys(strays: &[Stray]) -> impl Iterator<Item = &[u8]> {
    strays.iter().map(|stray| &*stray.key)
}
