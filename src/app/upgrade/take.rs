//! The new process: takes what the old one listens on, and says when it can serve.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::time::timeout;

use crate::handover::{
    Connection, FromNew, FromOld, HandoverError, Hello, PROTOCOLS, PoolName, RECORDS, Received,
    Role, TakeOver, Welcome,
};
use crate::protocol::redis::state::client_registry::begin_ids_at;

/// The time limit for each answer of the old process.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The old process, as the new one sees it.
#[derive(Debug)]
pub(in crate::app) struct Predecessor {
    pub(super) connection: Connection,
    pub(in crate::app) welcome: Welcome,
}

/// The end of the wait for the old process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Go {
    /// It has stopped accepting.
    Serve,
    /// It has died.
    Alone,
}

impl Predecessor {
    /// Introduces this process, and receives the sockets.
    pub(in crate::app) async fn meet(
        take_over: TakeOver,
    ) -> Result<(Self, Vec<(Role, OwnedFd)>), HandoverError> {
        let mut connection = take_over.into_connection()?;
        let hello = Hello {
            protocols: PROTOCOLS.to_vec(),
            records: RECORDS.to_vec(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        connection.sender.send(&hello).await?;
        let welcome = match connection.receiver.receive_within(ANSWER_WITHIN).await? {
            FromOld::Welcome(welcome) => welcome,
            other => return Err(unexpected(other)),
        };
        let mut sockets = Vec::new();
        loop {
            let received = timeout(ANSWER_WITHIN, connection.receiver.receive()).await;
            let late = |_| HandoverError::Late {
                within: ANSWER_WITHIN,
            };
            let Received {
                message,
                descriptor,
                ..
            } = received.map_err(late)??;
            match (message, descriptor) {
                (FromOld::Socket(socket), Some(descriptor)) => {
                    sockets.push((socket.role, descriptor));
                }
                (FromOld::Complete(complete), None) if complete.sockets == sockets.len() => break,
                (other, _) => return Err(unexpected(other)),
            }
        }
        let predecessor = Self {
            connection,
            welcome,
        };
        Ok((predecessor, sockets))
    }

    /// Says that this process can serve these pools with these sockets, by their places, and waits until it is to.
    pub(in crate::app) async fn ready(
        &mut self,
        pools: Vec<PoolName>,
        sockets: Vec<usize>,
    ) -> Result<Go, HandoverError> {
        let Connection { sender, receiver } = &mut self.connection;
        let ready = FromNew::Ready {
            pools,
            sockets: Some(sockets),
        };
        match sender.send(&ready).await {
            Err(HandoverError::Gone) => return Ok(Go::Alone),
            sent => sent?,
        }
        match receiver.receive_within(ANSWER_WITHIN).await {
            Ok(FromOld::Serve { client_ids_from }) => {
                begin_ids_at(client_ids_from);
                Ok(Go::Serve)
            }
            // One that gives up says so.
            Err(HandoverError::Gone) => Ok(Go::Alone),
            Ok(other) => Err(unexpected(other)),
            Err(error) => Err(error),
        }
    }

    /// Says that this process serves.
    pub(in crate::app) async fn serving(&mut self) -> Result<(), HandoverError> {
        self.connection.sender.send(&FromNew::Serving).await
    }

    /// Says why this process cannot serve.
    pub(in crate::app) async fn fail(&mut self, reason: &str) {
        let reason = reason.to_owned();
        // It may have gone.
        let _ = self
            .connection
            .sender
            .send(&FromNew::Failed { reason })
            .await;
    }
}

fn unexpected(message: FromOld) -> HandoverError {
    match message {
        FromOld::Abort { reason } => HandoverError::GivenUp(reason),
        other => HandoverError::Malformed(format!("{other:?}")),
    }
}
