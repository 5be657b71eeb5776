//! The new process adopts the clients of the old one.
//!
//! Invariants: a client is read once the old process has been told that it is adopted, or has died. As long as the old process may
//! have clients, nothing changes where keys are: both processes send a key to the same server.

use std::future::pending;
use std::mem;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::api::ControlError;
use crate::app::exclusion::Hold;
use crate::app::upgrade::take::Predecessor;
use crate::handover::{
    Connection, FromNew, FromOld, HandoverError, Received, Receiver, SIGNS_SINCE, Sender,
};
use crate::protocol::ClientRecord;
use crate::proxy::Departure;
use crate::runtime::{Departed, Start, Transfer};

/// The time limit for telling the old process that this one is ended.
const ENDING_WITHIN: Duration = Duration::from_secs(1);

/// The adoption of a predecessor's clients, if there is one.
#[derive(Debug, Default)]
pub(in crate::app) struct Arrival {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    task: AbortOnDropHandle<Result<Arrived, HandoverError>>,
    /// Ends it.
    stop: CancellationToken,
}

/// The end of an adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Arrived {
    /// The old process has no client left; this one has so many of them.
    All(u64),
    /// An operator ends this process. The old one ends too, if it could be told.
    Stopped { both_end: bool },
}

/// The clients that arrive.
struct Arriving {
    transfer: Transfer,
    sender: Sender,
    /// The answers of the workers, with the number of the client.
    answers: JoinSet<(u64, Result<Start, String>)>,
    /// Clients of which the old process could not be told.
    untold: Vec<Start>,
    adopted: u64,
}

/// The end of the messages about clients.
enum Over {
    /// The old process hands over no more, and has so many left.
    Done(usize),
    Stopped,
}

impl Arrival {
    /// The adoption of the clients of this process. `freeze` is released when that has no client left.
    pub(in crate::app) fn begin(
        predecessor: Predecessor,
        transfer: Transfer,
        freeze: Result<Hold, ControlError>,
    ) -> Self {
        let stop = CancellationToken::new();
        let task = predecessor.adopt_clients(transfer, freeze, stop.clone());
        let running = Running {
            task: AbortOnDropHandle::new(tokio::spawn(task)),
            stop,
        };
        Self {
            running: Some(running),
        }
    }

    /// Waits for the end of the predecessor. Cancel safe.
    pub(in crate::app) async fn ended(&mut self) -> Result<Arrived, HandoverError> {
        let Some(running) = &mut self.running else {
            return pending().await;
        };
        let ended = (&mut running.task).await;
        self.running = None;
        // A panic is the end of the task, and logged.
        ended.unwrap_or(Err(HandoverError::Gone))
    }

    /// Ends it since this process ends; `None` if it has ended. Returns true if the predecessor ends too.
    pub(in crate::app) fn stop(&mut self) -> Option<impl Future<Output = bool>> {
        self.running.as_ref()?.stop.cancel();
        Some(async {
            match timeout(ENDING_WITHIN, self.ended()).await {
                Ok(Ok(Arrived::Stopped { both_end })) => both_end,
                Ok(Ok(Arrived::All(_)) | Err(HandoverError::Gone)) => true,
                Ok(Err(_)) | Err(_) => false,
            }
        })
    }
}

impl Predecessor {
    /// Adopts clients until the old process has none left. Returns their number.
    async fn adopt_clients(
        self,
        transfer: Transfer,
        freeze: Result<Hold, ControlError>,
        stop: CancellationToken,
    ) -> Result<Arrived, HandoverError> {
        // Released last.
        let _freeze = freeze;
        let may_say_ending = self.welcome.protocol >= SIGNS_SINCE;
        let Connection {
            sender,
            mut receiver,
        } = self.connection;
        let mut arriving = Arriving {
            transfer,
            sender,
            answers: JoinSet::new(),
            untold: Vec::new(),
            adopted: 0,
        };
        let ended = match arriving.run(&mut receiver, &stop).await {
            Ok(Over::Stopped) => {
                let both_end = may_say_ending && arriving.say_ending().await;
                return Ok(Arrived::Stopped { both_end });
            }
            Err(error) if !matches!(error, HandoverError::Gone | HandoverError::GivenUp(_)) => {
                arriving.give_up(&error).await.map(|()| 0)
            }
            Ok(Over::Done(left)) => Ok(left),
            Err(error) => Err(error),
        };
        if !matches!(ended, Err(HandoverError::GivenUp(_))) {
            // Nobody else has those that are not answered.
            arriving.finish().await;
        }
        if ended? > 0 {
            tokio::select! {
                () = closed(&mut receiver) => {}
                () = stop.cancelled() => return Ok(Arrived::Stopped { both_end: true }),
            }
        }
        Ok(Arrived::All(arriving.adopted))
    }
}

