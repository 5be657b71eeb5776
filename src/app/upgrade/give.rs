//! The old process: hands over what it listens on, and stops accepting when the new one can serve.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::admin::api::AdminSocket;
use crate::app::pools::RunningPools;
use crate::handover::{
    Complete, Connection, FromNew, FromOld, HandoverError, Hello, PROTOCOLS, PoolName, RECORDS,
    Role, Socket, Welcome,
};
use crate::net::{AcceptGate, Listener, SocketFile};
use crate::protocol::redis::state::client_registry::ids_of_successor;
use crate::runtime::Transfer;

/// The time limit for the first message.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// The time limit for a new process to be ready to serve.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(12);
/// The time limit for it to serve once this one has stopped accepting.
const SERVING_WITHIN: Duration = Duration::from_secs(3);

/// What a new process takes over.
#[derive(Debug)]
pub(in crate::app) struct Estate {
    pub(super) sockets: Vec<(Role, OwnedFd)>,
    pub(super) files: SocketFiles,
    pub(super) gate: AcceptGate,
    pub(super) transfer: Transfer,
    pub(super) drained: Vec<(String, String)>,
}

/// The sockets of this process besides those of pools.
#[derive(Debug)]
pub(in crate::app) struct OwnSockets {
    pub(in crate::app) stats: OwnedFd,
    pub(in crate::app) admin: Option<(OwnedFd, Arc<SocketFile>)>,
}

/// The files of unix sockets, which the process removes to which they belong.
#[derive(Debug)]
pub(in crate::app) struct SocketFiles {
    listeners: Vec<Weak<Listener>>,
    admin: Option<Arc<SocketFile>>,
}

/// A new process that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Successor {
    pub(in crate::app) pid: u32,
    pub(in crate::app) version: String,
    pub(super) pools: Vec<PoolName>,
    pub(super) record: Option<u32>,
}

impl OwnSockets {
    pub(in crate::app) fn of(stats: &TcpListener, admin: Option<&AdminSocket>) -> io::Result<Self> {
        let admin = admin.map(|admin| {
            let socket = admin.as_fd().try_clone_to_owned()?;
            Ok::<_, io::Error>((socket, admin.file()))
        });
        Ok(Self {
            stats: stats.as_fd().try_clone_to_owned()?,
            admin: admin.transpose()?,
        })
    }
}

impl SocketFiles {
    pub(in crate::app) fn of(pools: &RunningPools, own: &OwnSockets) -> Self {
        Self {
            listeners: pools.listeners(),
            admin: own.admin.as_ref().map(|(_, file)| Arc::clone(file)),
        }
    }

    /// Says whether they belong to this process.
    pub(in crate::app) fn own(&self, are_own: bool) {
        for listener in self.listeners.iter().filter_map(Weak::upgrade) {
            listener.own_file(are_own);
        }
        if let Some(file) = &self.admin {
            file.own(are_own);
        }
    }
}

impl Estate {
    pub(in crate::app) fn of(
        pools: &RunningPools,
        own: &OwnSockets,
        gate: &AcceptGate,
        transfer: Transfer,
    ) -> io::Result<Self> {
        let mut sockets = pools.sockets()?;
        sockets.push((Role::Stats, own.stats.try_clone()?));
        if let Some((admin, _)) = &own.admin {
            sockets.push((Role::Admin, admin.try_clone()?));
        }
        Ok(Self {
            sockets,
            files: SocketFiles::of(pools, own),
            gate: gate.clone(),
            transfer,
            drained: pools.drained(),
        })
    }

    /// Hands over the sockets. `Err`: this process goes on as before.
    pub(super) async fn give(
        &self,
        connection: &mut Connection,
    ) -> Result<Successor, HandoverError> {
        let given = self.try_give(connection).await;
        if let Err(error) = &given {
            let reason = error.to_string();
            // It may have gone.
            let _ = connection.sender.send(&FromOld::Abort { reason }).await;
            self.resume();
        }
        given
    }

    /// Accepts again.
    pub(super) fn resume(&self) {
        self.files.own(true);
        self.gate.open();
    }

    async fn try_give(&self, connection: &mut Connection) -> Result<Successor, HandoverError> {
        let Connection { sender, receiver } = connection;
        let hello: Hello = receiver.receive_within(HELLO_WITHIN).await?;
        let welcome = self.welcome(&hello)?;
        let record = welcome.record;
        sender.send(&FromOld::Welcome(welcome)).await?;
        for (role, socket) in &self.sockets {
            let message = FromOld::Socket(Socket { role: role.clone() });
            let descriptor = Some(socket.as_fd());
            sender.send_with(&message, &[], descriptor).await?;
        }
        let sockets = self.sockets.len();
        sender
            .send(&FromOld::Complete(Complete { sockets }))
            .await?;
        let pools = match receiver.receive_within(READY_WITHIN).await? {
            FromNew::Ready { pools } => pools,
            other => return Err(unexpected(other)),
        };
        self.gate.close();
        self.files.own(false);
        sender
            .send(&FromOld::Serve {
                client_ids_from: ids_of_successor(),
            })
            .await?;
        match receiver.receive_within(SERVING_WITHIN).await? {
            FromNew::Serving => Ok(Successor {
                pid: hello.pid,
                version: hello.version,
                pools,
                record,
            }),
            other => Err(unexpected(other)),
        }
    }

    fn welcome(&self, hello: &Hello) -> Result<Welcome, HandoverError> {
        let best = |known: &[u32], wanted: &[u32]| {
            let common = known.iter().filter(|version| wanted.contains(version));
            common.max().copied()
        };
        let Some(protocol) = best(PROTOCOLS, &hello.protocols) else {
            return Err(HandoverError::GivenUp(format!(
                "version {} hands over in another way than version {}; restart it instead",
                env!("CARGO_PKG_VERSION"),
                hello.version
            )));
        };
        Ok(Welcome {
            protocol,
            record: best(RECORDS, &hello.records),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            drained: self.drained.clone(),
        })
    }
}

fn unexpected(message: FromNew) -> HandoverError {
    match message {
        FromNew::Failed { reason } => HandoverError::GivenUp(reason),
        other => HandoverError::Malformed(format!("{other:?}")),
    }
}
