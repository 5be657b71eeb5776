//! The old process hands over its clients, each when nothing of it is in flight.
//!
//! Invariants: a client that the new process has not adopted is still served here if that dies, or gives no sign of life and is
//! killed. What became of one whose answer is missing although that lives is not known: it is not taken back, so that nothing is
//! executed twice.

use std::collections::BTreeMap;
use std::mem;
use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::app::times::LEAVE_WITHIN;
use crate::app::upgrade::give::Successor;
use crate::app::upgrade::signs::{Killed, PING_EVERY, Signs};
use crate::handover::{Connection, FromNew, FromOld, HandoverError, Received, Receiver, Sender};
use crate::runtime::{Departed, PoolId, Transfer};

/// The time after which an operator is told how far it has come.
const REPORT_AFTER: Duration = Duration::from_secs(4);
/// The time limit for sending a message.
const SENT_WITHIN: Duration = Duration::from_secs(5);
/// The time limit for the end of a process that is killed.
const KILLED_WITHIN: Duration = Duration::from_secs(5);
/// The interval at which it is checked whether clients are left, and others leave in place of those that cannot.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// The most clients without an answer.
const IN_TRANSIT: usize = 64;
/// The clients of each worker that leave at the same time: what they send meanwhile waits.
const AT_A_TIME: usize = 16;

/// The failure to send within it.
const LATE: HandoverError = HandoverError::Late {
    within: SENT_WITHIN,
};

/// The clients on their way.
struct Moving<'t> {
    transfer: &'t Transfer,
    sender: Sender,
    pools: BTreeMap<u64, String>,
    /// Those that are not answered yet, by number.
    in_transit: BTreeMap<u64, Departed>,
    next: u64,
    moved: u64,
    signs: Signs,
    /// Nothing can be sent any more: its last messages tell why.
    is_deaf: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) moved: u64,
    pub(super) left: u64,
}

/// The end of a hand-over; this process ends in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// What may leave has left.
    Moved(Progress),
    /// An operator has ended the new process.
    Stopped,
}

/// The meaning of a message.
enum Heard {
    /// A client is settled; it was one of this worker.
    Settled(Option<usize>),
    Alive,
    Ending,
}

/// Hands over the clients of the pools that the new process has. `report` is taken, if that takes some time. `Err`: the new process
/// has died, and the clients that it has not adopted are served here.
pub(super) async fn hand_over<R: FnOnce(Progress)>(
    connection: &mut Connection,
    transfer: &Transfer,
    successor: &Successor,
    report: &mut Option<R>,
) -> Result<Over, HandoverError> {
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
        signs: Signs::of(successor),
        is_deaf: false,
    };
    let mut departed = transfer.begin(ids).await;
    let receiver = &mut connection.receiver;
    let ended = moving.run(receiver, &mut departed, report).await;
    transfer.end().await;
    let is_ending = ended.is_ok();
    if let Err(error) = &ended
        && !matches!(error, HandoverError::Gone | HandoverError::GivenUp(_))
        && moving.kill(receiver, error).await == Killed::No
    {
        let unknown = mem::take(&mut moving.in_transit).len();
        tracing::error!(
            clients = unknown,
            "upgrade: clients closed, which the new process may have"
        );
    }
    moving.take_back_all(&mut departed, is_ending).await;
    ended
}