/// Completes when the old process has ended.
async fn closed(receiver: &mut Receiver) {
    while receiver.receive::<FromOld>().await.is_ok() {}
}

impl Arriving {
    async fn run(
        &mut self,
        receiver: &mut Receiver,
        stop: &CancellationToken,
    ) -> Result<Over, HandoverError> {
        loop {
            tokio::select! {
                next = receiver.receive() => match next? {
                    Received { message: FromOld::Client { number, pool, record }, bytes, descriptor: Some(socket) } => {
                        self.arrive(number, &pool, *record, (socket, bytes)).await;
                    }
                    Received { message: FromOld::Ping, .. } => self.pong().await,
                    Received { message: FromOld::Done { left }, .. } => return Ok(Over::Done(left)),
                    Received { message: FromOld::Abort { reason }, .. } => return Err(HandoverError::GivenUp(reason)),
                    other => return Err(HandoverError::Malformed(format!("{:?}", other.message))),
                },
                Some(Ok((number, answer))) = self.answers.join_next() => self.answer(number, answer).await,
                () = stop.cancelled() => return Ok(Over::Stopped),
            }
        }
    }

    async fn arrive(
        &mut self,
        number: u64,
        pool: &str,
        record: ClientRecord,
        (socket, unread): (OwnedFd, Bytes),
    ) {
        let setups = self.transfer.pools().load();
        let Some(setup) = setups.iter().find(|setup| &*setup.name == pool) else {
            let reason = "there is no such pool".to_owned();
            return self.refuse(number, reason).await;
        };
        let departed = Departed {
            worker: None,
            pool: setup.id,
            client: Departure {
                socket,
                record,
                unread,
            },
        };
        let answered = self.transfer.adopt(departed, false).await;
        self.answers.spawn(async move {
            let answer = answered.await;
            (
                number,
                answer.unwrap_or_else(|_| Err("no worker serves it".to_owned())),
            )
        });
    }

    async fn answer(&mut self, number: u64, answer: Result<Start, String>) {
        let start = match answer {
            Ok(start) => start,
            Err(reason) => return self.refuse(number, reason).await,
        };
        match self.sender.send(&FromNew::Adopted { number }).await {
            Ok(()) => self.start(start),
            // Whether it has died, or has given up, its next message tells.
            Err(_) => self.untold.push(start),
        }
    }

    async fn pong(&self) {
        // Its next message tells what has become of it.
        let _ = self.sender.send(&FromNew::Pong).await;
    }

    /// Returns true if the old process ends too.
    async fn say_ending(&self) -> bool {
        match self.sender.send(&FromNew::Ending).await {
            Ok(()) | Err(HandoverError::Gone) => true,
            Err(_) => false,
        }
    }

    /// Lets the old process go on, if it does.
    async fn give_up(&self, error: &HandoverError) -> Result<(), HandoverError> {
        let reason = error.to_string();
        let failed = FromNew::Failed {
            reason: reason.clone(),
        };
        match self.sender.send(&failed).await {
            Ok(()) => Err(HandoverError::GivenUp(reason)),
            Err(error) => Err(error),
        }
    }

    async fn refuse(&self, number: u64, reason: String) {
        let refused = FromNew::Refused { number, reason };
        // If it has died, the client is lost with it.
        let _ = self.sender.send(&refused).await;
    }

    fn start(&mut self, start: Start) {
        // A client that has gone meanwhile is no more counted than any other that goes.
        let _ = start.send(());
        self.adopted += 1;
    }

    async fn finish(&mut self) {
        while let Some(answered) = self.answers.join_next().await {
            if let Ok((number, answer)) = answered {
                self.answer(number, answer).await;
            }
        }
        for start in mem::take(&mut self.untold) {
            self.start(start);
        }
    }
}
