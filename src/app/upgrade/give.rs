//! The old process: hands over what it listens on, and stops accepting when the new one can serve.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::process::Pid;
use tokio::time::timeout;

use crate::app::pools::RunningPools;
use crate::app::upgrade::socket_files::{OwnSockets, SocketFiles};
use crate::handover::{
    Complete, Connection, FromNew, FromOld, HandoverError, Hello, PROTOCOLS, PoolName, RECORDS,
    Role, Sender, Socket, Welcome,
};
use crate::net::AcceptGate;
use crate::protocol::redis::state::client_registry::ids_of_successor;
use crate::runtime::Transfer;

/// The time limit for the first message.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// The time limit for a new process to be ready to serve.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(12);
/// The time limit for it to serve once this one has stopped accepting.
const SERVING_WITHIN: Duration = Duration::from_secs(3);
/// The time limit for telling it that this one goes on.
const ABORT_WITHIN: Duration = Duration::from_secs(1);

/// What a new process takes over.
#[derive(Debug)]
pub(in crate::app) struct Estate {
    pub(super) sockets: Vec<(Role, OwnedFd)>,
    pub(super) files: SocketFiles,
    pub(super) gate: AcceptGate,
    pub(super) transfer: Transfer,
    pub(super) drained: Vec<(String, String)>,
}

/// A new process that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Successor {
    pub(in crate::app) pid: u32,
    pub(in crate::app) version: String,
    pub(super) protocol: u32,
    /// Set if the system confirms its id: it may be killed.
    pub(super) process: Option<Pid>,
    pub(super) pools: Vec<PoolName>,
    pub(super) record: Option<u32>,
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
            files: SocketFiles::given(pools, own),
            sockets,
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
            self.resume(&connection.sender, error).await;
        }
        given
    }

    /// Accepts again, and tells the new process so.
    pub(super) async fn resume(&self, sender: &Sender, error: &HandoverError) {
        self.files.own(true);
        self.gate.open();
        let reason = error.to_string();
        // It may have gone, or hang.
        let _ = timeout(ABORT_WITHIN, sender.send(&FromOld::Abort { reason })).await;
    }

    async fn try_give(&self, connection: &mut Connection) -> Result<Successor, HandoverError> {
        let peer_pid = connection.peer_pid();
        let Connection { sender, receiver } = connection;
        let hello: Hello = receiver.receive_within(HELLO_WITHIN).await?;
        let welcome = self.welcome(&hello)?;
        let Welcome {
            protocol, record, ..
        } = welcome;
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
        let (pools, taken) = match receiver.receive_within(READY_WITHIN).await? {
            FromNew::Ready { pools, sockets } => (pools, sockets),
            other => return Err(unexpected(other)),
        };
        self.gate.close();
        self.files.pass_on(taken.as_deref());
        sender
            .send(&FromOld::Serve {
                client_ids_from: ids_of_successor(),
            })
            .await?;
        match receiver.receive_within(SERVING_WITHIN).await? {
            FromNew::Serving => Ok(Successor {
                pid: hello.pid,
                version: hello.version,
                protocol,
                process: process(hello.pid, peer_pid),
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

/// The process that says to have this id, if it is the one at the other end.
fn process(said: u32, peer: Option<u32>) -> Option<Pid> {
    let said = (peer == Some(said)).then_some(said)?;
    Pid::from_raw(i32::try_from(said).ok()?)
}

fn unexpected(message: FromNew) -> HandoverError {
    match message {
        FromNew::Failed { reason } => HandoverError::GivenUp(reason),
        other => HandoverError::Malformed(format!("{other:?}")),
    }
}
