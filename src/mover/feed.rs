//! The change feed of a source.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;

use crate::mover::dirty::{Cause, DirtySet};
use crate::mover::endpoint::Endpoint;
use crate::mover::error::MoverError;
use crate::protocol::redis::resp::inspect;
use crate::redis_client::{Connection, Info, ServerError, refused};

/// A connection to a server that tells the keys that change there: RESP3, `CLIENT TRACKING ON BCAST`.
///
/// It subscribes to a channel, so it is of the class `pubsub`, whose unread output is limited (`client-output-buffer-limit
/// pubsub`, by default 32 MB): the server cuts it if it is read too slowly. One of the class `normal` may fill the
/// server's memory with the names of changed keys until it evicts data.
#[derive(Debug)]
pub(crate) struct Feed {
    at: Endpoint,
    connection: Connection,
    info: Info,
    /// The databases in which the server has had keys, as far as this connection has seen.
    used: BTreeSet<u32>,
    /// The reason for which keys are dirty that this feed tells.
    cause: Cause,
}

impl Feed {
    /// Opens the feed of a source: it tells all changes that are made after this returns.
    pub(crate) fn of_source(
        at: Endpoint,
        client_name: &str,
        channel: &[u8],
    ) -> Result<Self, MoverError> {
        Self::open(at, client_name, channel, &[], Cause::Source)
    }

    /// Opens a connection to a destination that tells the changes of others than itself.
    pub(crate) fn of_destination(
        at: Endpoint,
        client_name: &str,
        channel: &[u8],
    ) -> Result<Self, MoverError> {
        Self::open(at, client_name, channel, &[b"NOLOOP"], Cause::Destination)
    }

    fn open(
        at: Endpoint,
        client_name: &str,
        channel: &[u8],
        options: &[&[u8]],
        cause: Cause,
    ) -> Result<Self, MoverError> {
        let mut connection = at.connect(client_name, true)?;
        let words: &[&[u8]] = &[b"CLIENT", b"TRACKING", b"ON", b"BCAST"];
        let opened = connection
            .subscribe(channel)
            .and_then(|()| connection.call(&[words, options].concat()))
            .and_then(|_| connection.info());
        let info = opened.map_err(|error| at.fault(error))?;
        let used = info.databases().into_iter().map(|(database, _)| database);
        let feed = Self {
            at,
            connection,
            used: used.collect(),
            info,
            cause,
        };
        match feed.info.text("role") {
            Some("slave") => Err(feed.not_primary("slave")),
            _ => Ok(feed),
        }
    }

    /// The server.
    pub(crate) fn at(&self) -> &Endpoint {
        &self.at
    }

    /// What the server said when the feed was opened.
    pub(crate) fn info(&self) -> &Info {
        &self.info
    }

    /// Returns true if a key that was told up to the last [`Self::settle`] may be, or may have been, in that database.
    /// Those that have always been empty need no copies.
    pub(crate) fn is_used(&self, database: u32) -> bool {
        self.used.contains(&database)
    }

    /// For requests. Its failure is that of the feed ([`Self::lost`]).
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Marks the keys that have been told. Waits for nothing.
    pub(crate) fn poll(
        &mut self,
        is_ours: &dyn Fn(&[u8]) -> bool,
        dirty: &mut DirtySet,
    ) -> Result<(), MoverError> {
        self.connection.poll().map_err(|error| self.lost(error))?;
        self.take(is_ours, dirty)
    }

    /// As [`Self::poll`], but waits for a first change until `deadline`.
    pub(crate) fn wait(
        &mut self,
        deadline: Instant,
        is_ours: &dyn Fn(&[u8]) -> bool,
        dirty: &mut DirtySet,
    ) -> Result<(), MoverError> {
        self.connection
            .wait_push(deadline)
            .map_err(|error| self.lost(error))?;
        self.take(is_ours, dirty)
    }

