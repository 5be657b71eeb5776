//! Requests of a client that has begun a transaction: they are queued, until the transaction goes to its server.

use std::mem;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Fault, KeySpan, Phrase, Plan, Protocol, Route, Span, Step};
use crate::proxy::blocking::client::Watch;
use crate::proxy::dispatch::{Dispatcher, Next};
use crate::proxy::replies::responder::Ticket;
use crate::proxy::transaction::probe::{Asking, Standing};
use crate::proxy::transaction::queue::{Fate, Home, Transaction};
use crate::proxy::upstream::conn::{Admission, Upstream};
use crate::proxy::upstream::loaded_scripts::Lessons;
use crate::proxy::worker::plan_buffers::Work;
use crate::stats::PoolMetric;
use crate::topology::ServerId;

impl<P: Protocol> Dispatcher<P> {
    /// As [`Dispatcher::carry_out`], for a client that holds something.
    #[cold]
    pub(crate) fn carry_out_held(
        &mut self,
        plan: &Plan<P>,
        request: &P::Request,
        frame: Frame<'_>,
        work: &mut Work,
        now: Instant,
    ) -> Next<P> {
        if self.transaction().is_none() {
            return self.carry_out(plan, request, frame, work, now);
        }
        match *plan {
            Plan::Nothing | Plan::Answered | Plan::AnsweredClose | Plan::Transaction(_) => {
                self.carry_out(plan, request, frame, work, now)
            }
            Plan::Refused => {
                self.abort();
                self.carry_out(plan, request, frame, work, now)
            }
            Plan::Forward(Route::Placeholder, _) => self.queue(&[], frame, work),
            Plan::Forward(Route::Key(key), _) => {
                let key = KeySpan { key, unit: key };
                self.queue(&[key], frame, work)
            }
            Plan::Together(_) | Plan::Retold(_) | Plan::Split(..) | Plan::Block(_) => {
                if matches!(plan, Plan::Retold(_))
                    && let Some(transaction) = self.transaction()
                {
                    transaction.refer_to(P::lacked(frame.bytes()));
                }
                let keys = mem::take(&mut work.keys);
                let next = self.queue(&keys, frame, work);
                work.keys = keys;
                next
            }
            Plan::Subscriptions(..) => {
                self.forget_transaction();
                self.carry_out(plan, request, frame, work, now)
            }
            Plan::Forward(Route::Written, _)
            | Plan::Everyone(..)
            | Plan::Rewritten(..)
            | Plan::Reread(..)
            | Plan::Attest(..) => self.refuse(Phrase::Elsewhere, work),
        }
    }

    /// A transaction begins or ends.
    pub(crate) fn step(
        &mut self,
        step: &Step<P>,
        frame: Frame<'_>,
        work: &mut Work,
        now: Instant,
    ) -> Next<P> {
        match *step {
            Step::Begin => {
                P::queue_requests(&mut self.client, true);
                let mut transaction = Transaction::begin::<P>();
                // What is watched decides where the transaction goes, and fails with it.
                if let Some(watch) = self.watching() {
                    transaction.settle(watch.home.clone());
                }
                self.held.get_or_insert_default().transaction = Some(transaction);
                self.answer(&work.reply, PoolMetric::RequestsLocal)
            }
            Step::Watch(expect) => self.watch(frame, expect, work, now),
            Step::Commit(expect) => self.commit(expect, work, now),
            Step::End => {
                self.forget_transaction();
                self.unwatch();
                self.answer(&work.reply, PoolMetric::RequestsLocal)
            }
        }
    }

