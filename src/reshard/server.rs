//! A server of a move: one connection to it, over which its mark is read and changed.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::config::{PoolConfig, ServerConfig};
use crate::mover::Endpoint;
use crate::protocol::redis::mark;
use crate::protocol::redis::mark::{Change, Outcome};
use crate::protocol::redis::resp::inspect;
use crate::redis_client::{Connection, Info, ServerError};
use crate::reshard::clients::Client;
use crate::reshard::error::ReshardError;
use crate::topology::{Mark, SeenMark};

/// The limit of a connect, and of a reply, for who looks on.
const BRIEFLY: Duration = Duration::from_secs(3);

/// The most servers that are asked at once.
const AT_ONCE: usize = 64;

/// The names that the marks, the channels and the connections of a pool have.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The key of the marks.
    pub(super) key: String,
    /// The key of the notes; it begins as that of the marks, so it belongs to no pool either.
    pub(super) notes: String,
    /// The channel on which proxies vouch.
    pub(super) acks: String,
    /// The pool in the names of connections.
    pub(super) connections: String,
}

impl Names {
    pub(super) fn of(pool: &PoolConfig) -> Self {
        let (name, database) = (pool.name.as_str(), pool.redis_db);
        let key = Mark::key(name, database);
        Self {
            notes: format!("{key}:notes"),
            key,
            acks: Mark::acks_channel(name, database),
            connections: Mark::pool_in_names(name, database),
        }
    }

    /// The name of the connections of a coordinator.
    pub(super) fn coordinator(&self, term: u64) -> String {
        format!("rr-move/{}/{term}", self.connections)
    }

    /// The name of connections that only read.
    pub(super) fn reader(&self) -> String {
        format!("rr-status/{}", self.connections)
    }
}

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as a server may work for others.
    Long,
    /// [`BRIEFLY`]: somebody looks on, to whom a server that hangs is to be named.
    Brief,
}

/// A server. Its connection is never opened again.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) at: Endpoint,
    /// What it said when it was connected to.
    pub(super) info: Info,
    /// It is called by its address: it takes the place of another, and may be a replica of that.
    takes_place: bool,
    connection: Mutex<Connection>,
}

impl Server {
    /// Connects under the name of a reader.
    fn open(
        pool: &PoolConfig,
        names: &Names,
        config: &ServerConfig,
        patience: Patience,
    ) -> Result<Self, ReshardError> {
        let at = Endpoint::of(pool, config);
        let mut connection = match patience {
            Patience::Long => at.connect(&names.reader(), false)?,
            Patience::Brief => at.connect_briefly(&names.reader(), BRIEFLY)?,
        };
        let info = connection.info().map_err(|error| at.fault(error))?;
        Ok(Self {
            name: config.name.clone(),
            takes_place: config.name.ends_with(&format!("@{}", config.address)),
            at,
            info,
            connection: Mutex::new(connection),
        })
    }

    /// Connects to all of them; each with its error, if there is one.
    pub(super) fn open_each(
        pool: &PoolConfig,
        names: &Names,
        configs: &[ServerConfig],
    ) -> Vec<Result<Self, ReshardError>> {
        let open = |config| Self::open(pool, names, config, Patience::Long);
        configs.iter().map(open).collect()
    }

    /// Asks all of them at once; each with its error, if there is one.
    pub(super) fn ask_each<T: Send>(
        pool: &PoolConfig,
        names: &Names,
        configs: &[ServerConfig],
        patience: Patience,
        ask: impl Fn(&Self) -> Result<T, ReshardError> + Sync,
    ) -> Vec<Result<(String, T), ReshardError>> {
        let ask_one = |config: &ServerConfig| {
            let server = Self::open(pool, names, config, patience)?;
            let answer = ask(&server)?;
            Ok((server.name, answer))
        };
        let ask_one = &ask_one;
        let ask_some = |configs: &[ServerConfig]| {
            thread::scope(|scope| {
                let asked = configs.iter();
                let asked = asked.map(|config| scope.spawn(move || ask_one(config)));
                let asked: Vec<_> = asked.collect();
                let answers = asked.into_iter().map(|asked| {
                    let answer = asked.join();
                    answer.unwrap_or_else(|panic| resume_unwind(panic))
                });
                answers.collect::<Vec<_>>()
            })
        };
        configs.chunks(AT_ONCE).flat_map(ask_some).collect()
    }

    /// Sends requests.
    pub(super) fn ask<T>(
        &self,
        requests: impl FnOnce(&mut Connection) -> Result<T, ServerError>,
    ) -> Result<T, ReshardError> {
        requests(&mut self.connection()).map_err(|error| self.fault(error))
    }

