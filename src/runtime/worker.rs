//! A worker: a thread with a single-threaded runtime that serves clients, and its view of every pool.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::net::{Accepted, ConnLimit, Stream};
use crate::proxy::{ParkDelay, ReplyQueue, WorkerContext};
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::pool::AnyPool;
use crate::runtime::pool_list::PoolList;
use crate::runtime::sessions::Sessions;
use crate::runtime::worker_thread::StartReport;
use crate::stats::{PoolStatsView, StatsBoard, WorkerCells, WorkerSlot};

/// A message of the control thread to a worker.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// Serve a client of the pool with this index.
    Serve(Accepted, usize, ClientPermit),
    /// Publish the counts, then reply.
    Publish(oneshot::Sender<()>),
    /// Finish the requests in flight within this time limit, then end.
    Drain(Duration),
}

/// The receiving ends of a worker's messages.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) messages: mpsc::Receiver<WorkerMessage>,
    /// The numbers of sessions to kill, if they are still open. Other workers send them too, and none may be lost.
    pub(crate) kills: mpsc::UnboundedReceiver<usize>,
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

struct Worker {
    pools: Vec<Rc<AnyPool>>,
    keepalive: Vec<bool>,
    context: Rc<WorkerContext>,
    cells: Rc<WorkerCells>,
    slot: WorkerSlot,
    stats_board: StatsBoard,
    sessions: Sessions,
    draining: Cell<bool>,
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
        () = worker.drain(within) => {}
        () = serve_on => {}
    }
    worker.publish();
}

impl Worker {
    fn new(setup: WorkerSetup, park_delay: ParkDelay) -> (Self, Mailbox) {
        let context = WorkerContext::new(park_delay).with_conn_limit(setup.conn_limit);
        let context = Rc::new(context);
        let cells = Rc::new(WorkerCells::new());
        let stats_view = |pool: &str| {
            let (cells, slot) = (Rc::clone(&cells), setup.slot.clone());
            let (stats_board, pools) = (setup.stats_board.clone(), Arc::clone(&setup.pools));
            let snapshot = Box::new(move || {
                slot.publish(&cells);
                pools.snapshot(&stats_board)
            });
            let (stats_board, name) = (setup.stats_board.clone(), pool.to_owned());
            let before = Box::new(move || stats_board.sampled(&name));
            PoolStatsView {
                pool: pool.to_owned(),
                snapshot,
                before,
            }
        };
        let setups = setup.pools.load();
        let pools = setups.iter().map(|pool| {
            let name = &pool.config.name;
            let (context, stats_view) = (Rc::clone(&context), stats_view(name));
            let cells = cells.add_pool(name);
            let pool = AnyPool::start(pool, &cells, context, stats_view, setup.number);
            Rc::new(pool)
        });
        let pools = pools.collect();
        let keepalive = setups.iter().map(|pool| pool.config.tcpkeepalive);
        let worker = Self {
            pools,
            keepalive: keepalive.collect(),
            context,
            cells,
            slot: setup.slot,
            stats_board: setup.stats_board,
            sessions: Sessions::default(),
            draining: Cell::new(false),
        };
        (worker, setup.mailbox)
    }

    /// Handles messages until the worker must drain; returns the time limit, or `None` when the control thread is gone.
    async fn serve_mailbox(&self, mailbox: &mut Mailbox, ticks: &mut Interval) -> Option<Duration> {
        loop {
            tokio::select! {
                message = mailbox.messages.recv() => match message? {
                    WorkerMessage::Serve(accepted, pool, permit) => self.open(accepted, pool, permit),
                    WorkerMessage::Publish(done) => {
                        self.publish();
                        // The requester may have given up.
                        let _ = done.send(());
                    }
                    WorkerMessage::Drain(within) => return Some(within),
                },
                Some(session) = mailbox.kills.recv() => self.sessions.kill(session),
                _ = ticks.tick() => {
                    self.publish();
                    self.stats_board.sample(Instant::now());
                }
            }
        }
    }

    fn open(&self, accepted: Accepted, pool: usize, permit: ClientPermit) {
        let keepalive = self.keepalive.get(pool).copied().unwrap_or(false);
        let stream = match Stream::adopt(accepted, keepalive) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to set up client connection");
                return;
            }
        };
        let Some(pool) = self.pools.get(pool).map(Rc::clone) else {
            return;
        };
        let cells = Rc::clone(pool.cells());
        let replies = Rc::new(ReplyQueue::new(Rc::clone(&cells), Rc::clone(&self.context)));
        let number = self.sessions.add(&replies);
        let guard = self.sessions.guard(number, cells, permit);
        if self.draining.get() {
            replies.drain();
        }
        spawn_local(async move {
            pool.serve(stream, replies, number).await;
            drop(guard);
        });
    }

    /// Lets the sessions finish their requests in flight, and kills those that take too long.
    async fn drain(&self, within: Duration) {
        self.sessions.drain_all();
        if timeout(within, self.sessions.all_closed()).await.is_err() {
            tracing::warn!(
                clients = self.sessions.count(),
                "drain timed out; closing remaining clients"
            );
            self.sessions.kill_all();
            // A killed session ends when it is next polled: nothing can delay it.
            self.sessions.all_closed().await;
        }
    }

    fn publish(&self) {
        self.slot.publish(&self.cells);
    }
}
