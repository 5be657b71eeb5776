//! A destination: the connection that restores copies there, and hears who else changes them.

use crate::mover::dump;
use crate::mover::endpoint::Endpoint;
use crate::mover::error::{MoverError, PayloadError};
use crate::mover::feed::Feed;
use crate::mover::source::Dumped;
use crate::protocol::redis::resp::inspect;
use crate::redis_client::{ServerError, refused};
use crate::text::printable_key;

/// A destination.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Restores, and tells the changes of others: with NOLOOP its own are silent. What is evicted is told, also what its
    /// own commands evict.
    pub(crate) feed: Feed,
    /// The longest dump that it takes.
    dump_max_bytes: u64,
    /// What was queued since the last [`Self::finish`].
    queued: Vec<Queued>,
}

/// The limit of a server that does not tell it: the default of `proto-max-bulk-len`.
const DUMP_MAX_BYTES: u64 = 512 << 20;

/// A queued request.
#[derive(Debug)]
struct Queued {
    /// Its position in the batch.
    nth: usize,
    is_value: bool,
}

/// What a destination did with a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) restored: u64,
    /// Keys that had a copy here and are gone at the source.
    pub(crate) deleted: u64,
}

impl Destination {
    pub(crate) fn open(
        at: Endpoint,
        client_name: &str,
        channel: &[u8],
    ) -> Result<Self, MoverError> {
        let mut feed = Feed::of_destination(at, client_name, channel)?;
        let limit = feed
            .connection()
            .call(&[b"CONFIG", b"GET", b"proto-max-bulk-len"]);
        let dump_max_bytes = match limit {
            Ok(reply) => config_number(&reply).unwrap_or(DUMP_MAX_BYTES),
            Err(ServerError::Refused { .. }) => DUMP_MAX_BYTES,
            Err(error) => return Err(feed.lost(error)),
        };
        Ok(Self {
            feed,
            dump_max_bytes,
            queued: Vec::new(),
        })
    }

    /// Refuses a copy that the server would not read: it would close the connection, perhaps before it says why.
    pub(crate) fn check_size(&self, key: &[u8], dumped: &Dumped) -> Result<(), MoverError> {
        let bytes = dumped.payload().len() as u64;
        if bytes <= self.dump_max_bytes {
            return Ok(());
        }
        Err(MoverError::TooLarge {
            server: self.at().to_string(),
            key: printable_key(key),
            bytes,
            max_bytes: self.dump_max_bytes,
        })
    }

    pub(crate) fn at(&self) -> &Endpoint {
        self.feed.at()
    }

    pub(crate) fn select(&mut self, database: u32) -> Result<(), MoverError> {
        let selected = self.feed.connection().select(database);
        selected.map_err(|error| self.feed.lost(error))
    }

    /// Queues a copy, the `nth` of a batch, and sends it when enough has been queued.
    pub(crate) fn queue(&mut self, nth: usize, key: &[u8], dumped: &Dumped) {
        let connection = self.feed.connection();
        let is_value = match dumped {
            Dumped::Absent => {
                connection.queue(&[b"UNLINK", key]);
                false
            }
            Dumped::Value { expires_at, .. } => {
                let expires_at = expires_at.to_string();
                connection.queue(&[
                    b"RESTORE",
                    key,
                    expires_at.as_bytes(),
                    dumped.payload(),
                    b"REPLACE",
                    b"ABSTTL",
                ]);
                true
            }
        };
        self.queued.push(Queued { nth, is_value });
    }

    /// Sends what the system takes.
    pub(crate) fn start(&mut self) -> Result<(), MoverError> {
        let started = self.feed.connection().start();
        started.map_err(|error| self.feed.lost(error))
    }

    /// Waits until all that was queued is done. An error reply is given with the position of its copy.
    pub(crate) fn finish(&mut self) -> Result<Result<Written, (usize, Vec<u8>)>, MoverError> {
        let replies = self.feed.connection().finish();
        let replies = replies.map_err(|error| self.feed.lost(error))?;
        let mut written = Written::default();
        let mut failed = None;
        for (queued, reply) in self.queued.drain(..).zip(&replies) {
            match inspect::integer(reply) {
                _ if inspect::is_error(reply) => {
                    failed.get_or_insert_with(|| (queued.nth, reply.to_vec()));
                }
                Some(count) => written.deleted += u64::from(count > 0),
                None => written.restored += u64::from(queued.is_value),
            }
        }
        Ok(match failed {
            Some(failed) => Err(failed),
            None => Ok(written),
        })
    }

    /// The error of an error reply to a copy.
    pub(crate) fn refusal(
        &self,
        source: &Endpoint,
        source_version: &str,
        key: &[u8],
        dumped: &Dumped,
        reply: &[u8],
    ) -> MoverError {
        let line = reply.get(1..).unwrap_or_default().trim_ascii_end();
        let text = String::from_utf8_lossy(line);
        if text.contains("DUMP payload version") || text.contains("Bad data format") {
            return MoverError::Payload(Box::new(PayloadError {
                from: source.to_string(),
                from_version: source_version.to_owned(),
                to: self.at().to_string(),
                to_version: self.feed.info().version(),
                format: dump::format(dumped.payload()),
                key: printable_key(key),
                reply: text.into_owned(),
            }));
        }
        let command = match dumped {
            Dumped::Value { .. } => "RESTORE",
            Dumped::Absent => "UNLINK",
        };
        self.at().fault(refused(&[command.as_bytes()], reply))
    }

    /// Tries whether it loads a dump: restores it, expired already, so that it is loaded and not kept.
    pub(crate) fn try_dump(
        &mut self,
        source: &Endpoint,
        source_version: &str,
        key: &[u8],
        dumped: &Dumped,
    ) -> Result<(), MoverError> {
        let payload = dumped.payload();
        let connection = self.feed.connection();
        connection.queue(&[b"RESTORE", b"ringroad:trial", b"1", payload, b"ABSTTL"]);
        let replies = connection.finish().map_err(|error| self.feed.lost(error))?;
        match replies.first() {
            Some(reply) if inspect::is_error(reply) => {
                Err(self.refusal(source, source_version, key, dumped, reply))
            }
            Some(_) => Ok(()),
            None => Err(self.feed.lost(ServerError::BadReply)),
        }
    }
}

/// The value in a reply to CONFIG GET.
fn config_number(reply: &[u8]) -> Option<u64> {
    let (_, value) = *inspect::pairs(reply)?.first()?;
    str::from_utf8(value).ok()?.parse().ok()
}
