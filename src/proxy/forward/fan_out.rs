//! Requests that go to servers which no key of theirs chooses, and those that may be said in other words.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{KeySpan, Protocol, Span, UpstreamError};
use crate::proxy::blocking::unblock_retry::UnblockRetry;
use crate::proxy::dispatch::{Dispatched, Dispatcher, Outgoing};
use crate::proxy::forward::eval_fallback::EvalFallback;
use crate::proxy::pool::dedicated::LeaseError;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::Admission;
use crate::topology::ServerId;

impl<P: Protocol> Dispatcher<P> {
    /// Sends a request to all servers. One that is ejected does not get it, and its fragment fails.
    pub(crate) fn all_servers(
        &self,
        split: P::MergeSpec,
        original: &[u8],
        outgoing: Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let servers: Vec<_> = ServerId::all().take(self.pool.server_count()).collect();
        if P::bypasses_queue(split) {
            return self.forward_bypassing(&servers, split, original, &outgoing, now);
        }
        if let [server] = servers[..]
            && !P::always_merges(split)
        {
            let owner = self.pool.is_live(server).then_some(server);
            return self.forward(owner, outgoing, now);
        }
        self.merge_from(&servers, split, original, &outgoing, now)
    }

    /// Sends a request to some servers, and has their replies joined. `original` is what the client sent.
    pub(crate) fn merge_from(
        &self,
        servers: &[ServerId],
        split: P::MergeSpec,
        original: &[u8],
        outgoing: &Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let parts = servers
            .iter()
            .map(|&server| (server, outgoing.frame.clone()))
            .collect();
        self.merge_parts(parts, split, original, outgoing, None, now)
    }

    /// As [`Self::gather_from`], each server with the part of the request that the list has for it.
    pub(crate) fn merge_per_server(
        &self,
        list: &[KeySpan],
        split: P::MergeSpec,
        original: &[u8],
        outgoing: &Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let parts = ServerId::all().zip(list);
        let parts = parts.filter(|(_, part)| !part.unit.is_empty());
        let part = |unit: Span| outgoing.frame.part(unit.start, unit.end);
        let parts = parts
            .map(|(server, key)| (server, part(key.unit)))
            .collect();
        let again = Bytes::copy_from_slice(original);
        self.merge_parts(parts, split, original, outgoing, Some(&again), now)
    }

    /// `again` is what the client sent, where a server may be asked again.
    fn merge_parts(
        &self,
        parts: Vec<(ServerId, Frame<'_>)>,
        split: P::MergeSpec,
        original: &[u8],
        outgoing: &Outgoing<'_, P>,
        again: Option<&Bytes>,
        now: Instant,
    ) -> Dispatched<P> {
        if parts.is_empty() {
            return self.fail(UpstreamError::Ejected, outgoing.expect);
        }
        let mut upstreams = Vec::with_capacity(parts.len());
        for (server, frame) in parts {
            let Some(upstream) = self.upstream(server) else {
                return self.fail(UpstreamError::Ejected, outgoing.expect);
            };
            let admission = if self.pool.is_live(server) {
                upstream.admit(now)
            } else {
                Admission::Down(UpstreamError::Ejected)
            };
            if admission == Admission::Full {
                return Dispatched::Backpressure(Rc::clone(upstream));
            }
            upstreams.push((upstream, admission, frame));
        }
        let context = P::merge_context(split, original, &[], &self.pool.settings);
        let gather = self.gather(
            (context, outgoing.expect),
            outgoing.tag,
            Vec::new(),
            upstreams.len(),
            Some(now),
        );
        for ((upstream, admission, frame), index) in upstreams.into_iter().zip(0..=u16::MAX) {
            let responder = match again {
                None => Responder::fragment(Rc::clone(&gather), index),
                Some(original) => Rc::new(UnblockRetry {
                    tries: Cell::new(0),
                    gather: Rc::clone(&gather),
                    index,
                    upstream: Rc::downgrade(upstream),
                    settings: Rc::clone(&self.pool.settings),
                    original: original.clone(),
                    part: Bytes::copy_from_slice(frame.bytes()),
                })
                .responder(),
            };
            match admission {
                Admission::Down(error) => responder.fail(error),
                _ => upstream.forward(frame, outgoing.stripped, responder, now),
            }
        }
        Dispatched::Taken
    }

    /// As [`Self::gather_from`], on connections that nothing else uses.
    fn forward_bypassing(
        &self,
        servers: &[ServerId],
        split: P::MergeSpec,
        original: &[u8],
        outgoing: &Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let pool = &self.pool;
        let profile = P::bypass_profile(&pool.settings, self.profile);
        let context = P::merge_context(split, original, &[], &pool.settings);
        let gather = self.gather(
            (context, outgoing.expect),
            outgoing.tag,
            Vec::new(),
            servers.len(),
            Some(now),
        );
        for (server, nth) in servers.iter().zip(0..=u16::MAX) {
            let responder = Responder::fragment(Rc::clone(&gather), nth);
            match pool.leases.bypass(pool, server.index(), profile) {
                Ok(upstream) => {
                    upstream.forward(outgoing.frame.clone(), outgoing.stripped, responder, now);
                }
                Err(LeaseError::Down(error)) => responder.fail(error),
                Err(LeaseError::Exhausted(_)) => responder.fail(UpstreamError::Exhausted),
                Err(LeaseError::NoRoom(_)) => responder.fail(UpstreamError::NO_FILES),
            }
        }
        Dispatched::Taken
    }

    /// As [`Self::forward`]; the request is kept, to be said in other words should its server not understand it.
    pub(crate) fn forward_script(
        &self,
        owner: Option<ServerId>,
        outgoing: &Outgoing<'_, P>,
        now: Instant,
    ) -> Dispatched<P> {
        let expect = outgoing.expect;
        let Some(upstream) = owner.and_then(|owner| self.upstream(owner)) else {
            return self.fail(UpstreamError::Ejected, expect);
        };
        match upstream.admit(now) {
            Admission::Open => {
                let fallback = EvalFallback {
                    replies: Rc::clone(&self.replies),
                    seq: self.reserve(),
                    expect,
                    upstream: Rc::downgrade(upstream),
                    settings: Rc::clone(&self.pool.settings),
                    frame: match &outgoing.frame {
                        Frame::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                        Frame::Shared(bytes) => bytes.clone(),
                    },
                };
                let responder = Responder::handler(Rc::new(fallback), expect).tagged(outgoing.tag);
                upstream.forward(outgoing.frame.clone(), outgoing.stripped, responder, now);
                Dispatched::Taken
            }
            Admission::Full => Dispatched::Backpressure(Rc::clone(upstream)),
            Admission::Down(error) => self.fail(error, expect),
        }
    }
}
