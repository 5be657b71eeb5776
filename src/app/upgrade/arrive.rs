//! The new process adopts the clients of the old one.
//!
//! Invariant: a client is read once the old process has been told that it is adopted, or has died.

use std::mem;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::app::upgrade::take::Predecessor;
use crate::handover::{Connection, FromNew, FromOld, HandoverError, Received, Sender};
use crate::protocol::ClientRecord;
use crate::proxy::Departure;
use crate::runtime::{Departed, Start, Transfer};

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

impl Predecessor {
    /// Adopts clients until the old process hands over no more. Returns their number.
    pub(in crate::app) async fn adopt_clients(
        self,
        transfer: Transfer,
    ) -> Result<u64, HandoverError> {
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
        let ended = loop {
            tokio::select! {
                received = receiver.receive() => match received {
                    Ok(Received { message: FromOld::Client { number, pool, record }, bytes, descriptor: Some(socket) }) => {
                        arriving.arrive(number, &pool, *record, (socket, bytes)).await;
                    }
                    Ok(Received { message: FromOld::Done, .. }) => break Ok(()),
                    Ok(Received { message: FromOld::Abort { reason }, .. }) => break Err(HandoverError::GivenUp(reason)),
                    Ok(other) => break Err(HandoverError::Malformed(format!("{:?}", other.message))),
                    Err(error) => break Err(error),
                },
                Some(Ok((number, answer))) = arriving.answers.join_next() => arriving.answer(number, answer).await,
            }
        };
        let ended = match ended {
            Err(error) if !matches!(error, HandoverError::Gone | HandoverError::GivenUp(_)) => {
                arriving.give_up(&error).await
            }
            ended => ended,
        };
        if !matches!(ended, Err(HandoverError::GivenUp(_))) {
            // Nobody else has those that are not answered.
            arriving.finish().await;
        }
        ended.map(|()| arriving.adopted)
    }
}

impl Arriving {
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