    /// Queues a request, if its keys live where those before it live.
    fn queue(&mut self, keys: &[KeySpan], frame: Frame<'_>, work: &mut Work) -> Next<P> {
        if let Err([first, second]) = self.find_home(keys, &frame) {
            P::write_apart(&self.pool.settings, [&first, &second], &mut work.reply);
            self.abort();
            return self.answer(&work.reply, PoolMetric::RequestsRefused);
        }
        let flow = self.pool.flow;
        let has_room = self
            .transaction()
            .is_none_or(|transaction| transaction.push(frame, &flow));
        if !has_room {
            let (bytes, requests) = (flow.transaction_bytes, flow.transaction_requests);
            return self.refuse(Phrase::TooLarge(bytes, requests), work);
        }
        P::write_phrase(Phrase::Queued, &mut work.reply);
        self.answer(&work.reply, PoolMetric::RequestsLocal)
    }

    /// Whether all keys live where the transaction does; otherwise two that do not live together.
    fn find_home(&mut self, keys: &[KeySpan], frame: &Frame<'_>) -> Result<(), [Box<[u8]>; 2]> {
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let copy = |span: Span| Box::<[u8]>::from(span.of(frame.bytes()));
        let owner = self
            .common_owner(keys, frame)
            .map_err(|apart| apart.map(copy))?;
        let (epoch, is_random) = (self.pool.epoch(), self.pool.is_random());
        let (Some(owner), Some(transaction)) = (owner, self.transaction()) else {
            return Ok(());
        };
        match transaction.home() {
            None => {
                transaction.settle(Home {
                    server: owner,
                    key: copy(first.key),
                    epoch,
                });
                Ok(())
            }
            // Where the servers have changed meanwhile, the transaction fails as a whole.
            Some(home) if home.server == owner || home.epoch != epoch || is_random => Ok(()),
            Some(home) => Err([home.key.clone(), copy(first.key)]),
        }
    }

    /// Answers a request that cannot be queued.
    fn refuse(&mut self, phrase: Phrase, work: &mut Work) -> Next<P> {
        self.abort();
        // A request that would have gone out in other words lies there.
        work.reply.clear();
        P::write_phrase(phrase, &mut work.reply);
        self.answer(&work.reply, PoolMetric::RequestsRefused)
    }

    /// Carries out what was queued, or says why not.
    fn commit(&mut self, expect: P::Expect, work: &mut Work, now: Instant) -> Next<P> {
        let epoch = self.pool.epoch();
        let placeholder = self.pool.route(P::PLACEHOLDER);
        let objection = self.watching().map(|watch| watch.objection(self.lane));
        let Some(transaction) = self.transaction() else {
            return Next::Continue;
        };
        let home = transaction.home();
        let (phrase, metric) = if transaction.is_aborted() {
            (Phrase::Aborted, PoolMetric::RequestsRefused)
        } else if home.is_some_and(|home| home.epoch != epoch) {
            (Phrase::Moved, PoolMetric::ForwardError)
        } else if let Some(Some(objection)) = objection {
            (objection, PoolMetric::ForwardError)
        } else if transaction.is_empty() && objection.is_none() {
            (Phrase::Empty, PoolMetric::RequestsLocal)
        } else {
            let owner = home.map(|home| home.server).or(placeholder);
            return self.send_block(owner, expect, work, now);
        };
        P::write_phrase(phrase, &mut work.reply);
        self.forget_transaction();
        self.unwatch();
        self.answer(&work.reply, metric)
    }

