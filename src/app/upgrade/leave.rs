//! The old process hands over its clients, each when nothing of it is in flight.
//!
//! Invariant: a client that the new process has not adopted is still served here if that dies. What became of one whose
//! answer is missing although that lives is not known: it is not taken back, so that nothing is executed twice.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

use crate::app::upgrade::give::Successor;
use crate::handover::{Connection, FromNew, FromOld, HandoverError, Received, Receiver, Sender};
use crate::runtime::{Departed, PoolId, Transfer};

/// The time in which clients may leave; the others are drained.
pub(in crate::app) const LEAVE_WITHIN: Duration = Duration::from_secs(60);
/// The time after which an operator is told how far it has come.
const REPORT_AFTER: Duration = Duration::from_secs(4);
/// The time limit for the last answers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// The interval at which it is checked whether clients are left, and others leave in place of those that cannot.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// The most clients without an answer.
const IN_TRANSIT: usize = 64;
/// The clients of each worker that leave at the same time: what they send meanwhile waits.
const AT_A_TIME: usize = 16;

/// The clients on their way.
struct Moving<'t> {
    transfer: &'t Transfer,
    sender: Sender,
    pools: BTreeMap<u64, String>,
    /// Those that are not answered yet, by number.
    in_transit: BTreeMap<u64, Departed>,
    next: u64,
    moved: u64,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) moved: u64,
    pub(super) left: u64,
}

/// Hands over the clients of the pools that the new process has. `report` is called once, when all have left or some time has
/// passed. `Err`: the new process has died, and the clients that it has not adopted are served here.
pub(super) async fn hand_over(
    connection: &mut Connection,
    transfer: &Transfer,
    successor: &Successor,
    report: impl FnOnce(Progress),
) -> Result<u64, HandoverError> {
    let setups = transfer.pools().load();
    let known = |name: &str, protocol: &str| {
        let mut pools = successor.pools.iter();
        pools.any(|pool| pool.pool == name && pool.protocol == protocol)
    };
    let common = setups.iter();
    let common: Vec<_> = common
        .filter(|setup| known(&setup.name, setup.protocol.name()))
        .collect();
    let ids: Vec<PoolId> = common.iter().map(|setup| setup.id).collect();
    let names = common.iter();
    let mut moving = Moving {
        transfer,
        sender: connection.sender.clone(),
        pools: names
            .map(|setup| (setup.id.number(), setup.name.to_string()))
            .collect(),
        in_transit: BTreeMap::new(),
        next: 0,
        moved: 0,
    };
    let mut departed = transfer.begin(ids).await;
    let ended = moving
        .run(&mut connection.receiver, &mut departed, report)
        .await;
    transfer.end().await;
    match ended {
        Ok(()) => {
            moving.take_back_unsent(&mut departed, true).await;
            moving.await_answers(&mut connection.receiver).await;
            Ok(moving.moved)
        }
        Err(error) => {
            for departed in std::mem::take(&mut moving.in_transit).into_values() {
                take_back(transfer, departed, false).await;
            }
            moving.take_back_unsent(&mut departed, false).await;
            Err(error)
        }
    }
}

impl Moving<'_> {
    async fn run(
        &mut self,
        receiver: &mut Receiver,
        departed: &mut UnboundedReceiver<Departed>,
        report: impl FnOnce(Progress),
    ) -> Result<(), HandoverError> {
        let begun = Instant::now();
        let mut report = Some(report);
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.transfer.go_on(AT_A_TIME, None).await;
        loop {
            tokio::select! {
                answer = receiver.receive() => {
                    if let Some(worker) = self.on_answer(answer?).await? {
                        self.transfer.go_on(1, Some(worker)).await;
                    }
                }
                Some(client) = departed.recv(), if self.in_transit.len() < IN_TRANSIT => {
                    self.send(client).await?;
                }
                _ = checks.tick() => {
                    let is_over = self.transfer.clients() == 0
                        && self.in_transit.is_empty()
                        && departed.is_empty();
                    if self.in_transit.is_empty() {
                        self.transfer.go_on(AT_A_TIME, None).await;
                    }
                    let is_due = is_over || begun.elapsed() >= REPORT_AFTER;
                    if let Some(report) = report.take_if(|_| is_due) {
                        report(self.progress());
                    }
                    if is_over {
                        return Ok(());
                    }
                }
                () = sleep_until(begun + LEAVE_WITHIN) => return Ok(()),
            }
        }
    }

    fn progress(&self) -> Progress {
        let left = self.transfer.clients() + self.in_transit.len();
        Progress {
            moved: self.moved,
            left: left as u64,
        }
    }

    async fn send(&mut self, departed: Departed) -> Result<(), HandoverError> {
        let number = self.next;
        self.next += 1;
        let pool = self.pools.get(&departed.pool.number()).cloned();
        let departed = self.in_transit.entry(number).or_insert(departed);
        let client = &departed.client;
        let message = FromOld::Client {
            number,
            pool: pool.unwrap_or_default(),
            record: Box::new(client.record.clone()),
        };
        let socket = Some(client.socket.as_fd());
        self.sender
            .send_with(&message, &client.unread, socket)
            .await
    }

    /// Returns the worker of a client that has left.
    async fn on_answer(
        &mut self,
        answer: Received<FromNew>,
    ) -> Result<Option<usize>, HandoverError> {
        match answer.message {
            FromNew::Adopted { number } => {
                let departed = self.in_transit.remove(&number);
                self.moved += u64::from(departed.is_some());
                Ok(departed.and_then(|departed| departed.worker))
            }
            FromNew::Refused { number, reason } => {
                let Some(departed) = self.in_transit.remove(&number) else {
                    return Ok(None);
                };
                let (id, worker) = (departed.client.record.id, departed.worker);
                tracing::warn!(client = id, reason, "upgrade: client stays, and is drained");
                take_back(self.transfer, departed, true).await;
                Ok(worker)
            }
            FromNew::Failed { reason } => Err(HandoverError::GivenUp(reason)),
            other => Err(HandoverError::Malformed(format!("{other:?}"))),
        }
    }

    /// Serves those that have left their sessions and not this process.
    async fn take_back_unsent(&self, departed: &mut UnboundedReceiver<Departed>, is_ending: bool) {
        while let Ok(departed) = departed.try_recv() {
            take_back(self.transfer, departed, is_ending).await;
        }
    }

    async fn await_answers(&mut self, receiver: &mut Receiver) {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        while !self.in_transit.is_empty() {
            let Ok(Ok(answer)) = timeout_at(deadline, receiver.receive()).await else {
                return;
            };
            if self.on_answer(answer).await.is_err() {
                return;
            }
        }
    }
}

/// Serves a client here again.
async fn take_back(transfer: &Transfer, departed: Departed, is_ending: bool) {
    let id = departed.client.record.id;
    let answered = transfer.adopt(departed, is_ending).await;
    tokio::spawn(async move {
        match answered.await {
            Ok(Ok(start)) => {
                // Its worker has ended if this fails.
                let _ = start.send(());
            }
            Ok(Err(reason)) => tracing::warn!(client = id, reason, "upgrade: client closed"),
            Err(_) => {}
        }
    });
}
