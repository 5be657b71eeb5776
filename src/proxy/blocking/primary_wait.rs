//! The wait of a blocked client for a primary: it has no connection, and its request is nowhere.
//!
//! ```text
//! no primary is known, or READONLY --> PrimaryWait: its lease is closed --the shared connection is open, its turn--> ask again
//!                                        |-- its own time is over, CLIENT UNBLOCK, drain ------------------> the reply to that
//!                                        +-- server_failover_timeout is over ------------------------------> an error
//! ```

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::protocol::{Protocol, ProxyReply, ProxyWait, UnblockReason, UpstreamError};
use crate::proxy::blocking::deadline::Alarm;
use crate::proxy::forward::Forwarder;
use crate::proxy::upstream::conn::Admission;
use crate::proxy::upstream::server::Server;
use crate::topology::{ServerId, ServerIndex};

/// The pause before a request that its server has refused, or that could not be sent, is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A wait for a primary.
#[derive(Debug)]
pub(super) struct PrimaryWait {
    since: Instant,
    /// When the request is tried again at the earliest.
    not_before: Instant,
    /// The server that has refused it; another one is asked at once.
    refused_by: Option<ServerId>,
    alarm: Alarm,
    /// Its end by other clients.
    orders: Arc<ProxyWait>,
    /// Why the request could not be sent when it was last tried.
    obstacle: Option<ProxyReply>,
    asked: Asked,
}

/// What is known of a request that was asked again, while its server says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It may not be sent yet.
    Unsent,
    /// It was sent at the last look.
    Sent,
    /// It was not refused for a moment after that.
    Unrefused,
}

/// The next step of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    /// The request is sent.
    Ask,
    /// Another client has ended the wait.
    Unblocked(UnblockReason),
    /// The time of the request is over.
    TimedOut,
    /// Other requests for the server fail with this error.
    Fail(UpstreamError),
    /// It has taken too long; why the request could not be sent, if its server has not refused it.
    GiveUp(Option<ProxyReply>),
}

impl PrimaryWait {
    /// Begins the wait of a session.
    pub(super) fn begin(session: &Waker) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            not_before: now,
            refused_by: None,
            alarm: Box::pin(sleep(Duration::ZERO)),
            orders: Arc::new(ProxyWait::new(session.clone())),
            obstacle: None,
            asked: Asked::Unsent,
        }
    }

    /// The place where other clients can end it.
    pub(super) fn orders(&self) -> Arc<ProxyWait> {
        Arc::clone(&self.orders)
    }

    /// Notes that this server has refused the request.
    pub(super) fn on_refusal(&mut self, by: ServerId) {
        self.not_before = Instant::now() + PAUSE;
        self.refused_by = Some(by);
        self.obstacle = None;
    }

    /// Notes why the request could not be sent.
    pub(super) fn on_obstacle(&mut self, obstacle: ProxyReply) {
        self.not_before = Instant::now() + PAUSE;
        self.refused_by = None;
        self.obstacle = Some(obstacle);
    }

    /// Advances the wait of a request whose server of now is `owner`, and was `server`. Its own time ends at `ends_at`.
    pub(super) fn poll<P: Protocol>(
        &mut self,
        fw: &Forwarder<P>,
        (owner, server): (Option<ServerIndex>, &Server<P>),
        ends_at: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Next {
        let now = Instant::now();
        if let Some(reason) = self.orders.order() {
            return Next::Unblocked(reason);
        }
        if ends_at.is_some_and(|at| at <= now) {
            return Next::TimedOut;
        }
        let over_at = server.failover.as_ref().map(|all| all.end_of(self.since));
        let Some(over_at) = over_at.filter(|at| *at > now) else {
            return Next::GiveUp(self.obstacle);
        };
        let turn_at = match owner.and_then(|owner| fw.awaited_primary(owner, now)) {
            Some((shared, Admission::Full | Admission::Open)) => {
                shared.wait_for_room(cx.waker());
                None
            }
            Some((_, Admission::Down(error))) => return Next::Fail(error),
            None => match self.turn(fw, owner, now) {
                Ok(()) => {
                    self.asked = Asked::Unsent;
                    self.alarm.as_mut().reset(now + PAUSE);
                    return Next::Ask;
                }
                Err(at) => Some(at),
            },
        };
        let wake_at = turn_at
            .into_iter()
            .chain(ends_at)
            .fold(over_at, Instant::min);
        self.alarm.as_mut().reset(wake_at);
        if self.alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Next::Wait
    }

    /// Returns true once, when the request was sent and its server has not refused it for a moment.
    pub(super) fn poll_unrefused(&mut self, is_sent: bool, cx: &mut Context<'_>) -> bool {
        while self.asked != Asked::Unrefused && self.alarm.as_mut().poll(cx).is_ready() {
            self.asked = match self.asked {
                Asked::Sent => Asked::Unrefused,
                _ if is_sent => Asked::Sent,
                _ => Asked::Unsent,
            };
            if self.asked == Asked::Unrefused {
                return true;
            }
            self.alarm.as_mut().reset(Instant::now() + PAUSE);
        }
        false
    }

    /// Takes a turn of the request. `Err` is the time of the next one.
    fn turn<P: Protocol>(
        &self,
        fw: &Forwarder<P>,
        owner: Option<ServerIndex>,
        now: Instant,
    ) -> Result<(), Instant> {
        let handle = owner.and_then(|owner| fw.view.server(owner));
        let Some(handle) = handle else {
            return Err(now + PAUSE);
        };
        let server = &handle.server;
        server.store.want_lookup(&server.shared);
        let is_other = self.refused_by.is_some_and(|by| by != server.id());
        if now < self.not_before && !is_other {
            return Err(self.not_before);
        }
        let failover = server.failover.as_ref();
        failover.map_or(Ok(()), |failover| failover.take_turn(now))
    }
}