    /// Waits until all changes that were made before this call are told, and marks their keys.
    ///
    /// Two PINGs, the second one sent when the first is answered: with I/O threads Redis 8 may answer one before it has
    /// sent what changed before it. ROLE and the run id: the feed of a primary that was demoted stays open and silent.
    /// A database that is empty after that has none of the keys that were told.
    pub(crate) fn settle(
        &mut self,
        is_ours: &dyn Fn(&[u8]) -> bool,
        dirty: &mut DirtySet,
    ) -> Result<(), MoverError> {
        self.ping()?;
        self.ping()?;
        self.connection.queue(&[b"ROLE"]);
        self.connection.queue(&[b"INFO", b"server"]);
        self.connection.queue(&[b"INFO", b"keyspace"]);
        let replies = self.connection.finish().map_err(|error| self.lost(error))?;
        let [role, info, keyspace] = replies.as_slice() else {
            return Err(self.lost(ServerError::BadReply));
        };
        // As while a script runs, which may have begun since.
        if inspect::is_error(role) {
            return Err(self.lost(refused(&[b"ROLE"], role)));
        }
        let role = inspect::elements(role).and_then(|mut role| inspect::bulk(role.next()?));
        match role {
            Some(b"master") => {}
            role => {
                let role = String::from_utf8_lossy(role.unwrap_or_default());
                return Err(self.not_primary(&role));
            }
        }
        let now = Info::of_reply(info).unwrap_or_default();
        if now.run_id() != self.info.run_id() {
            let text = |info: &Info| info.run_id().unwrap_or("unknown").to_owned();
            return Err(MoverError::Replaced {
                server: self.at.to_string(),
                now: text(&now),
                before: text(&self.info),
            });
        }
        let keyspace = Info::of_reply(keyspace).unwrap_or_default().databases();
        self.used
            .extend(keyspace.into_iter().map(|(database, _)| database));
        self.take(is_ours, dirty)
    }

    fn ping(&mut self) -> Result<(), MoverError> {
        match self.connection.call(&[b"PING"]) {
            Ok(reply) if *reply == *b"+PONG\r\n" => Ok(()),
            Ok(_) => Err(self.lost(ServerError::BadReply)),
            // An error, as while a script runs, is no answer: changes before it may not be told yet.
            Err(error) => Err(self.lost(error)),
        }
    }

    fn take(
        &mut self,
        is_ours: &dyn Fn(&[u8]) -> bool,
        dirty: &mut DirtySet,
    ) -> Result<(), MoverError> {
        while let Some(push) = self.connection.take_push() {
            match Told::read(&push) {
                Some(Told::Changed(keys)) => {
                    for key in keys.into_iter().filter(|key| is_ours(key)) {
                        dirty.add(key, self.cause);
                    }
                }
                Some(Told::Flushed) => {
                    return Err(MoverError::Flushed {
                        server: self.at.to_string(),
                    });
                }
                // A message on the channel.
                None => {}
            }
        }
        Ok(())
    }

    /// The error of this connection.
    pub(crate) fn lost(&self, error: ServerError) -> MoverError {
        if matches!(error, ServerError::Refused { .. }) {
            return self.at.fault(error);
        }
        MoverError::FeedLost {
            server: self.at.to_string(),
            error,
        }
    }

    fn not_primary(&self, role: &str) -> MoverError {
        MoverError::NotPrimary {
            server: self.at.to_string(),
            role: role.to_owned(),
        }
    }
}

/// A push of the feed.
#[derive(Debug, PartialEq, Eq)]
enum Told<'p> {
    Changed(Vec<&'p [u8]>),
    /// Nil in place of the keys.
    Flushed,
}

impl<'p> Told<'p> {
    /// `None` if it is no push of the feed.
    fn read(push: &'p Bytes) -> Option<Self> {
        let mut elements = inspect::elements(push)?;
        if inspect::bulk(elements.next()?) != Some(b"invalidate") {
            return None;
        }
        Some(match inspect::elements(elements.next()?) {
            Some(keys) => Self::Changed(keys.filter_map(inspect::bulk).collect()),
            None => Self::Flushed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_keys_a_flush_or_something_else() {
        for (push, told) in [
            (
                &b"*2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$2\r\n\r\n\r\n"[..],
                Some(Told::Changed(vec![b"a", b"\r\n"])),
            ),
            (b"*2\r\n$10\r\ninvalidate\r\n_\r\n", Some(Told::Flushed)),
            (b"*2\r\n$10\r\ninvalidate\r\n*-1\r\n", Some(Told::Flushed)),
            (b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", None),
        ] {
            assert_eq!(Told::read(&Bytes::from_static(push)), told);
        }
    }
}