    /// Sends one request; an error reply is an error.
    pub(super) fn call(&self, words: &[&str]) -> Result<Bytes, ReshardError> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask(|connection| connection.call(&words))
    }

    /// What it says of itself now.
    pub(super) fn read_info(&self) -> Result<Info, ReshardError> {
        self.ask(Connection::info)
    }

    /// Returns true if it is to take the place of another, and is a replica yet.
    pub(super) fn is_replica(&self) -> Result<bool, ReshardError> {
        Ok(self.takes_place && self.read_info()?.primary().is_some())
    }

    /// Reads its mark, and who it is. That of a replica is not its own: it has none.
    pub(super) fn read_mark(&self, names: &Names) -> Result<SeenMark, ReshardError> {
        if self.takes_place {
            let info = self.read_info()?;
            if info.primary().is_some() {
                return Ok(SeenMark {
                    mark: None,
                    run_id: info.run_id().unwrap_or_default().to_owned(),
                });
            }
        }
        let read = self.ask(|connection| read_mark(connection, names))?;
        read.map_err(|reply| ReshardError::Mark {
            server: self.at.to_string(),
            text: line(&reply),
        })
    }

    /// Fails if it has keys, other than a mark of this pool and its notes.
    pub(super) fn expect_empty(&self, names: &Names) -> Result<(), ReshardError> {
        let databases = self.read_info()?.databases();
        let own = || {
            let reply = self.call(&["EXISTS", &names.key, &names.notes])?;
            Ok::<_, ReshardError>(inspect::integer(&reply).and_then(|own| own.try_into().ok()))
        };
        let is_empty = match databases.as_slice() {
            [] => true,
            // Notes may be written in between.
            [(0, keys)] => own()?.is_some_and(|own| *keys <= own),
            _ => false,
        };
        if is_empty {
            return Ok(());
        }
        Err(ReshardError::NotEmpty {
            server: self.at.to_string(),
        })
    }

    /// Changes its mark.
    pub(super) fn change(
        &self,
        names: &Names,
        change: &Change<'_>,
    ) -> Result<Outcome, ReshardError> {
        let mut request = BytesMut::new();
        change.write(&names.key, &mut request);
        let replies = self.ask(|connection| {
            connection.queue_written(&request, 1);
            connection.finish()
        })?;
        let reply = replies.into_iter().next().unwrap_or_default();
        Outcome::read(&reply).map_err(|reply| ReshardError::Reply {
            server: self.at.to_string(),
            reply: line(&reply),
        })
    }

    /// As [`Self::change`], for one that must be made.
    pub(super) fn change_surely(
        &self,
        names: &Names,
        change: &Change<'_>,
    ) -> Result<(), ReshardError> {
        match self.change(names, change)? {
            Outcome::Done => Ok(()),
            outcome => Err(self.refusal(outcome)),
        }
    }

    /// The error of a change that was not made.
    pub(super) fn refusal(&self, outcome: Outcome) -> ReshardError {
        let server = self.at.to_string();
        match outcome {
            Outcome::Superseded(term) => ReshardError::Superseded { server, term },
            Outcome::Busy(id) => ReshardError::Busy { server, id },
            Outcome::Restarted => ReshardError::Restarted { server },
            Outcome::Done | Outcome::Decided(_) | Outcome::Lost => ReshardError::Lost { server },
        }
    }

    /// All its connections.
    pub(super) fn clients(&self) -> Result<Vec<Client>, ReshardError> {
        let reply = self.call(&["CLIENT", "LIST"])?;
        let text = inspect::bulk(&reply).unwrap_or_default();
        Ok(Client::read_all(&String::from_utf8_lossy(text)))
    }

    /// Ends a connection: one that is blocked gets its answer first, so that nothing is taken from a list for nobody.
    pub(super) fn end_client(&self, id: &str) -> Result<(), ReshardError> {
        self.ask(|connection| {
            connection.queue(&[b"CLIENT", b"UNBLOCK", id.as_bytes(), b"TIMEOUT"]);
            // An error too, such as that it loads keys, comes after the answer to the other.
            connection.queue(&[b"PING"]);
            connection.finish()?;
            // It may be gone.
            connection.queue(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]);
            connection.finish().map(|_| ())
        })
    }

    /// The error of a request.
    pub(super) fn fault(&self, error: ServerError) -> ReshardError {
        self.at.fault(error).into()
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // Whoever has panicked with it is reported.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a mark over any connection in database 0. The inner error is a reply that is wrong.
pub(super) fn read_mark(
    connection: &mut Connection,
    names: &Names,
) -> Result<Result<SeenMark, Bytes>, ServerError> {
    let mut requests = BytesMut::new();
    mark::write_read(&names.key, &mut requests);
    connection.queue_written(&requests, 2);
    let replies = connection.finish()?;
    let [fields, info] = replies.as_slice() else {
        return Err(ServerError::BadReply);
    };
    Ok(mark::read(fields, info))
}

fn line(reply: &[u8]) -> String {
    let line = reply.get(1..).unwrap_or_default().trim_ascii_end();
    String::from_utf8_lossy(line).into_owned()
}
