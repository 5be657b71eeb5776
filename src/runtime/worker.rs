//! One thread that serves clients: a single-threaded runtime, and one view of every pool.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use fnv::FnvHashMap;
use rustix::thread::set_current_timer_slack;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::net::{Accepted, ConnLimit, Stream};
use crate::proxy::{ParkDelay, ReplyQueue, WorkerContext};
use crate::runtime::client_permit::ClientPermit;
use crate::runtime::pool::AnyPool;
use crate::runtime::pool_setup::{PoolSetup, note_ejections};
use crate::stats::{PoolCells, PoolMetric, PoolStatsView, StatsBoard, WorkerCells, WorkerSlot};

/// What the control thread tells a worker.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// Serve a client of the pool with this index.
    Serve(Accepted, usize, ClientPermit),
    /// A client of that pool found no room.
    Rejected(usize),
    /// Publish the counts, then answer.
    Publish(oneshot::Sender<()>),
    /// Let what is in flight finish, within this time, then end.
    Drain(Duration),
}

/// Where a worker is told what to do.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) orders: mpsc::Receiver<WorkerMessage>,
    /// Sessions that are to be ended, if they are still there. Others than the control thread ask for it, and none of
    /// these may be missed.
    pub(crate) ends: mpsc::UnboundedReceiver<usize>,
}

/// What a worker counts, and where it tells it.
#[derive(Debug)]
pub(crate) struct WorkerStats {
    pub(crate) cells: WorkerCells,
    pub(crate) published: WorkerSlot,
    /// Where all workers tell it.
    pub(crate) stats_board: StatsBoard,
    /// How often it is told unasked.
    pub(crate) tick: Duration,
    /// The number of this worker.
    pub(crate) number: usize,
    /// What it counts with all others.
    pub(crate) conn_limit: ConnLimit,
}

struct Worker {
    pools: Vec<Rc<AnyPool>>,
    keepalive: Vec<bool>,
    context: Rc<WorkerContext>,
    cells: Rc<WorkerCells>,
    published: WorkerSlot,
    sessions: Sessions,
}

/// The sessions of a worker, to be drained or killed.
#[derive(Clone, Default)]
struct Sessions {
    live: Rc<RefCell<FnvHashMap<usize, Weak<ReplyQueue>>>>,
    next: Rc<Cell<usize>>,
    empty: Rc<Cell<Option<Waker>>>,
}

/// A runtime for the worker of this thread, which makes the pause that is due before it blocks.
pub(crate) fn runtime(pause: ParkDelay) -> io::Result<LocalRuntime> {
    // Otherwise the kernel would make a pause longer by up to as much again (`PR_SET_TIMERSLACK`).
    set_current_timer_slack(Some(NonZeroU64::MIN))?;
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            let due = pause.due();
            if !due.is_zero() {
                thread::sleep(due);
            }
        })
        .build_local(LocalOptions::default())
}

/// Serves until it is told to drain, or the control thread is gone.
pub(crate) async fn serve(
    plans: Vec<PoolSetup>,
    counts: WorkerStats,
    pause: ParkDelay,
    mailbox: Mailbox,
) {
    let Mailbox {
        mut orders,
        mut ends,
    } = mailbox;
    let WorkerStats {
        cells,
        published,
        stats_board,
        tick,
        number,
        conn_limit,
    } = counts;
    let context = Rc::new(WorkerContext::new(pause).with_conn_limit(conn_limit));
    let cells = Rc::new(cells);
    let asked = stats_board.clone();
    let figures = |pool| {
        let (cells, published) = (Rc::clone(&cells), published.clone());
        let (stats_board, plans) = (stats_board.clone(), plans.clone());
        let snapshot = Box::new(move || {
            published.publish(&cells);
            let mut sum = stats_board.merged();
            note_ejections(&mut sum, &plans);
            sum
        });
        let stats_board = asked.clone();
        let before = Box::new(move || stats_board.sampled(pool));
        PoolStatsView {
            pool,
            snapshot,
            before,
        }
    };
    let pools = plans
        .iter()
        .zip(&cells.pools)
        .enumerate()
        .map(|(index, (plan, cells))| {
            let context = Rc::clone(&context);
            Rc::new(AnyPool::start(plan, cells, context, figures(index), number))
        });
    let worker = Worker {
        pools: pools.collect(),
        keepalive: plans.iter().map(|plan| plan.config.tcpkeepalive).collect(),
        context,
        cells,
        published,
        sessions: Sessions::default(),
    };
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = orders.recv() => match message {
                Some(WorkerMessage::Drain(within)) => return worker.drain(within).await,
                Some(message) => worker.carry_out(message),
                None => return,
            },
            Some(session) = ends.recv() => worker.sessions.end(session),
            _ = ticks.tick() => {
                worker.published.publish(&worker.cells);
                asked.sample(Instant::now());
            }
        }
    }
}

