//! A server takes the place of another: it replicates it, is promoted in a hold of all its keys, and gets its address's name.
//!
//! ```text
//! REPLICAOF -> copied -> hold of all buckets: fence, offsets equal, REPLICAOF NO ONE, its own mark -> intent, decide, copy
//!     ^----------- aborted: it becomes a replica again ---------------/
//! -> all proxies listen to it: publish there -> all proxies know that -> end
//! ```
//!
//! After the commit the old server may be gone for good, as soon as another one's mark says that all its buckets have moved: the
//! move then ends without it. Nothing can be committed there any more, and nothing of it is copied; requests go by the marks
//! of the others, and when it comes back it is asked for nothing: see ADR 17.
//!
//! Invariant: `REPLICAOF` wipes what the server has, so it is sent only to one that nobody has written to: it is empty, or
//! its mark was copied from a server of this move; and only while the mark of the source says that nothing is committed, and
//! nothing open. Whoever could commit leads, and has ended all connections of coordinators before it: see ADR 17.

mod copying;
mod holding;
mod promotion;

use std::time::{Duration, Instant};

use crate::reshard::board::Board;
use crate::reshard::error::ReshardError;
use crate::reshard::job::Limits;
use crate::reshard::lead::Lead;
use crate::reshard::worker::Holder;
use crate::topology::BucketSet;

use copying::Copying;
use holding::{hold_until_committed, wait};

/// The time for which proxies connect to a server after the commit: a hold there refuses what waits for a connection.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

/// What has one server take the place of another.
pub(super) struct Replacer<'a> {
    /// The holds of the server that is replaced; none if its place is taken, and it does not answer any more.
    source: Option<Holder<'a>>,
    /// Those of the other one, which has no keys to give away: by them the proxies say that they listen to it.
    taker: Holder<'a>,
    limits: Limits<'a>,
}

impl<'a> Replacer<'a> {
    /// One for each server that is replaced. To be called before the term is raised.
    pub(super) fn open_all(
        lead: &'a Lead,
        limits: Limits<'a>,
        board: &'a Board,
    ) -> Result<Vec<Self>, ReshardError> {
        let mut replacers = Vec::new();
        for name in lead.routes.sources() {
            let taker = lead.routes.destinations(name).first();
            let Some(taker) = taker.and_then(|taker| lead.server(taker)) else {
                continue;
            };
            let source = lead.server(name);
            let source = source.map(|source| Holder::open(lead, source, limits, board));
            replacers.push(Self {
                source: source.transpose()?,
                taker: Holder::open(lead, taker, limits, board)?,
                limits,
            });
        }
        Ok(replacers)
    }

    /// The holds of both servers.
    pub(super) fn holders(&mut self) -> impl Iterator<Item = &mut Holder<'a>> {
        self.source.iter_mut().chain([&mut self.taker])
    }

    /// Has it done; returns false if it was told to end before.
    pub(super) fn run(&mut self) -> Result<bool, ReshardError> {
        if let Some(source) = &mut self.source
            && source.moved().is_empty()
        {
            let mut copying = Copying {
                source,
                taker: self.taker.source,
                limits: self.limits,
            };
            if !copying.run()? {
                return Ok(false);
            }
        }
        let taker = &mut self.taker;
        taker.board.progress();
        if !wait(taker.board, CONNECT_WITHIN) {
            return Ok(false);
        }
        let mut nothing = |_: &BucketSet, _: u64, _: Instant| Ok(None);
        let before = self.source.as_ref().map_or(0, |source| source.hold);
        taker.hold = taker.hold.max(before);
        if taker.moved().is_empty() && !hold_until_committed(taker, &BucketSet::ALL, &mut nothing)?
        {
            return Ok(false);
        }
        // After that no proxy publishes at the old server any more, and none need listen to it. Where that is gone, nobody hears
        // what is on its way there: it is enough that all that use the new one know.
        let last = self.source.as_mut().unwrap_or(taker);
        hold_until_committed(last, &BucketSet::EMPTY, &mut nothing)
    }
}

/// Has servers that were to take the places of others stand alone again, and empty. Returns those that had replicated: they
/// have no mark any more. Nothing may be committed, or open.
pub(super) fn take_back(lead: &Lead) -> Result<Vec<&str>, ReshardError> {
    let mut emptied = Vec::new();
    for name in lead.routes.all_destinations() {
        let Some(taker) = lead.server(name) else {
            continue;
        };
        if let Some(primary) = taker.read_info()?.primary() {
            let mut sources = lead.routes.sources().filter_map(|name| lead.server(name));
            if !sources.any(|source| source.at.address.to_string() == primary) {
                return Err(ReshardError::ForeignReplica {
                    server: taker.at.to_string(),
                    primary,
                });
            }
        }
        let was_replica = taker.is_replica()? || {
            let mark = taker.read_mark(&lead.names)?.mark;
            mark.is_some_and(|mark| {
                mark.move_id == lead.move_id && mark.moved_elsewhere.contains_key(name)
            })
        };
        if was_replica {
            taker.call(&["REPLICAOF", "NO", "ONE"])?;
            taker.call(&["FLUSHALL", "ASYNC"])?;
            emptied.push(name);
        }
    }
    Ok(emptied)
}
