//! A hold: the steps in which some buckets of a source are given away.
//!
//! ```text
//! mark -> fence: what proxies vouch for (acks), CLIENT LIST -> sync -> intent at the destinations -> decide -> copy
//!   \--------------------- abort, if any of it takes too long <-----+-----------------------------------/
//! ```
//!
//! The numbers are those of [ADR 17](../../docs/adr/0017-moves-decided-at-the-source.md). Invariant: after an error of a
//! change, which may have been made or not, nothing more is copied: the worker ends, and a new term reads what happened.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::protocol::redis::mark::{Change, Outcome};
use crate::protocol::redis::resp::inspect;
use crate::reshard::clients::Fence;
use crate::reshard::error::ReshardError;
use crate::reshard::group::ALARMING;
use crate::reshard::worker::Holder;
use crate::topology::{BucketSet, Decision, Intent};

/// How often the connections of the source are listed while proxies vouch.
const LIST_EVERY: Duration = Duration::from_millis(10);

/// What a hold has come to.
#[derive(Debug)]
pub(super) enum Held {
    /// Its buckets have moved; requests waited for that long. Of a hold without buckets: they could have.
    Committed(Duration),
    /// They have not.
    Aborted(Reason),
}

/// Why a hold was aborted.
#[derive(Debug, Default)]
pub(super) struct Reason {
    pub(super) text: String,
    /// The proxies that did not vouch, with their connections.
    pub(super) silent: BTreeMap<String, Vec<String>>,
}

impl Reason {
    pub(super) fn of(text: String) -> Self {
        Self {
            text,
            silent: BTreeMap::new(),
        }
    }
}

/// What a proxy says when all its workers vouch.
#[derive(Debug, Deserialize)]
struct Ack {
    proxy: String,
    hold: u64,
    run: String,
    ids: Vec<String>,
}

/// Step 4: makes the destinations equal in these buckets, in the hold of that number, until then. `None` if they are.
pub(super) type Sync<'s> =
    dyn FnMut(&BucketSet, u64, Instant) -> Result<Option<Reason>, ReshardError> + 's;

