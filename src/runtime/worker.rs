//! A worker: a thread with a single-threaded runtime that serves clients, and its view of every pool.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fnv::FnvHashMap;
use rustix::thread::set_current_timer_slack;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::config::Transport;
use crate::net::tls::Handshakes;
use crate::net::{Accepted, ConnLimit, Stream};
use crate::protocol::redis::state::client_registry::SessionSignal;
use crate::proxy::{Departure, Origin, ParkDelay, ReplyQueue, WorkerContext};
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::client_setup::{NewClient, Requirements};
use crate::runtime::leaving::{Adoption, Departed, Leaving};
use crate::runtime::pool::AnyPool;
use crate::runtime::pool_list::PoolList;
use crate::runtime::pool_setup::{PoolId, PoolSetup};
use crate::runtime::sessions::{Sessions, Whose};
use crate::runtime::worker_thread::StartReport;
use crate::stats::{PoolStatsView, StatsBoard, WorkerCells, WorkerSlot};

/// The time limit for the subscriptions of a client that has arrived.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(5);

/// A message of the control thread to a worker.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// Serve a client of a pool.
    Serve(Accepted, (PoolId, Transport), ClientPermit),
    /// Serve another pool from now on.
    AddPool(Box<PoolSetup>),
    /// Serve a pool no longer; its clients may finish their requests in flight within this time limit.
    RemovePool(PoolId, Duration),
    /// Publish the counts, then reply.
    Publish(oneshot::Sender<()>),
    /// Prepare the clients of these pools to leave for another process, and let those of others finish their requests in
    /// flight.
    HandOver(Arc<[PoolId]>, mpsc::UnboundedSender<Departed>),
    /// Let so many more of the former leave.
    Leave(usize),
    /// Keep the clients that have not left, then reply.
    Stay(oneshot::Sender<()>),
    /// Serve a client that another process has handed over.
    Adopt(Box<Adoption>),
    /// Finish the requests in flight within this time limit, then end.
    Drain(Duration),
}

/// The receiving ends of a worker's messages.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) messages: mpsc::Receiver<WorkerMessage>,
    /// The signals to sessions, if they are still open. Other workers send them too, and none may be lost.
    pub(crate) signals: mpsc::UnboundedReceiver<SessionSignal>,
}

/// The parameters of a worker.
#[derive(Debug)]
pub(crate) struct WorkerSetup {
    pub(crate) number: usize,
    pub(crate) pools: Arc<PoolList>,
    /// The slot in which this worker publishes its counts.
    pub(crate) slot: WorkerSlot,
    /// The slots of all workers.
    pub(crate) stats_board: StatsBoard,
    /// The interval of publishing without a request.
    pub(crate) stats_interval: Duration,
    /// The limit that it shares with all other workers.
    pub(crate) conn_limit: ConnLimit,
    pub(crate) mailbox: Mailbox,
}

/// A pool that this worker serves, and the part of it that all workers share.
#[derive(Clone)]
struct Served {
    pool: Rc<AnyPool>,
    setup: Rc<PoolSetup>,
}

struct Worker {
    number: usize,
    pools: RefCell<FnvHashMap<PoolId, Served>>,
    /// The pools of the process.
    listed: Arc<PoolList>,
    context: Rc<WorkerContext>,
    cells: Rc<WorkerCells>,
    slot: WorkerSlot,
    stats_board: StatsBoard,
    sessions: Sessions,
    draining: Cell<bool>,
    leaving: Leaving,
    handshakes: Rc<Handshakes>,
}

/// Runs a worker's thread.
pub(crate) fn run(setup: WorkerSetup, started: StartReport) {
    let park_delay = ParkDelay::default();
    match runtime(park_delay.clone()) {
        Ok(runtime) => {
            started.send(Ok(()));
            runtime.block_on(serve(setup, park_delay));
            // A pending name lookup must not delay the exit.
            runtime.shutdown_background();
        }
        Err(error) => started.send(Err(error)),
    }
}

/// A runtime for the worker of this thread, which applies the park delay before it blocks.
fn runtime(park_delay: ParkDelay) -> io::Result<LocalRuntime> {
    // Otherwise the kernel may double the delay (`PR_SET_TIMERSLACK`).
    set_current_timer_slack(Some(NonZeroU64::MIN))?;
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            let due = park_delay.due();
            if !due.is_zero() {
                thread::sleep(due);
            }
        })
        .build_local(LocalOptions::default())
}