    /// Sends the whole transaction on its way.
    fn send_block(
        &mut self,
        owner: Option<ServerId>,
        expect: P::Expect,
        work: &mut Work,
        now: Instant,
    ) -> Next<P> {
        if let Some(fault) = self
            .transaction()
            .and_then(|transaction| transaction.lost())
        {
            self.forget_transaction();
            self.unwatch();
            return self.fail(fault, expect);
        }
        let upstream = owner.and_then(|owner| self.upstream(owner)).cloned();
        let admission = upstream.as_ref().map(|upstream| upstream.admit(now));
        match (upstream, admission) {
            (Some(upstream), Some(Admission::Full)) => return Next::Stalled(upstream),
            (Some(upstream), Some(Admission::Open)) => {
                let is_watched = upstream.exclusive.is_some();
                let standing = if is_watched {
                    upstream.trial.standing()
                } else {
                    upstream.trial.standing_at(now)
                };
                match standing {
                    Standing::Taken => {}
                    Standing::Refused(words, _) | Standing::Stuck(words, _) => {
                        return self.discard(&words, work);
                    }
                    // To ask now would forget what is watched.
                    Standing::Unknown if is_watched => return self.discard(&[], work),
                    Standing::Unknown => {
                        let fate = Asking::send(&upstream, now);
                        return self.stall(fate, upstream);
                    }
                    Standing::Asked(fate) => return self.stall(fate, upstream),
                }
                if let Some(transaction) = self.forget_transaction() {
                    let seq = self.reserve();
                    let (pipeline, cause) = (Rc::clone(&self.pipeline), Rc::default());
                    let lessons = self.teach(&upstream, &transaction, expect, now);
                    let whom = (pipeline, seq);
                    let verdict = Ticket::verdict(whom, Rc::clone(&cause), lessons, expect);
                    upstream.forward_block(transaction.close::<P>(), &cause, verdict, now);
                    if let Some(watch) = self.take_watch() {
                        watch.release();
                    }
                }
                return Next::Continue;
            }
            _ => {}
        }
        self.forget_transaction();
        self.unwatch();
        self.fail(
            match admission {
                Some(Admission::Down(fault)) => fault,
                _ => Fault::Ejected,
            },
            expect,
        )
    }

    /// Waits for the end of a trial.
    fn stall(&mut self, fate: Rc<Fate>, upstream: Rc<Upstream<P>>) -> Next<P> {
        if let Some(transaction) = self.transaction() {
            transaction.wait_for(fate);
        }
        Next::Stalled(upstream)
    }

    /// Gives the server what a transaction refers to, if it may lack it. Returns where that is noted.
    fn teach(
        &self,
        upstream: &Upstream<P>,
        transaction: &Transaction,
        expect: P::Expect,
        now: Instant,
    ) -> Option<Rc<Lessons>> {
        let names = transaction.refers_to();
        upstream.lessons.keep_up(P::oblivion(&self.pool.settings));
        for name in names.iter().filter(|name| !upstream.lessons.has(name)) {
            let mut lesson = BytesMut::new();
            if P::write_lesson(&self.pool.settings, name, &mut lesson) {
                let frame = Frame::Shared(lesson.freeze());
                upstream.forward(frame, Span::default(), Ticket::nobody(expect), now);
                upstream.lessons.note(name);
            }
        }
        (!names.is_empty()).then(|| Rc::clone(&upstream.lessons))
    }

    /// Fails what was queued, in the words of a server that does not take it.
    fn discard(&mut self, words: &[u8], work: &mut Work) -> Next<P> {
        let mut aborted = BytesMut::new();
        P::write_phrase(Phrase::Aborted, &mut aborted);
        if !P::explain(words, &aborted, &mut work.reply) {
            work.reply.extend_from_slice(&aborted);
        }
        self.forget_transaction();
        self.unwatch();
        self.answer(&work.reply, PoolMetric::ForwardError)
    }

    fn transaction(&mut self) -> Option<&mut Transaction> {
        self.held.as_mut()?.transaction.as_mut()
    }

    fn abort(&mut self) {
        if let Some(transaction) = self.transaction() {
            transaction.abort();
        }
    }

    fn forget_transaction(&mut self) -> Option<Transaction> {
        P::queue_requests(&mut self.client, false);
        let transaction = self.held.as_mut()?.transaction.take();
        self.let_go();
        transaction
    }

    /// Forgets what is watched.
    pub(crate) fn unwatch(&mut self) {
        let expect = P::GREETING;
        if let Some(watch) = self.take_watch() {
            watch.end(expect);
        }
    }

    /// Takes the watch away. Its connection may have requests in flight, which nothing that follows may overtake.
    fn take_watch(&mut self) -> Option<Watch<P>> {
        let held = self.held.as_mut()?;
        let watch = held.watch.take()?;
        held.is_fenced = true;
        Some(watch)
    }
}