impl Holder<'_> {
    /// Holds buckets, and commits them. Without buckets it only tries whether all proxies vouch.
    pub(super) fn try_hold(
        &mut self,
        buckets: &BucketSet,
        sync: &mut Sync<'_>,
    ) -> Result<Held, ReshardError> {
        self.hold += 1;
        self.forget_acks()?;
        let started = Instant::now();
        let (names, by) = (&self.lead.names, self.lead.by());
        let seen = self.source.read_mark(names)?;
        let change = Change::Hold(by, self.hold, buckets);
        self.source.change_surely(names, &change)?;
        let tried = self.give_away((buckets, sync), &seen.run_id, started);
        match tried {
            Ok(None) if !buckets.is_empty() => Ok(Held::Committed(started.elapsed())),
            Ok(None) => {
                self.abort()?;
                Ok(Held::Committed(started.elapsed()))
            }
            Ok(Some(reason)) => {
                self.abort()?;
                Ok(Held::Aborted(reason))
            }
            Err(error) => {
                // So that clients wait no longer than needed; if it fails, the next coordinator settles the hold.
                let _ = self.abort();
                Err(error)
            }
        }
    }

    /// Tells why a hold was aborted.
    pub(super) fn aborted(&mut self, reason: Reason) {
        self.group.aborted(reason.silent.keys(), Instant::now());
        let aborts = self.group.aborts();
        if aborts == ALARMING {
            self.board.note(format!(
                "{}: {aborts} holds in a row were aborted, the last one since {}; it goes on trying",
                self.source.at, reason.text
            ));
        }
        self.board.update(&self.source.name, |status| {
            status.aborted += 1;
            status.aborted_in_a_row = u64::from(aborts);
            status.last_abort = Some(reason.text.clone());
            status.pause = Some(reason.text);
        });
    }

    /// Steps 3 to 7. `None` if all are done.
    fn give_away(
        &mut self,
        (buckets, sync): (&BucketSet, &mut Sync<'_>),
        run_id: &str,
        started: Instant,
    ) -> Result<Option<Reason>, ReshardError> {
        if let Some(reason) = self.fence(run_id, started + self.limits.hold / 2)? {
            return Ok(Some(reason));
        }
        if buckets.is_empty() {
            return Ok(None);
        }
        if let Some(reason) = sync(buckets, self.hold, started + self.limits.hold)? {
            return Ok(Some(reason));
        }
        self.commit(buckets, run_id)
    }

    /// Step 3: waits until no connection to the source can carry a request for a held key.
    fn fence(&mut self, run_id: &str, deadline: Instant) -> Result<Option<Reason>, ReshardError> {
        let lead = self.lead;
        let mut fence = Fence {
            pool: &lead.names.connections,
            hold: self.hold,
            allowed: self.limits.allowed,
            ..Fence::default()
        };
        loop {
            self.hear(&mut fence, run_id)?;
            let verdict = fence.judge(&self.source.clients()?);
            if let Some(stranger) = &verdict.stranger {
                return Err(ReshardError::Stranger {
                    server: self.source.at.to_string(),
                    client: stranger.to_string(),
                });
            }
            if verdict.is_clear() {
                return Ok(None);
            }
            for id in &verdict.given_up {
                self.source.end_client(id)?;
            }
            let (silent, now) = (verdict.silent.iter(), Instant::now());
            for (proxy, ids) in silent.filter(|(proxy, _)| self.group.is_banned(proxy, now)) {
                let text = format!(
                    "{}: proxy {proxy} does not take part; {} of its connections are ended",
                    self.source.at,
                    ids.len()
                );
                self.board.note(text);
                for id in ids {
                    self.source.end_client(id)?;
                }
            }
            if now >= deadline {
                let proxies: Vec<_> = verdict.silent.keys().map(String::as_str).collect();
                let text = match proxies.as_slice() {
                    [] => {
                        "connections were opened that have not told yet whose they are".to_owned()
                    }
                    proxies => format!("no answer from proxy {}", proxies.join(", ")),
                };
                return Ok(Some(Reason {
                    text,
                    silent: verdict.silent,
                }));
            }
            let pushed = self.acks.wait_push(deadline.min(now + LIST_EVERY));
            pushed.map_err(|error| self.source.fault(error))?;
        }
    }

    /// Takes what proxies have vouched for.
    fn hear(&mut self, fence: &mut Fence<'_>, run_id: &str) -> Result<(), ReshardError> {
        let polled = self.acks.poll();
        polled.map_err(|error| self.source.fault(error))?;
        while let Some(push) = self.acks.take_push() {
            let message = inspect::elements(&push).and_then(Iterator::last);
            let message = message.and_then(inspect::bulk).unwrap_or_default();
            let Ok(ack) = serde_json::from_slice::<Ack>(message) else {
                continue;
            };
            if ack.hold == self.hold && ack.run == run_id {
                fence
                    .vouched
                    .insert(ack.proxy, ack.ids.into_iter().collect());
            }
        }
        Ok(())
    }

    fn forget_acks(&mut self) -> Result<(), ReshardError> {
        let polled = self.acks.poll();
        polled.map_err(|error| self.source.fault(error))?;
        while self.acks.take_push().is_some() {}
        Ok(())
    }

    /// Steps 5 to 7.
    fn commit(
        &mut self,
        buckets: &BucketSet,
        run_id: &str,
    ) -> Result<Option<Reason>, ReshardError> {
        let (lead, source) = (self.lead, self.source);
        let (names, by) = (&lead.names, lead.by());
        let intent = Intent {
            hold: self.hold,
            buckets: *buckets,
            run_id: run_id.to_owned(),
        };
        let destinations = lead.routes.destinations(&source.name).iter();
        let destinations: Vec<_> = destinations.filter_map(|name| lead.server(name)).collect();
        for destination in &destinations {
            destination.change_surely(names, &Change::Intend(by, &source.name, &intent))?;
        }
        let moved = self.moved().union(buckets);
        match source.change(names, &Change::Commit(by, self.hold, &moved))? {
            Outcome::Decided(Decision::Commit) => {}
            Outcome::Decided(Decision::Abort) => {
                for destination in &destinations {
                    destination.change_surely(names, &Change::ForgetIntent(by, &source.name))?;
                }
                return Ok(Some(Reason::of("a proxy has proposed to abort".to_owned())));
            }
            outcome => return Err(source.refusal(outcome)),
        }
        self.set_moved(moved);
        for other in lead.others(&source.name) {
            if other.is_replica()? {
                continue;
            }
            other.change_surely(names, &Change::CopyMoved(by, &source.name, &moved))?;
        }
        Ok(None)
    }

    /// Proposes to abort the hold; fails unless it is aborted, or committed by this worker.
    fn abort(&self) -> Result<(), ReshardError> {
        let change = Change::Abort {
            move_id: &self.lead.move_id,
            hold: self.hold,
        };
        match self.source.change(&self.lead.names, &change)? {
            Outcome::Decided(Decision::Abort) => Ok(()),
            outcome => Err(self.source.refusal(outcome)),
        }
    }
}
