//! The connection to a source that reads keys: pages of a scan, and dumps with their expiry.

use std::time::Instant;

use bytes::Bytes;

use crate::mover::dump;
use crate::mover::endpoint::Endpoint;
use crate::mover::error::MoverError;
use crate::mover::pace::Pace;
use crate::protocol::redis::resp::inspect;
use crate::redis_client::{Connection, ServerError, refused};

/// A key as it is at the source.
#[derive(Debug)]
pub(crate) enum Dumped {
    /// It has a value.
    Value {
        /// The reply to DUMP.
        reply: Bytes,
        /// When it expires, in milliseconds since 1970; 0 is never.
        expires_at: u64,
    },
    /// There is no such key.
    Absent,
}

impl Dumped {
    /// The dump; empty if there is no such key.
    pub(crate) fn payload(&self) -> &[u8] {
        match self {
            Self::Value { reply, .. } => inspect::bulk(reply).unwrap_or_default(),
            Self::Absent => b"",
        }
    }

    /// Returns true if the feed tells every change of the value.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::Absent) || dump::is_told(self.payload())
    }
}

/// The way in which a server tells an absolute expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// PEXPIRETIME, since Redis 7.0.
    Absolute,
    /// TIME and PTTL in one transaction.
    Relative,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) at: Endpoint,
    pub(crate) connection: Connection,
    expiry: Expiry,
}

impl Source {
    pub(crate) fn open(at: Endpoint, client_name: &str) -> Result<Self, MoverError> {
        let mut connection = at.connect(client_name, false)?;
        let expiry = match connection.call(&[b"PEXPIRETIME", b""]) {
            Ok(_) => Expiry::Absolute,
            Err(ServerError::Refused { .. }) => Expiry::Relative,
            Err(error) => return Err(at.fault(error)),
        };
        // Keys that nobody uses shall not look used; servers before 7.2 do not know it.
        match connection.call(&[b"CLIENT", b"NO-TOUCH", b"ON"]) {
            Ok(_) | Err(ServerError::Refused { .. }) => {}
            Err(error) => return Err(at.fault(error)),
        }
        Ok(Self {
            at,
            connection,
            expiry,
        })
    }

    /// The error of this connection.
    pub(crate) fn fault(&self, error: ServerError) -> MoverError {
        self.at.fault(error)
    }

    /// Selects a database.
    pub(crate) fn select(&mut self, database: u32) -> Result<(), MoverError> {
        let selected = self.connection.select(database);
        selected.map_err(|error| self.fault(error))
    }

    /// Asks for keys of the selected database, and waits for nothing.
    pub(crate) fn ask<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), MoverError> {
        match self.expiry {
            Expiry::Absolute => {
                for key in keys {
                    self.connection.queue(&[b"PEXPIRETIME", key]);
                    self.connection.queue(&[b"DUMP", key]);
                }
            }
            Expiry::Relative => {
                self.connection.queue(&[b"MULTI"]);
                for key in keys {
                    self.connection.queue(&[b"TIME"]);
                    self.connection.queue(&[b"PTTL", key]);
                    self.connection.queue(&[b"DUMP", key]);
                }
                self.connection.queue(&[b"EXEC"]);
            }
        }
        let started = self.connection.start();
        started.map_err(|error| self.fault(error))
    }

    /// Waits for what [`Self::ask`] has asked for: one for each key.
    pub(crate) fn answer(&mut self) -> Result<Vec<Dumped>, MoverError> {
        let replies = self.connection.finish();
        let replies = replies.map_err(|error| self.fault(error))?;
        match self.expiry {
            Expiry::Absolute => {
                let (pairs, _) = replies.as_chunks::<2>();
                let dumped = pairs.iter().map(|[expiry, value]| {
                    let expires_at = inspect::integer(expiry)
                        .ok_or_else(|| self.refused("PEXPIRETIME", expiry))?;
                    self.dumped(value, expires_at)
                });
                dumped.collect()
            }
            Expiry::Relative => {
                let whole = replies.last().cloned().unwrap_or_default();
                let parts: Option<Vec<_>> = inspect::elements(&whole).map(Iterator::collect);
                let Some(parts) = parts else {
                    return Err(self.refused("EXEC", &whole));
                };
                let (triples, _) = parts.as_chunks::<3>();
                let dumped = triples.iter().map(|[time, left, value]| {
                    let now = read_time(time).ok_or_else(|| self.refused("TIME", time))?;
                    let left = inspect::integer(left).ok_or_else(|| self.refused("PTTL", left))?;
                    let expires_at = if left < 0 { left } else { now + left };
                    self.dumped(&whole.slice_ref(value), expires_at)
                });
                dumped.collect()
            }
        }
    }

    fn dumped(&self, value: &Bytes, expires_at: i64) -> Result<Dumped, MoverError> {
        if matches!(value.first(), Some(b'_')) || value.starts_with(b"$-1") {
            return Ok(Dumped::Absent);
        }
        if inspect::bulk(value).is_none() {
            return Err(self.refused("DUMP", value));
        }
        Ok(Dumped::Value {
            reply: value.clone(),
            // -1: never; -2: there was no such key a moment before, so it is told as changed, and copied again.
            expires_at: u64::try_from(expires_at).unwrap_or_default(),
        })
    }

    /// The error of a reply that is none of the expected ones.
    fn refused(&self, command: &str, reply: &[u8]) -> MoverError {
        self.fault(if inspect::is_error(reply) {
            refused(&[command.as_bytes()], reply)
        } else {
            ServerError::BadReply
        })
    }

    /// Measures the latency of the server, if it is time to.
    pub(crate) fn measure(&mut self, pace: &mut Pace) -> Result<(), MoverError> {
        let start = Instant::now();
        if !pace.wants_ping(start) {
            return Ok(());
        }
        let pong = self.connection.call(&[b"PING"]);
        let now = Instant::now();
        pace.observe(now - start, now);
        match pong {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fault(error)),
        }
    }
}

/// Reads the reply to TIME, in milliseconds.
fn read_time(reply: &[u8]) -> Option<i64> {
    let mut parts = inspect::elements(reply)?;
    let mut number = || -> Option<i64> {
        let text = inspect::bulk(parts.next()?)?;
        str::from_utf8(text).ok()?.parse().ok()
    };
    let (seconds, micros) = (number()?, number()?);
    seconds.checked_mul(1000)?.checked_add(micros / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_in_milliseconds() {
        let reply = b"*2\r\n$10\r\n1700000000\r\n$6\r\n123999\r\n";
        assert_eq!(read_time(reply), Some(1_700_000_000_123));
        assert_eq!(read_time(b"+OK\r\n"), None);
    }
}
