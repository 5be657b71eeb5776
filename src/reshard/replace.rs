//! A server takes the place of another: it replicates it, is promoted in a hold of all its keys, and gets its address's name.
//!
//! ```text
//! REPLICAOF -> copied -> hold of all buckets: fence, offsets equal, REPLICAOF NO ONE, its own mark -> intent, decide, copy
//!     ^----------- aborted: it becomes a replica again ---------------/
//! -> all proxies listen to it: publish there -> all proxies know that -> end
//! ```
//!
//! Invariant: `REPLICAOF` wipes what the server has, so it is sent only to one that nobody has written to: it is empty, or
//! its mark was copied from a server of this move; and only while the mark of the source says that nothing is committed, and
//! nothing open. Whoever could commit leads, and has ended all connections of coordinators before it: see ADR 17.

use std::thread;
use std::time::{Duration, Instant};

use crate::net::ServerAddr;
use crate::protocol::redis::mark::Change;
use crate::redis_client::Info;
use crate::reshard::board::{Board, PAUSED};
use crate::reshard::clients::{Fence, Owner};
use crate::reshard::error::ReshardError;
use crate::reshard::hold::{Held, Reason, Sync};
use crate::reshard::job::Limits;
use crate::reshard::lead::Lead;
use crate::reshard::server::Server;
use crate::reshard::worker::Holder;
use crate::text::size;
use crate::topology::{BucketSet, Decision, Mark, State};

/// How often the servers are asked how far they are.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// The same in a hold.
const POLL_IN_HOLD: Duration = Duration::from_millis(1);
/// The time for which a replica may be without a connection to its primary.
const LINK_WITHIN: Duration = Duration::from_secs(60);
/// The time for which proxies connect to a server after the commit: a hold there refuses what waits for a connection.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// The time for connections that were just opened to tell whose they are.
const GREETED_WITHIN: Duration = Duration::from_secs(5);

