//! Drives a feed: connects when something is wanted, greets, subscribes, hands messages on, and begins anew when the
//! connection is lost.
//!
//! ```text
//! idle --wanted--> connecting --> greeting --> open --nothing is wanted--> idle
//!  ^                   |             |          |
//!  +--- back off <-----+-------------+----------+  a failure: who waits is told; what is held is subscribed to again
//! ```

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::buf::{Filled, Frame, ReadBuf, SHARE_BYTES};
use crate::net::Stream;
use crate::protocol::{Fault, Lane, News, Protocol, Scan};
use crate::proxy::pubsub::conn::{Asked, Feed, What};
use crate::proxy::pubsub::fanout::{Delivery, Portion};
use crate::proxy::pubsub::registry::Hub;
use crate::proxy::pubsub::subscriber::Subject;
use crate::proxy::upstream::disconnect::Loss;
use crate::proxy::upstream::handshake::{Asks, greet};
use crate::proxy::worker::yield_now::rest;
use crate::stats::ServerMetric;
use crate::topology::Backoff;

/// Reads in a row from one server before the others have their turn.
const READS_IN_A_ROW: usize = 16;

/// How long a server may say nothing before it is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(10);

/// How long a server may leave what it was asked unanswered.
const SILENCE: Duration = Duration::from_secs(30);

/// Runs until its worker ends.
pub(crate) async fn drive<P: Protocol>(feed: Rc<Feed<P>>, hub: Rc<Hub<P>>) {
    let target = Rc::clone(&feed.target);
    let mut backoff = Backoff::default();
    let mut failing = false;
    loop {
        if let Some(at) = backoff.retry_at() {
            sleep_until(Instant::from_std(at)).await;
        }
        poll_fn(|cx| feed.poll_wanted(cx)).await;
        let begun = Instant::now();
        let loss = match open(&feed).await {
            Ok(stream) => {
                target.cells.bump(ServerMetric::ServerConnections);
                let mut connection = Connection::new(&feed, &hub, stream);
                connection.begin();
                let loss = poll_fn(|cx| connection.poll(cx)).await;
                target.cells.drop_one(ServerMetric::ServerConnections);
                if connection.answered {
                    backoff.on_success();
                    if mem::take(&mut failing) {
                        target.recovered();
                    }
                }
                loss
            }
            Err(loss) => {
                target.cells.bump(ServerMetric::ConnectErrors);
                Some(loss)
            }
        };
        let Some(loss) = loss else {
            feed.closed(None);
            continue;
        };
        let now = Instant::now();
        let first = !mem::replace(&mut failing, true);
        target.failed(&loss, Lane::FIRST, begun, now, first);
        backoff.on_failure(now.into_std(), fastrand::f64());
        let down = backoff
            .retry_at()
            .map(|at| (Instant::from_std(at), loss.clone()));
        for ask in feed.closed(down) {
            match (ask.errand, ask.what) {
                (Some(errand), What::Subscribe(_)) => hub.failed(&errand, &loss),
                (Some(errand), _) => hub.arrived(&errand),
                (None, _) => {}
            }
        }
        hub.refresh(now);
        let subscriptions = feed.want_again(now);
        if subscriptions > 0 && first {
            target.lost_subscriptions(subscriptions);
        }
    }
}

/// Connects and greets.
async fn open<P: Protocol>(feed: &Feed<P>) -> Result<Stream, Loss> {
    let target = &feed.target;
    target.cells.bump(ServerMetric::Connects);
    let opening = async {
        let mut stream = Stream::connect(&target.address, target.keepalive)
            .await
            .map_err(|error| Loss::Fault(Fault::from(&error)))?;
        greet::<P>(&mut stream, &target.settings, Lane::FIRST, Asks::default()).await?;
        Ok(stream)
    };
    timeout_at(Instant::now() + patience(feed), opening)
        .await
        .unwrap_or(Err(Loss::Fault(Fault::TimedOut)))
}

/// How long a client waits for a server.
fn patience<P: Protocol>(feed: &Feed<P>) -> Duration {
    feed.target.timeout.unwrap_or(SILENCE)
}