impl Moving<'_> {
    async fn run<R: FnOnce(Progress)>(
        &mut self,
        receiver: &mut Receiver,
        departed: &mut UnboundedReceiver<Departed>,
        report: &mut Option<R>,
    ) -> Result<Over, HandoverError> {
        let begun = Instant::now();
        let mut may_leave = true;
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.transfer.go_on(AT_A_TIME, None).await;
        loop {
            tokio::select! {
                // A sign of life that has arrived counts before the ping that misses it.
                biased;
                answer = receiver.receive() => match self.on_answer(answer?).await? {
                    Heard::Settled(Some(worker)) if may_leave => {
                        self.transfer.go_on(1, Some(worker)).await;
                    }
                    Heard::Settled(_) | Heard::Alive => {}
                    Heard::Ending => return Ok(Over::Stopped),
                },
                _ = pings.tick() => self.ping().await?,
                () = sleep_until(begun + LEAVE_WITHIN), if may_leave => {
                    may_leave = false;
                    self.transfer.end().await;
                    self.take_back_unsent(departed, true).await;
                }
                _ = checks.tick() => {
                    let is_settled = self.in_transit.is_empty() && departed.is_empty();
                    if is_settled && (!may_leave || self.transfer.clients() == 0) {
                        return Ok(Over::Moved(self.progress()));
                    }
                    if self.in_transit.is_empty() && may_leave {
                        self.transfer.go_on(AT_A_TIME, None).await;
                    }
                    let is_due = begun.elapsed() >= REPORT_AFTER && !self.signs.is_doubtful();
                    if let Some(report) = report.take_if(|_| is_due) {
                        report(self.progress());
                    }
                }
                Some(client) = departed.recv(), if self.in_transit.len() < IN_TRANSIT && !self.is_deaf => {
                    self.send(client).await?;
                }
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
        let sent = self.sender.send_with(&message, &client.unread, socket);
        let sent = timeout(SENT_WITHIN, sent).await.unwrap_or(Err(LATE));
        self.note_sent(sent)
    }

    async fn ping(&mut self) -> Result<(), HandoverError> {
        if let Some(within) = self.signs.count(!self.in_transit.is_empty()) {
            return Err(HandoverError::Late { within });
        }
        if self.is_deaf || !self.signs.wants_pings() {
            return Ok(());
        }
        let sent = timeout(SENT_WITHIN, self.sender.send(&FromOld::Ping)).await;
        self.note_sent(sent.unwrap_or(Err(LATE)))
    }

    /// If the connection is closed, what has come over it before is still to be read.
    fn note_sent(&mut self, sent: Result<(), HandoverError>) -> Result<(), HandoverError> {
        match sent {
            Err(HandoverError::Gone | HandoverError::Io(_)) => {
                self.is_deaf = true;
                Ok(())
            }
            sent => sent,
        }
    }

    async fn on_answer(&mut self, answer: Received<FromNew>) -> Result<Heard, HandoverError> {
        self.signs.heard();
        match answer.message {
            FromNew::Adopted { number } => {
                self.signs.settled();
                let departed = self.in_transit.remove(&number);
                self.moved += u64::from(departed.is_some());
                let worker = departed.and_then(|departed| departed.worker);
                Ok(Heard::Settled(worker))
            }
            FromNew::Refused { number, reason } => {
                self.signs.settled();
                let Some(departed) = self.in_transit.remove(&number) else {
                    return Ok(Heard::Alive);
                };
                let (id, worker) = (departed.client.record.id, departed.worker);
                tracing::warn!(client = id, reason, "upgrade: client stays, and is drained");
                take_back(self.transfer, departed, true).await;
                Ok(Heard::Settled(worker))
            }
            FromNew::Pong => Ok(Heard::Alive),
            FromNew::Ending => Ok(Heard::Ending),
            FromNew::Failed { reason } => Err(HandoverError::GivenUp(reason)),
            other => Err(HandoverError::Malformed(format!("{other:?}"))),
        }
    }

    /// Kills the new process, and reads what it has said before.
    async fn kill(&mut self, receiver: &mut Receiver, reason: &HandoverError) -> Killed {
        let killed = self.signs.kill(reason);
        if killed == Killed::Yes {
            let last_words = async {
                while let Ok(Received { message, .. }) = receiver.receive().await {
                    if let FromNew::Adopted { number } = message {
                        self.in_transit.remove(&number);
                    }
                }
            };
            // One that the system cannot end yet does nothing more either.
            let _ = timeout(KILLED_WITHIN, last_words).await;
        }
        killed
    }

    /// Serves here what the new process has not adopted.
    async fn take_back_all(&mut self, departed: &mut UnboundedReceiver<Departed>, is_ending: bool) {
        for departed in mem::take(&mut self.in_transit).into_values() {
            take_back(self.transfer, departed, is_ending).await;
        }
        self.take_back_unsent(departed, is_ending).await;
    }

    /// Serves those that have left their sessions and not this process.
    async fn take_back_unsent(&self, departed: &mut UnboundedReceiver<Departed>, is_ending: bool) {
        while let Ok(departed) = departed.try_recv() {
            take_back(self.transfer, departed, is_ending).await;
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