/// What has one server take the place of another.
pub(super) struct Replacer<'a> {
    /// The holds of the server that is replaced.
    source: Holder<'a>,
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
            let taker = taker.and_then(|taker| lead.server(taker));
            let (Some(source), Some(taker)) = (lead.server(name), taker) else {
                continue;
            };
            replacers.push(Self {
                source: Holder::open(lead, source, limits, board)?,
                taker: Holder::open(lead, taker, limits, board)?,
                limits,
            });
        }
        Ok(replacers)
    }

    /// The holds of both servers.
    pub(super) fn holders(&mut self) -> [&mut Holder<'a>; 2] {
        [&mut self.source, &mut self.taker]
    }

    /// Has it done; returns false if it was told to end before.
    pub(super) fn run(&mut self) -> Result<bool, ReshardError> {
        if self.source.moved().is_empty() && !self.replace()? {
            return Ok(false);
        }
        self.source.board.progress();
        if !wait(self.source.board, CONNECT_WITHIN) {
            return Ok(false);
        }
        let mut nothing = |_: &BucketSet, _: u64, _: Instant| Ok(None);
        let holder = &mut self.taker;
        holder.hold = holder.hold.max(self.source.hold);
        if holder.moved().is_empty()
            && !hold_until_committed(holder, &BucketSet::ALL, &mut nothing)?
        {
            return Ok(false);
        }
        // After that no proxy publishes at the old server any more, and none need listen to it.
        hold_until_committed(&mut self.source, &BucketSet::EMPTY, &mut nothing)
    }

    /// Copies all, and commits.
    fn replace(&mut self) -> Result<bool, ReshardError> {
        let mut is_tried = false;
        loop {
            if !self.await_copy()? {
                return Ok(false);
            }
            let (source, taker) = (&mut self.source, self.taker.source);
            if !is_tried {
                // Whether all proxies take part shows before any client waits.
                let mut nothing = |_: &BucketSet, _: u64, _: Instant| Ok(None);
                if !hold_until_committed(source, &BucketSet::EMPTY, &mut nothing)? {
                    return Ok(false);
                }
                is_tried = true;
            }
            await_resume(source);
            let (lead, server, length) = (source.lead, source.source, self.limits.hold);
            let mut sync = |_: &BucketSet, hold: u64, deadline: Instant| {
                let promotion = Promotion {
                    lead,
                    source: server,
                    taker,
                    // What is left is for the intent and the commit.
                    until: deadline.checked_sub(length / 4).unwrap_or(deadline),
                };
                promotion.run(hold)
            };
            match source.try_hold(&BucketSet::ALL, &mut sync)? {
                Held::Committed(took) => {
                    let name = &server.name;
                    source.board.update(name, |status| {
                        status.holds.push(took);
                        status.aborted_in_a_row = 0;
                        status.pause = None;
                    });
                    return Ok(true);
                }
                Held::Aborted(reason) => {
                    if !put_off(source, reason) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Makes it a replica, unless it is one, and waits until it has all but the last changes.
    fn await_copy(&self) -> Result<bool, ReshardError> {
        let (board, name) = (self.source.board, &self.source.source.name);
        let (source, taker) = (self.source.source, self.taker.source);
        if !self.is_its_replica(&taker.read_info()?)? {
            self.make_replica()?;
        }
        let mut since = Instant::now();
        loop {
            if board.is_ending() {
                return Ok(false);
            }
            let info = taker.read_info()?;
            if !self.is_its_replica(&info)? {
                return Err(ReshardError::Lost {
                    server: taker.at.to_string(),
                });
            }
            let is_up = info.text("master_link_status") == Some("up");
            let is_syncing = info.number("master_sync_in_progress") == Some(1)
                || info.number("loading") == Some(1);
            if is_up && offset_left(&source.read_info()?, &info) < 1 << 20 {
                board.update(name, |status| {
                    status.state.is_scanned = true;
                    status.pause = None;
                });
                return Ok(true);
            }
            if is_up || is_syncing {
                since = Instant::now();
            }
            if since.elapsed() > LINK_WITHIN {
                return Err(ReshardError::NoLink {
                    server: taker.at.to_string(),
                    primary: source.at.to_string(),
                });
            }
            let pause = if board.is_paused() {
                // The servers go on with what they do.
                PAUSED.to_owned()
            } else {
                format!("{} {}", taker.at, doing(&info, is_up))
            };
            board.update(name, |status| status.pause = Some(pause));
            thread::sleep(POLL_EVERY);
        }
    }

    /// Returns true if it replicates the server whose place it takes; fails if it replicates another.
    fn is_its_replica(&self, info: &Info) -> Result<bool, ReshardError> {
        let Some(primary) = info.primary() else {
            return Ok(false);
        };
        let (host, port) = self.primary()?;
        if primary == format!("{host}:{port}") {
            return Ok(true);
        }
        Err(ReshardError::ForeignReplica {
            server: self.taker.source.at.to_string(),
            primary,
        })
    }

    fn primary(&self) -> Result<(&str, u16), ReshardError> {
        match &self.source.source.at.address {
            ServerAddr::Tcp { host, port } => Ok((host, *port)),
            ServerAddr::Unix(_) => Err(ReshardError::NoLink {
                server: self.taker.source.at.to_string(),
                primary: self.source.source.at.to_string(),
            }),
        }
    }

    /// Has it replicate, which wipes what it has. See the invariant of this module.
    fn make_replica(&self) -> Result<(), ReshardError> {
        let (lead, taker) = (self.source.lead, self.taker.source);
        let source = self.source.source;
        self.end_proxies()?;
        let seen = taker.read_mark(&lead.names)?;
        let mark = seen.mark.filter(|mark| self.is_ours(mark));
        let mark = mark.ok_or_else(|| lost(taker))?;
        // Only a copy has what is known of itself elsewhere: it has replicated, and nobody has written to it since.
        if !mark.moved_elsewhere.contains_key(&taker.name) {
            taker.expect_empty(&lead.names)?;
        }
        let change = Change::CopyMoved(lead.by(), &taker.name, &BucketSet::EMPTY);
        source.change_surely(&lead.names, &change)?;
        self.set_password()?;
        let seen = source.read_mark(&lead.names)?;
        let is_aborted = |mark: &Mark| {
            self.is_ours(mark)
                && mark.run_id == seen.run_id
                && mark.decision != Decision::Open
                && mark.moved.is_empty()
        };
        if !seen.mark.as_deref().is_some_and(is_aborted) {
            return Err(lost(source));
        }
        let (host, port) = self.primary()?;
        taker.call(&["REPLICAOF", host, &port.to_string()])?;
        Ok(())
    }

    /// Returns true if a mark is one that this coordinator leads by.
    fn is_ours(&self, mark: &Mark) -> bool {
        let lead = self.source.lead;
        mark.move_id == lead.move_id && mark.term == lead.term && mark.state == State::Armed
    }

    /// Ends connections that a proxy has opened before the server had a mark: it took it for the one whose place it takes.
    fn end_proxies(&self) -> Result<(), ReshardError> {
        let (lead, taker) = (self.source.lead, self.taker.source);
        let fence = Fence {
            pool: &lead.names.connections,
            allowed: self.limits.allowed,
            ..Fence::default()
        };
        let until = Instant::now() + GREETED_WITHIN;
        loop {
            let clients = taker.clients()?;
            let verdict = fence.judge(&clients);
            if let Some(stranger) = verdict.stranger {
                return Err(ReshardError::Stranger {
                    server: taker.at.to_string(),
                    client: stranger.to_string(),
                });
            }
            let proxies = clients.iter().filter(|client| {
                let owner = client.owner(&lead.names.connections);
                matches!(owner, Owner::Proxy { .. })
            });
            for client in proxies {
                taker.end_client(&client.id)?;
            }
            if verdict.greeting == 0 {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(lost(taker));
            }
            thread::sleep(POLL_EVERY);
        }
    }

    /// Tells it the password of its primary. It stays: it is in memory only, and does nothing for a primary.
    fn set_password(&self) -> Result<(), ReshardError> {
        let (source, taker) = (self.source.source, self.taker.source);
        let Some(password) = &source.at.password else {
            return Ok(());
        };
        let words: [&[u8]; 4] = [b"CONFIG", b"SET", b"masterauth", password];
        taker.ask(|connection| connection.call(&words)).map(|_| ())
    }
}

/// Step 4 of a hold: the replica has all, and becomes a primary with a mark of its own.
struct Promotion<'a> {
    lead: &'a Lead,
    source: &'a Server,
    taker: &'a Server,
    until: Instant,
}

impl Promotion<'_> {
    fn run(&self, hold: u64) -> Result<Option<Reason>, ReshardError> {
        // All that was written there before the fence.
        let wanted = self.source.read_info()?;
        if wanted.text("role") != Some("master") {
            return Err(lost(self.source));
        }
        loop {
            let info = self.taker.read_info()?;
            let left = offset_left(&wanted, &info);
            if left == 0 {
                break;
            }
            if Instant::now() > self.until {
                let text = if left == i64::MAX {
                    format!("{} is not connected to its primary", self.taker.at)
                } else {
                    format!("{} lacked {left} bytes of changes", self.taker.at)
                };
                return Ok(Some(Reason::of(text)));
            }
            thread::sleep(POLL_IN_HOLD);
        }
        if Instant::now() > self.until {
            return Ok(Some(Reason::of(
                "the offsets were equal too late".to_owned(),
            )));
        }
        self.taker.call(&["REPLICAOF", "NO", "ONE"])?;
        if !has_history_of(&self.taker.read_info()?, &wanted) {
            let text = format!("{} did not replicate in that moment", self.taker.at);
            return Ok(Some(Reason::of(text)));
        }
        let change = Change::Settle {
            by: self.lead.by(),
            hold,
            decision: Decision::Abort,
            moved: &BucketSet::EMPTY,
        };
        self.taker.change_surely(&self.lead.names, &change)?;
        Ok(None)
    }
}

/// Returns true if a primary was a replica of `wanted` up to its promotion, and had all that it had written.
fn has_history_of(info: &Info, wanted: &Info) -> bool {
    let is_primary = info.text("role") == Some("master");
    let followed = info.text("master_replid2");
    let until = info.number("second_repl_offset").unwrap_or_default();
    let written = wanted.number("master_repl_offset");
    is_primary
        && followed.is_some()
        && followed == wanted.text("master_replid")
        && written.is_some_and(|written| until > written)
}

/// The bytes of changes that a replica lacks; `i64::MAX` if it is not connected.
fn offset_left(primary: &Info, replica: &Info) -> i64 {
    let is_up = replica.text("master_link_status") == Some("up");
    let is_same = replica.text("master_replid") == primary.text("master_replid");
    let number = |info: &Info, name| i64::try_from(info.number(name)?).ok();
    let offsets = (
        number(primary, "master_repl_offset"),
        number(replica, "slave_repl_offset"),
    );
    match offsets {
        (Some(written), Some(applied)) if is_up && is_same => i64::max(written - applied, 0),
        _ => i64::MAX,
    }
}

fn doing(info: &Info, is_up: bool) -> String {
    if is_up {
        return "applies the last changes".to_owned();
    }
    if info.number("loading") == Some(1) {
        return format!(
            "loads the keys: {}%",
            info.text("loading_loaded_perc").unwrap_or("0")
        );
    }
    if info.number("master_sync_in_progress") == Some(1) {
        let left = info.number("master_sync_left_bytes");
        return match left.filter(|left| *left > 0 && *left < 1 << 60) {
            Some(left) => format!("receives the keys: {} left", size(left)),
            None => "receives the keys".to_owned(),
        };
    }
    "connects to its primary".to_owned()
}

/// Holds buckets until that is committed; returns false if it was told to end before.
fn hold_until_committed(
    holder: &mut Holder<'_>,
    buckets: &BucketSet,
    sync: &mut Sync<'_>,
) -> Result<bool, ReshardError> {
    loop {
        await_resume(holder);
        if holder.board.is_ending() {
            return Ok(false);
        }
        match holder.try_hold(buckets, sync)? {
            Held::Committed(took) => {
                holder.group.committed(took);
                return Ok(true);
            }
            Held::Aborted(reason) => {
                if !put_off(holder, reason) {
                    return Ok(false);
                }
            }
        }
    }
}

/// Waits while the move is paused.
fn await_resume(holder: &Holder<'_>) {
    let (board, name) = (holder.board, &holder.source.name);
    if board.is_paused() {
        board.update(name, |status| status.pause = Some(PAUSED.to_owned()));
        board.await_resume();
        board.update(name, |status| status.pause = None);
    }
}

/// Waits after a hold that was aborted; returns false if it was told to end.
fn put_off(holder: &mut Holder<'_>, reason: Reason) -> bool {
    holder.aborted(reason);
    wait(holder.board, holder.group.pause())
}

/// Waits for that long; returns false if it was told to end.
fn wait(board: &Board, time: Duration) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until && !board.is_ending() {
        thread::sleep(POLL_EVERY);
    }
    !board.is_ending()
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

fn lost(server: &Server) -> ReshardError {
    ReshardError::Lost {
        server: server.at.to_string(),
    }
}
