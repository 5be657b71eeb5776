//! One thread over epoll that keeps all connections busy, in a closed or an open loop.
//!
//! Closed: a connection sends a pipeline of requests, waits for all replies, and sends the next, as redis-benchmark
//! does. Open: each request has a scheduled time, independent of earlier ones, and its latency is measured from that
//! time. A slow reply thus delays no measurement of the next: there is no coordinated omission.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::client::Client;
use crate::latency::Latencies;
use crate::reply::{Garbled, Scanner, Tally};
use crate::request::{Keys, Protocol, Template};

/// Silence of all connections for this long ends the run.
const PATIENCE: Duration = Duration::from_secs(10);
/// One buffer for all connections.
const SCRATCH_BYTES: usize = 64 * 1024;
const EVENTS: usize = 256;
/// The epoll token of the open loop's clock. Clients have the numbers from zero.
const CLOCK: u64 = u64::MAX;

/// An error that ends a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("connection failed: {0}")]
    Connection(io::Error),
    #[error("connection closed by the peer")]
    Closed,
    #[error("unexpected reply")]
    Unasked,
    #[error("no reply for {} s", PATIENCE.as_secs())]
    Silence,
    #[error(transparent)]
    Garbled(#[from] Garbled),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The schedule and number of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as the last ones of the connection are answered.
    Closed {
        requests: u64,
        until: Option<Instant>,
    },
    /// One in each interval, over the connections in turn.
    Open { requests: u64, interval: Duration },
}

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// From the first request to the last reply.
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Latencies,
    /// Open loop: the delay between the scheduled time of a request and its hand-over to the connection.
    pub(crate) delays: Latencies,
}

/// A run in progress.
#[derive(Debug)]
pub(crate) struct Engine {
    clients: Vec<Client>,
    epoll: OwnedFd,
    template: Template,
    keys: Keys,
    /// Requests that a connection may have in flight.
    pipeline: usize,
    pace: Pace,
    started: Instant,
    asked: u64,
    /// Open loop: requests sent by each client, in the order of `clients`.
    asked_by: Vec<u64>,
    outcome: Outcome,
}

