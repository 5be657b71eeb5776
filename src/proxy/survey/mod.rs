//! The execution of a command about all keys, while keys are being moved ([`crate::protocol::Survey`]).
//!
//! ```text
//! request --> ask --> servers --replies--> take --Done--> client
//!              ^--- Again, or Wait: the next topology --+
//! ```
//!
//! Invariant: a try is asked and taken with one topology, which was current when it was sent.

mod collector;

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, Sleep, sleep};

use crate::buf::{Frame, WriteBuf};
use crate::protocol::Surveys as _;
use crate::protocol::{Protocol, Span, Survey, SurveyStep, UpstreamError};
use crate::proxy::forward::{Dispatched, Forwarder};
use crate::proxy::replies::status::Seq;
use crate::proxy::survey::collector::Collector;
use crate::proxy::upstream::conn::Admission;
use crate::proxy::upstream::guard::HELD_WITHIN;
use crate::stats::{CommandId, Latency};
use crate::topology::Topology;

/// The time after which another try is made, also without another topology: a request may have been refused by a connection
/// that was being opened.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A survey of one client.
#[derive(Debug)]
pub(crate) struct SurveyRun<P: Protocol> {
    survey: Box<dyn Survey>,
    seq: Seq,
    command: CommandId,
    since: Instant,
    expect: P::Expect,
    state: State,
    /// The first time that it had to wait.
    waits_since: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// The next try is due.
    Due,
    /// A try is in flight.
    Asked(Rc<Collector>, Arc<Topology>),
    /// The next try is due with another topology than that of this epoch, or then.
    Waiting(u64, Pin<Box<Sleep>>),
}

impl<P: Protocol> SurveyRun<P> {
    /// Takes a request. `Err` if it is answered at once.
    pub(crate) fn start(
        command: CommandId,
        frame: &Frame<'_>,
        fw: &Forwarder<P>,
        expect: P::Expect,
    ) -> Result<Self, Dispatched<P>> {
        let survey = P::Stateful::survey(command, frame.bytes(), &fw.client, &fw.view.settings);
        let survey = survey.ok_or_else(|| fw.fail(UpstreamError::Dropped, expect))?;
        fw.replies.wake();
        Ok(Self {
            survey,
            seq: fw.reserve(),
            command,
            since: Instant::now(),
            expect,
            state: State::Due,
            waits_since: None,
        })
    }

    /// Advances the survey. Returns true if it is over.
    pub(crate) fn poll(&mut self, fw: &Forwarder<P>, cx: &mut Context<'_>) -> bool {
        loop {
            match &mut self.state {
                State::Due => match self.ask(fw, cx) {
                    Some(asked) => self.state = asked,
                    None => return false,
                },
                State::Asked(collector, topology) => {
                    let Some(replies) = collector.take() else {
                        return false;
                    };
                    let mut out = WriteBuf::new();
                    match self.survey.take(topology, replies, &mut out) {
                        SurveyStep::Done => {
                            let latency = Latency::of(self.since.elapsed());
                            fw.replies.answered(self.command, latency);
                            fw.replies.note_error::<P>(self.command, out.first_chunk());
                            fw.replies.complete_merged(self.seq, out);
                            return true;
                        }
                        SurveyStep::Again => self.state = State::Due,
                        SurveyStep::Wait => {
                            let epoch = topology.epoch;
                            self.waits_since.get_or_insert_with(Instant::now);
                            self.state = State::Waiting(epoch, Box::pin(sleep(RETRY_AFTER)));
                        }
                    }
                }
                State::Waiting(epoch, alarm) => {
                    let has_changed = fw.view.epoch() != *epoch;
                    if self
                        .waits_since
                        .is_some_and(|since| since.elapsed() >= HELD_WITHIN)
                    {
                        let replies = &fw.replies;
                        let place = (self.seq, self.command);
                        replies.fail::<P>(place, UpstreamError::Moving, self.expect, false);
                        return true;
                    }
                    if !has_changed && alarm.as_mut().poll(cx).is_pending() {
                        fw.pool.backends.wait_for_change(cx.waker());
                        return false;
                    }
                    self.state = State::Due;
                }
            }
        }
    }

    /// Sends the next try; `None` if there is no room for it yet.
    fn ask(&mut self, fw: &Forwarder<P>, cx: &Context<'_>) -> Option<State> {
        let topology = &fw.view.topology;
        let mut request = BytesMut::new();
        let servers = self.survey.ask(topology, &mut request);
        let now = Instant::now();
        let mut upstreams = Vec::with_capacity(servers.len());
        for server in servers {
            let upstream = fw.upstream(server);
            let admission = upstream.map(|upstream| upstream.admit(now));
            if let (Some(upstream), Some(Admission::Full)) = (upstream, admission) {
                upstream.wait_for_room(cx.waker());
                return None;
            }
            upstreams.push((upstream, admission));
        }
        let collector = Collector::new(&fw.replies, upstreams.len());
        for ((upstream, admission), index) in upstreams.into_iter().zip(0..) {
            let responder = collector.responder::<P>(index, self.expect);
            match (upstream, admission) {
                (Some(upstream), Some(Admission::Open)) => {
                    upstream.forward(Frame::Borrowed(&request), Span::default(), responder, now);
                }
                (_, Some(Admission::Down(error))) => responder.fail(error),
                _ => responder.fail(UpstreamError::Ejected),
            }
        }
        Some(State::Asked(collector, Arc::clone(topology)))
    }
}
