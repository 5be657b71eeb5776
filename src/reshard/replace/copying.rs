//! From an empty server to the commit: it replicates the one whose place it takes, and is promoted in a hold of all its keys.

use std::thread;
use std::time::{Duration, Instant};

use crate::net::ServerAddr;
use crate::protocol::redis::mark::Change;
use crate::redis_client::Info;
use crate::reshard::board::PAUSED;
use crate::reshard::clients::{Fence, Owner};
use crate::reshard::error::ReshardError;
use crate::reshard::hold::Held;
use crate::reshard::job::Limits;
use crate::reshard::replace::holding::{await_resume, hold_until_committed, lost, put_off};
use crate::reshard::replace::promotion::{Promotion, offset_left};
use crate::reshard::server::Server;
use crate::reshard::worker::Holder;
use crate::text::size;
use crate::topology::{BucketSet, Decision, Mark, State};

/// How often the servers are asked how far they are.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// The time for which a replica may be without a connection to its primary.
const LINK_WITHIN: Duration = Duration::from_secs(60);
/// The time for connections that were just opened to tell whose they are.
const GREETED_WITHIN: Duration = Duration::from_secs(5);

/// What makes a server the equal of another, and commits that it takes its place.
pub(super) struct Copying<'r, 'a> {
    pub(super) source: &'r mut Holder<'a>,
    pub(super) taker: &'a Server,
    pub(super) limits: Limits<'a>,
}

impl Copying<'_, '_> {
    /// Copies all, and commits; returns false if it was told to end before.
    pub(super) fn run(&mut self) -> Result<bool, ReshardError> {
        let mut is_tried = false;
        loop {
            if !self.await_copy()? {
                return Ok(false);
            }
            let (source, taker) = (&mut *self.source, self.taker);
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
        let (source, taker) = (self.source.source, self.taker);
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
            server: self.taker.at.to_string(),
            primary,
        })
    }

    fn primary(&self) -> Result<(&str, u16), ReshardError> {
        match &self.source.source.at.address {
            ServerAddr::Tcp { host, port } => Ok((host, *port)),
            ServerAddr::Unix(_) => Err(ReshardError::NoLink {
                server: self.taker.at.to_string(),
                primary: self.source.source.at.to_string(),
            }),
        }
    }

    /// Has it replicate, which wipes what it has. See the invariant of this module.
    fn make_replica(&self) -> Result<(), ReshardError> {
        let (lead, taker) = (self.source.lead, self.taker);
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
        let (lead, taker) = (self.source.lead, self.taker);
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
        let (source, taker) = (self.source.source, self.taker);
        let Some(auth) = &source.at.auth else {
            return Ok(());
        };
        let password = auth.password.expose();
        let mut settings = vec![(&b"masterauth"[..], password)];
        // A server that is older than users has no such parameter.
        settings.extend(
            auth.user
                .as_deref()
                .map(|user| (&b"masteruser"[..], user.as_bytes())),
        );
        for (name, value) in settings {
            let words: [&[u8]; 4] = [b"CONFIG", b"SET", name, value];
            taker.ask(|connection| connection.call(&words))?;
        }
        Ok(())
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