/// Serves until it has drained, or the control thread is gone.
async fn serve(setup: WorkerSetup, park_delay: ParkDelay) {
    let mut ticks = interval(setup.stats_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (worker, mut mailbox) = Worker::new(setup, park_delay);
    let Some(within) = worker.serve_mailbox(&mut mailbox, &mut ticks).await else {
        return;
    };
    worker.draining.set(true);
    // During a drain, counts must stay fresh and clients can still be killed.
    let serve_on = async {
        while worker
            .serve_mailbox(&mut mailbox, &mut ticks)
            .await
            .is_some()
        {}
        pending::<()>().await;
    };
    tokio::select! {
        () = worker.sessions.drain(Whose::All, within) => {}
        () = serve_on => {}
    }
    worker.publish();
}

impl Worker {
    fn new(setup: WorkerSetup, park_delay: ParkDelay) -> (Self, Mailbox) {
        let context = WorkerContext::new(park_delay).with_conn_limit(setup.conn_limit);
        let context = Rc::new(context);
        let worker = Self {
            number: setup.number,
            pools: RefCell::default(),
            listed: setup.pools,
            context,
            cells: Rc::new(WorkerCells::new()),
            slot: setup.slot,
            stats_board: setup.stats_board,
            sessions: Sessions::default(),
            draining: Cell::new(false),
            leaving: Leaving::of(setup.number),
            handshakes: Rc::default(),
        };
        for pool in &*worker.listed.load() {
            worker.add_pool(pool);
        }
        (worker, setup.mailbox)
    }

    /// Handles messages until the worker must drain; returns the time limit, or `None` when the control thread is gone.
    async fn serve_mailbox(&self, mailbox: &mut Mailbox, ticks: &mut Interval) -> Option<Duration> {
        loop {
            tokio::select! {
                message = mailbox.messages.recv() => match message? {
                    WorkerMessage::Serve(accepted, served, permit) => self.open(accepted, served, permit),
                    WorkerMessage::AddPool(setup) => self.add_pool(&setup),
                    WorkerMessage::RemovePool(pool, within) => self.remove_pool(pool, within),
                    WorkerMessage::Publish(done) => {
                        self.publish();
                        // The requester may have given up.
                        let _ = done.send(());
                    }
                    WorkerMessage::HandOver(pools, departures) => {
                        self.leaving.begin(pools, departures, &self.sessions);
                    }
                    WorkerMessage::Leave(count) => self.leaving.go_on(count),
                    WorkerMessage::Stay(done) => {
                        self.leaving.end(&self.sessions);
                        let _ = done.send(());
                    }
                    WorkerMessage::Adopt(adoption) => self.adopt(*adoption),
                    WorkerMessage::Drain(within) => return Some(within),
                },
                Some(signal) = mailbox.signals.recv() => self.sessions.signal(signal),
                _ = ticks.tick() => {
                    self.publish();
                    self.stats_board.sample(Instant::now());
                }
            }
        }
    }

    fn add_pool(&self, setup: &PoolSetup) {
        let cells = self.cells.add_pool(&setup.name, AnyPool::commands(setup));
        let (context, stats) = (Rc::clone(&self.context), self.stats_view(&setup.name));
        let pool = AnyPool::start(setup, &cells, context, stats, self.number);
        let served = Served {
            pool: Rc::new(pool),
            setup: Rc::new(setup.clone()),
        };
        self.pools.borrow_mut().insert(setup.id, served);
    }

    /// Drains the clients of a pool, and then closes its connections.
    fn remove_pool(&self, id: PoolId, within: Duration) {
        let Some(Served { pool, .. }) = self.pools.borrow_mut().remove(&id) else {
            return;
        };
        if !self
            .pools
            .borrow()
            .values()
            .any(|other| other.pool.name() == pool.name())
        {
            self.cells.remove_pool(pool.name());
        }
        let sessions = self.sessions.clone();
        spawn_local(async move {
            sessions.drain(Whose::Pool(id), within).await;
            drop(pool);
        });
    }

    /// The counts of the whole process for a pool.
    fn stats_view(&self, pool: &str) -> PoolStatsView {
        let (cells, slot) = (Rc::clone(&self.cells), self.slot.clone());
        let (board, listed) = (self.stats_board.clone(), Arc::clone(&self.listed));
        let (before_board, name) = (self.stats_board.clone(), pool.to_owned());
        let own_name = name.clone();
        PoolStatsView {
            pool: pool.to_owned(),
            snapshot: Box::new(move || {
                slot.publish(&cells);
                listed.snapshot_for(&board, &own_name)
            }),
            before: Box::new(move || before_board.sampled(&name)),
        }
    }

    fn open(&self, accepted: Accepted, (id, transport): (PoolId, Transport), permit: ClientPermit) {
        let Some(Served { pool, setup }) = self.pools.borrow().get(&id).cloned() else {
            return;
        };
        let stream = match Stream::adopt(accepted, pool.keepalive()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to set up client connection");
                return;
            }
        };
        let requirements = Requirements::of(&permit, transport, &setup);
        let cells = Rc::clone(pool.cells());
        let replies = Rc::new(ReplyQueue::new(Rc::clone(&cells), Rc::clone(&self.context)));
        let number = self.sessions.add(id, &replies);
        let guard = self.sessions.guard(number, cells, permit);
        if self.draining.get() {
            replies.drain();
        }
        self.leaving.join(id, &replies);
        let leaving = self.leaving.clone();
        let handshakes = Rc::clone(&self.handshakes);
        let client = NewClient {
            pool,
            stream,
            replies,
            number,
        };
        spawn_local(async move {
            let departure = if requirements.are_none() {
                client.serve().await
            } else {
                // The tasks of other clients need no room for it.
                Box::pin(client.serve_after_setup(requirements, &setup, &handshakes)).await
            };
            if let Some(departure) = departure {
                leaving.send(id, *departure);
            }
            drop(guard);
        });
    }

    /// Serves a client that another process has handed over.
    fn adopt(&self, adoption: Adoption) {
        let Adoption {
            departed: Departed {
                pool: id, client, ..
            },
            permit,
            is_ending,
            answer,
        } = adoption;
        let Departure {
            socket,
            record,
            unread,
        } = client;
        let refuse = |answer: oneshot::Sender<_>, why: &str| {
            // Who has asked may have gone.
            let _ = answer.send(Err(why.to_owned()));
        };
        let Some(Served { pool, setup }) = self.pools.borrow().get(&id).cloned() else {
            return refuse(answer, "there is no such pool");
        };
        let stream = Accepted::of(socket);
        let stream = stream.and_then(|accepted| Stream::adopt(accepted, pool.keepalive()));
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return refuse(answer, &error.to_string()),
        };
        let cells = Rc::clone(pool.cells());
        let replies = Rc::new(ReplyQueue::new(Rc::clone(&cells), Rc::clone(&self.context)));
        let number = self.sessions.add(id, &replies);
        let origin = Origin::arrived(&record.peer.0);
        let permit = permit.with(setup.admission.readmit(&origin, &stream));
        let guard = self.sessions.guard(number, cells, permit);
        let (client, authenticated) = (origin.peer(&stream), origin.auth.clone());
        let known = (&origin, &record, &unread[..]);
        let Some(mut session) = pool.arrive(stream, Rc::clone(&replies), number, known) else {
            return refuse(
                answer,
                "the pool has not the client's database, or its user",
            );
        };
        if is_ending || self.draining.get() {
            replies.drain();
        } else {
            self.leaving.join(id, &replies);
        }
        let leaving = self.leaving.clone();
        spawn_local(async move {
            let subscribed = session.resubscribe(&record);
            if !timeout(SUBSCRIBED_WITHIN, subscribed)
                .await
                .unwrap_or(false)
            {
                return refuse(
                    answer,
                    "its subscriptions cannot be made, or its user may not make them",
                );
            }
            let (start, started) = oneshot::channel();
            // Before that, another process may take it back.
            if answer.send(Ok(start)).is_err() || started.await.is_err() {
                return;
            }
            let waiting = (authenticated, replies);
            let named = (&*setup.name, &*client);
            let must_authenticate = || setup.needs_auth();
            let (within, running) = (setup.auth_timeout(), session.run());
            let serving = setup.admission.with_auth_timeout(
                within,
                named,
                waiting,
                must_authenticate,
                running,
            );
            if let Some(departure) = serving.await {
                leaving.send(id, *departure);
            }
            drop(guard);
        });
    }

    fn publish(&self) {
        self.slot.publish(&self.cells);
    }
}