/// An open connection.
struct Connection<'f, P: Protocol> {
    feed: &'f Feed<P>,
    hub: &'f Rc<Hub<P>>,
    stream: Stream,
    input: ReadBuf,
    /// Bytes that the frame under way is known to have.
    want: usize,
    /// A message that not all have got, and its bytes.
    delivery: Option<(Delivery, Bytes)>,
    /// The input is to be looked at before more is read.
    held_up: bool,
    heard: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether the server has done something that it was asked.
    answered: bool,
}

impl<'f, P: Protocol> Connection<'f, P> {
    fn new(feed: &'f Feed<P>, hub: &'f Rc<Hub<P>>, stream: Stream) -> Self {
        Self {
            feed,
            hub,
            stream,
            input: ReadBuf::default(),
            want: 0,
            delivery: None,
            held_up: false,
            heard: Instant::now(),
            alarm: None,
            answered: false,
        }
    }

    fn begin(&self) {
        for errand in self.feed.opened(self.heard) {
            self.hub.failed(&errand, &Loss::Fault(Fault::Ejected));
        }
    }

    /// Goes on as far as the socket lets it. Ready when the connection has ended: `None` where nobody was harmed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Loss>> {
        self.feed.begin_turn(cx);
        let now = Instant::now();
        if let Poll::Ready(fault) = self.poll_read(cx, now) {
            let harmless = fault == Fault::Closed && self.feed.is_idle();
            return Poll::Ready((!harmless).then_some(Loss::Fault(fault)));
        }
        loop {
            match self.feed.poll_write(&mut self.stream, cx) {
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Loss::Fault(Fault::from(&error))));
                }
            }
        }
        if self.feed.is_idle() {
            return Poll::Ready(None);
        }
        self.poll_clock(cx, now)
            .map(|()| Some(Loss::Fault(Fault::TimedOut)))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Fault> {
        let mut portion = Portion::new();
        let scratch = &self.hub.commons.scratch;
        for _ in 0..READS_IN_A_ROW {
            if !self.go_on(&mut portion, now) {
                rest(cx);
                return Poll::Pending;
            }
            let (read, mut filled) = if mem::take(&mut self.held_up) {
                (1, self.input.take())
            } else {
                let filled = self
                    .input
                    .poll_fill(&mut self.stream, cx, scratch, self.want);
                match filled {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(filled)) => filled,
                    Poll::Ready(Err(error)) => return Poll::Ready(Fault::from(&error)),
                }
            };
            if read == 0 {
                self.input.put_back(filled, scratch);
                return Poll::Ready(Fault::Closed);
            }
            self.heard = now;
            let outcome = self.on_bytes(&mut filled, &mut portion, now);
            self.input.put_back(filled, scratch);
            if let Err(fault) = outcome {
                return Poll::Ready(fault);
            }
        }
        rest(cx);
        Poll::Pending
    }

    /// Goes on with the message under way. Returns whether the next one may follow.
    fn go_on(&mut self, portion: &mut Portion, now: Instant) -> bool {
        let Some((delivery, bytes)) = &mut self.delivery else {
            return !portion.is_used_up();
        };
        let frame = Frame::Shared(bytes.clone());
        let all = self.hub.deliver(delivery, &frame, portion, now);
        if all {
            self.delivery = None;
        }
        all
    }

    /// Takes every whole frame at the start of a batch, as far as the portion lets it.
    fn on_bytes(
        &mut self,
        filled: &mut Filled,
        portion: &mut Portion,
        now: Instant,
    ) -> Result<(), Fault> {
        self.want = 0;
        while !filled.bytes.is_empty() {
            if portion.is_used_up() || self.delivery.is_some() {
                self.held_up = true;
                break;
            }
            let (found, len) = match P::scan_news(&filled.bytes) {
                Ok(Scan::Complete { found, len }) => (found, len),
                Ok(Scan::Partial { want }) => {
                    self.want = want;
                    break;
                }
                Err(_) => return Err(Fault::BadReply),
            };
            match found {
                News::Message(topic, name) => {
                    self.feed.target.cells.bump(ServerMetric::Messages);
                    self.on_message(Delivery::new(topic, name), filled, len, portion, now);
                }
                News::Done => {
                    self.on_done()?;
                    filled.bytes.advance(len);
                }
                News::Refused => {
                    let reply = filled.bytes.get(..len).unwrap_or_default();
                    let reply = Bytes::copy_from_slice(reply);
                    filled.bytes.advance(len);
                    self.on_refused(reply)?;
                }
            }
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        mut delivery: Delivery,
        filled: &mut Filled,
        len: usize,
        portion: &mut Portion,
        now: Instant,
    ) {
        let frame = filled.bytes.get(..len).unwrap_or_default();
        let name = delivery.name.of(frame);
        let shared = if filled.owned && len >= SHARE_BYTES {
            filled.bytes.split_to(len).freeze()
        } else if self.hub.is_worth_sharing(delivery.topic, name, len) {
            let shared = Bytes::copy_from_slice(frame);
            filled.bytes.advance(len);
            shared
        } else {
            let borrowed = Frame::Borrowed(frame);
            if !self.hub.deliver(&mut delivery, &borrowed, portion, now) {
                let copy = Bytes::copy_from_slice(frame);
                self.delivery = Some((delivery, self.hub.commons.ledger.common(copy)));
            }
            return filled.bytes.advance(len);
        };
        let shared = self.hub.commons.ledger.common(shared);
        let frame = Frame::Shared(shared.clone());
        if !self.hub.deliver(&mut delivery, &frame, portion, now) {
            self.delivery = Some((delivery, shared));
        }
    }

    fn on_done(&mut self) -> Result<(), Fault> {
        let ask = self.feed.take_front().ok_or(Fault::BadReply)?;
        if !mem::replace(&mut self.answered, true) {
            self.feed.target.replied();
        }
        match (ask.errand, &ask.what) {
            (Some(errand), What::Subscribe(subject)) => self.hub.confirmed(subject, &errand),
            (Some(errand), _) => self.hub.arrived(&errand),
            (None, _) => {}
        }
        Ok(())
    }

    fn on_refused(&mut self, reply: Bytes) -> Result<(), Fault> {
        if !self.answered && P::turns_away(&reply) {
            return Err(Fault::TurnedAway);
        }
        let ask = self.feed.take_front().ok_or(Fault::BadReply)?;
        match (ask.errand, ask.what) {
            (Some(errand), What::Subscribe(_)) => self.hub.failed(&errand, &Loss::Reply(reply)),
            (Some(errand), _) => self.hub.arrived(&errand),
            (None, What::Subscribe(subject)) => self.refuse(&subject, &reply),
            (None, _) => {}
        }
        Ok(())
    }

    fn refuse(&self, subject: &Subject, reply: &Bytes) {
        self.feed.target.refused_subscription(&subject.name, reply);
        self.hub.refused(subject);
    }

    /// Asks a quiet server whether it is there, tells those who have waited too long, and is ready when a server is silent.
    fn poll_clock(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let patience = patience(self.feed);
        if let Some(before) = now.checked_sub(patience) {
            for errand in self.feed.take_impatient(before) {
                self.hub.failed(&errand, &Loss::Fault(Fault::TimedOut));
            }
        }
        let silent = match self.feed.front_since() {
            Some(since) => since.max(self.heard) + SILENCE,
            None if self.heard + QUIET <= now => {
                let asked = self.feed.ask(What::Heartbeat, None, now);
                debug_assert!(matches!(asked, Asked::Waits), "it is open");
                now + SILENCE
            }
            None => self.heard + QUIET,
        };
        if self.feed.front_since().is_some() && silent <= now {
            return Poll::Ready(());
        }
        let impatient = self.feed.errand_since().map(|since| since + patience);
        let due = impatient.map_or(silent, |impatient| impatient.min(silent));
        // An alarm that rings early is set anew then: never once per message.
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() <= now || alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