impl Worker {
    fn carry_out(&self, message: WorkerMessage) {
        match message {
            WorkerMessage::Serve(accepted, pool, permit) => self.open(accepted, pool, permit),
            WorkerMessage::Rejected(pool) => {
                if let Some(set) = self.cells.pools.get(pool) {
                    set.cells.bump(PoolMetric::ClientRejected);
                }
            }
            WorkerMessage::Publish(done) => {
                self.published.publish(&self.cells);
                // Whoever asked may have lost patience.
                let _ = done.send(());
            }
            WorkerMessage::Drain(_) => {}
        }
    }

    fn open(&self, accepted: Accepted, pool: usize, permit: ClientPermit) {
        let keepalive = self.keepalive.get(pool).copied().unwrap_or(false);
        let stream = match Stream::adopt(accepted, keepalive) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client was lost while it was accepted");
                return;
            }
        };
        let Some(pool) = self.pools.get(pool).map(Rc::clone) else {
            return;
        };
        let cells = Rc::clone(pool.cells());
        cells.bump(PoolMetric::ClientAccepted);
        cells.bump(PoolMetric::ClientConnections);
        let replies = Rc::new(ReplyQueue::new(Rc::clone(&cells), Rc::clone(&self.context)));
        let number = self.sessions.add(&replies);
        let presence = SessionGuard {
            number,
            sessions: self.sessions.clone(),
            cells,
            _seat: permit,
        };
        spawn_local(async move {
            pool.serve(stream, replies, number).await;
            drop(presence);
        });
    }

    /// Lets the sessions finish what is in flight, and ends those that take too long.
    async fn drain(&self, within: Duration) {
        self.sessions.each(ReplyQueue::drain);
        if timeout(within, self.sessions.all_gone()).await.is_err() {
            tracing::warn!(
                clients = self.sessions.count(),
                "drain took too long; clients are cut off"
            );
            self.sessions.each(ReplyQueue::kill);
            let mut gone = pin!(self.sessions.all_gone());
            // A killed session ends when it is next polled: nothing can hold it up.
            gone.as_mut().await;
        }
        self.published.publish(&self.cells);
    }
}

/// What is counted as long as a session lives.
struct SessionGuard {
    number: usize,
    sessions: Sessions,
    cells: Rc<PoolCells>,
    _seat: ClientPermit,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.cells.drop_one(PoolMetric::ClientConnections);
        self.sessions.remove(self.number);
    }
}

impl Sessions {
    fn add(&self, replies: &Rc<ReplyQueue>) -> usize {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        self.live
            .borrow_mut()
            .insert(number, Rc::downgrade(replies));
        number
    }

    fn remove(&self, number: usize) {
        let is_empty = {
            let mut live = self.live.borrow_mut();
            live.remove(&number);
            live.is_empty()
        };
        if is_empty && let Some(waker) = self.empty.take() {
            waker.wake();
        }
    }

    fn end(&self, number: usize) {
        let replies = self.live.borrow().get(&number).and_then(Weak::upgrade);
        if let Some(replies) = replies {
            replies.kill();
        }
    }

    fn count(&self) -> usize {
        self.live.borrow().len()
    }

    fn each(&self, tell: impl Fn(&ReplyQueue)) {
        let live: Vec<_> = self
            .live
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for replies in &live {
            tell(replies);
        }
    }

    async fn all_gone(&self) {
        poll_fn(|cx| {
            if self.count() == 0 {
                return Poll::Ready(());
            }
            self.empty.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
