//! The worker of one source, with all its connections. `pursue` has its course, `hold` the steps of a hold.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::PoolConfig;
use crate::mover;
use crate::mover::{DatabasePair, Endpoint, Mover, MoverError, Plan};
use crate::redis_client::Connection;
use crate::reshard::board::Board;
use crate::reshard::error::ReshardError;
use crate::reshard::group::Group;
use crate::reshard::job::Limits;
use crate::reshard::lead::Lead;
use crate::reshard::routes::Moved;
use crate::reshard::server::Server;
use crate::topology::{BUCKETS, BucketSet, hold_number};

/// The numbers of holds of a term that come before those of its workers: marks that are written anew have them.
const RESERVED: u32 = 2;

/// The worker of one source.
pub(super) struct Worker<'a> {
    pub(super) holder: Holder<'a>,
    pub(super) mover: Mover,
    /// It loads the function libraries to the servers that the move adds.
    pub(super) gives_functions: bool,
}

/// What gives away the buckets of one source.
pub(super) struct Holder<'a> {
    pub(super) lead: &'a Lead,
    pub(super) source: &'a Server,
    pub(super) board: &'a Board,
    pub(super) limits: Limits<'a>,
    /// Subscribed to what proxies vouch for.
    pub(super) acks: Connection,
    /// The buckets that have moved; none of their keys is copied.
    moved: Moved,
    /// The number of the last hold.
    pub(super) hold: u64,
    pub(super) group: Group,
}

impl<'a> Worker<'a> {
    /// Opens all connections. To be called before the term is raised.
    pub(super) fn open(
        lead: &'a Lead,
        source: &'a Server,
        pool: &PoolConfig,
        limits: Limits<'a>,
        board: &'a Board,
    ) -> Result<Self, ReshardError> {
        let holder = Holder::open(lead, source, limits, board)?;
        let name = lead.client_name();
        let destinations = lead.routes.destinations(&source.name).iter();
        let destinations = destinations.filter_map(|name| lead.server(name));
        let mover = Mover::open(Plan {
            source: source.at.clone(),
            destinations: destinations.map(|server| server.at.clone()).collect(),
            databases: databases(pool),
            placement: lead.routes.placement(&source.name, &holder.moved),
            given_away: Some(lead.routes.given_away(&source.name, &holder.moved)),
            client_name: name,
            channel: b"ringroad:move".to_vec(),
            limits: mover::Limits {
                keys: limits.per_second.map(u64::from),
                bytes: None,
            },
            keeps_others: false,
        })?;
        Ok(Self {
            holder,
            mover,
            gives_functions: false,
        })
    }
}

impl<'a> Holder<'a> {
    /// Opens its connection. To be called before the term is raised.
    pub(super) fn open(
        lead: &'a Lead,
        source: &'a Server,
        limits: Limits<'a>,
        board: &'a Board,
    ) -> Result<Self, ReshardError> {
        Ok(Self {
            lead,
            source,
            board,
            limits,
            acks: open_acks(&source.at, &lead.client_name(), &lead.names.acks)?,
            moved: Arc::new(RwLock::new(BucketSet::EMPTY)),
            hold: 0,
            group: Group::new(limits.hold),
        })
    }

    /// Tells it what has moved before, and the number of the last hold.
    pub(super) fn set_known(&mut self, moved: BucketSet, hold: u64) {
        self.set_moved(moved);
        let reserved = hold_number(self.lead.term, RESERVED);
        self.hold = hold.max(reserved);
    }

    pub(super) fn moved(&self) -> BucketSet {
        *self.moved.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on no key of these buckets is copied.
    pub(super) fn set_moved(&self, moved: BucketSet) {
        *self.moved.write().unwrap_or_else(PoisonError::into_inner) = moved;
        self.board
            .update(&self.source.name, |status| status.moved = moved.len());
    }
}

/// The number of buckets of each source.
pub(super) const BUCKETS_EACH: usize = BUCKETS as usize;

fn open_acks(at: &Endpoint, name: &str, channel: &str) -> Result<Connection, MoverError> {
    let mut connection = at.connect(name, true)?;
    let subscribed = connection.subscribe(channel.as_bytes());
    subscribed.map_err(|error| at.fault(error))?;
    Ok(connection)
}

/// The databases that clients of a pool use.
pub(super) fn databases(pool: &PoolConfig) -> Vec<DatabasePair> {
    let mut numbers: Vec<u32> = match pool.databases {
        1 => Vec::new(),
        count => (0..count).collect(),
    };
    if !numbers.contains(&pool.redis_db) {
        numbers.push(pool.redis_db);
    }
    let pair = |database| DatabasePair {
        source: database,
        destination: database,
    };
    numbers.into_iter().map(pair).collect()
}