impl Engine {
    pub(crate) fn connect(
        address: SocketAddr,
        protocol: Protocol,
        keys_per_request: u64,
        clients: usize,
        pipeline: usize,
        (template, keys): (Template, Keys),
    ) -> Result<Self, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut connected = Vec::with_capacity(clients);
        for number in 0..clients {
            let client = Client::connect(address, Scanner::new(protocol, keys_per_request))?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, client.stream(), data, epoll::EventFlags::IN)
                .map_err(io::Error::from)?;
            connected.push(client);
        }
        Ok(Self {
            asked_by: vec![0; clients],
            clients: connected,
            epoll,
            template,
            keys,
            pipeline,
            pace: Pace::Closed {
                requests: 0,
                until: None,
            },
            started: Instant::now(),
            asked: 0,
            outcome: Outcome::default(),
        })
    }

    /// Runs until all requests are answered.
    pub(crate) fn run(mut self, pace: impl FnOnce(Instant) -> Pace) -> Result<Outcome, Failure> {
        self.started = Instant::now();
        self.pace = pace(self.started);
        let mut clock = None;
        match self.pace {
            Pace::Closed { .. } => {
                for number in 0..self.clients.len() {
                    self.ask_closed(number)?;
                }
            }
            Pace::Open { interval, .. } => clock = Some(self.start_clock(interval)?),
        }
        let mut scratch = vec![0; SCRATCH_BYTES];
        let mut events = Vec::with_capacity(EVENTS);
        let patience = timespec(PATIENCE);
        let mut last_progress = (0, self.started);
        let mut due = 0;
        while !self.is_over() {
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&patience),
            ) {
                Ok(0) => return Err(Failure::Silence),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Failure::System(error.into())),
            }
            for event in &events {
                let (data, flags) = (event.data, event.flags);
                match (data.u64(), &mut clock) {
                    (CLOCK, Some(clock)) => {
                        clock.read_exact(&mut [0; 8])?;
                    }
                    (number, _) => self.serve(number, flags, &mut scratch)?,
                }
            }
            if clock.is_some() {
                self.ask_what_is_due(&mut due)?;
                self.check_progress(&mut last_progress)?;
            }
        }
        self.outcome.elapsed = self.started.elapsed();
        Ok(self.outcome)
    }

    /// Open loop: the clock wakes epoll regularly, so silence of the connections is detected here. `last_progress` is
    /// the count of replies when it last changed, or nothing was in flight, and the time of that.
    fn check_progress(&self, last_progress: &mut (u64, Instant)) -> Result<(), Failure> {
        let replies = self.outcome.tally.replies;
        let now = Instant::now();
        if replies != last_progress.0 || replies == self.asked {
            *last_progress = (replies, now);
        }
        if now.saturating_duration_since(last_progress.1) > PATIENCE {
            return Err(Failure::Silence);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let all_asked = match self.pace {
            Pace::Closed { requests, until } => {
                self.asked >= requests || until.is_some_and(|until| Instant::now() >= until)
            }
            Pace::Open { requests, .. } => self.asked >= requests,
        };
        all_asked && self.outcome.tally.replies >= self.asked
    }

    fn start_clock(&self, interval: Duration) -> Result<File, Failure> {
        let every = timespec(interval);
        let started = || {
            let clock = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
            let time = Itimerspec {
                it_interval: every,
                it_value: every,
            };
            timerfd_settime(&clock, TimerfdTimerFlags::empty(), &time)?;
            epoll::add(
                &self.epoll,
                &clock,
                epoll::EventData::new_u64(CLOCK),
                epoll::EventFlags::IN,
            )?;
            Ok(File::from(clock))
        };
        started().map_err(|error: rustix::io::Errno| Failure::System(error.into()))
    }

    fn serve(
        &mut self,
        number: u64,
        flags: epoll::EventFlags,
        scratch: &mut [u8],
    ) -> Result<(), Failure> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(client) = self.clients.get_mut(index) else {
            return Ok(());
        };
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(index, true)?;
        } else {
            client.read(
                scratch,
                &mut self.outcome.tally,
                &mut self.outcome.latencies,
            )?;
            match self.pace {
                Pace::Closed { .. } => self.ask_closed(index)?,
                Pace::Open { .. } => self.ask_open(index)?,
            }
        }
        Ok(())
    }

    /// The next pipeline of a connection, if it has none in flight.
    fn ask_closed(&mut self, index: usize) -> Result<(), Failure> {
        let Pace::Closed { requests, until } = self.pace else {
            return Ok(());
        };
        let Some(client) = self
            .clients
            .get_mut(index)
            .filter(|client| client.in_flight() == 0)
        else {
            return Ok(());
        };
        let now = Instant::now();
        if until.is_some_and(|until| now >= until) {
            return Ok(());
        }
        let left = requests
            .saturating_sub(self.asked)
            .min(self.pipeline as u64);
        for _ in 0..left {
            client.ask(&self.template, &mut self.keys, now);
        }
        self.asked += left;
        self.flush(index, false)
    }

    /// Open loop: serves the connections whose requests have become due since the last call.
    fn ask_what_is_due(&mut self, due: &mut u64) -> Result<(), Failure> {
        let Pace::Open { requests, .. } = self.pace else {
            return Ok(());
        };
        let now = Instant::now();
        while *due < requests && self.moment(*due) <= now {
            let index = *due % self.clients.len() as u64;
            self.ask_open(usize::try_from(index).unwrap_or_default())?;
            *due += 1;
        }
        Ok(())
    }

    /// Open loop: sends what is due on this connection, as far as its pipeline has room. The rest waits for replies,
    /// and its latency grows.
    fn ask_open(&mut self, index: usize) -> Result<(), Failure> {
        let Pace::Open { requests, .. } = self.pace else {
            return Ok(());
        };
        let now = Instant::now();
        let mut more = false;
        loop {
            let asked_before = self.asked_by.get(index).copied().unwrap_or_default();
            let number = asked_before * self.clients.len() as u64 + index as u64;
            let moment = self.moment(number);
            if number >= requests || moment > now {
                break;
            }
            let Some(client) = self.clients.get_mut(index) else {
                break;
            };
            if client.in_flight() >= self.pipeline {
                break;
            }
            client.ask(&self.template, &mut self.keys, moment);
            self.outcome
                .delays
                .record(now.saturating_duration_since(moment));
            self.asked += 1;
            if let Some(asked) = self.asked_by.get_mut(index) {
                *asked += 1;
            }
            more = true;
        }
        if more {
            self.flush(index, false)
        } else {
            Ok(())
        }
    }

    /// The scheduled start of a request of the open loop.
    fn moment(&self, number: u64) -> Instant {
        let interval = match self.pace {
            Pace::Open { interval, .. } => interval,
            Pace::Closed { .. } => Duration::ZERO,
        };
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.started + Duration::from_nanos(nanos.saturating_mul(number + 1))
    }

    /// Writes, and registers with epoll for the rest.
    fn flush(&mut self, index: usize, waited: bool) -> Result<(), Failure> {
        let Some(client) = self.clients.get_mut(index) else {
            return Ok(());
        };
        let done = client.flush()?;
        if done == waited {
            let interest = if done {
                epoll::EventFlags::IN
            } else {
                epoll::EventFlags::IN | epoll::EventFlags::OUT
            };
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, client.stream(), data, interest).map_err(io::Error::from)?;
        }
        Ok(())
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}
