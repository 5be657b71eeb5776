//! Requests that go to servers which no key of theirs chooses, and those that may be said in other words.

use std::rc::Rc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::{Fault, KeySpan, Protocol, Span};
use crate::proxy::blocking::unblock_retry::Again;
use crate::proxy::dispatch::{Dispatcher, Next, Parcel};
use crate::proxy::forward::eval_fallback::Retold;
use crate::proxy::pool::dedicated::Denied;
use crate::proxy::replies::responder::Ticket;
use crate::proxy::upstream::conn::Admission;
use crate::topology::ServerId;

impl<P: Protocol> Dispatcher<P> {
    /// Sends a request to all servers. One that is ejected does not get it, and its fragment fails.
    pub(crate) fn everyone(
        &self,
        split: P::Split,
        original: &[u8],
        parcel: Parcel<'_, P>,
        now: Instant,
    ) -> Next<P> {
        let servers: Vec<_> = ServerId::all().take(self.pool.server_count()).collect();
        if P::overtakes(split) {
            return self.overtake(&servers, split, original, &parcel, now);
        }
        if let [server] = servers[..]
            && !P::always_gathers(split)
        {
            let owner = self.pool.is_live(server).then_some(server);
            return self.forward(owner, parcel, now);
        }
        self.gather_from(&servers, split, original, &parcel, now)
    }

    /// Sends a request to some servers, and has their replies joined. `original` is what the client sent.
    pub(crate) fn gather_from(
        &self,
        servers: &[ServerId],
        split: P::Split,
        original: &[u8],
        parcel: &Parcel<'_, P>,
        now: Instant,
    ) -> Next<P> {
        let parts = servers
            .iter()
            .map(|&server| (server, parcel.frame.clone()))
            .collect();
        self.gather_parts(parts, split, original, parcel, None, now)
    }

    /// As [`Self::gather_from`], each server with the part of the request that the list has for it.
    pub(crate) fn gather_each(
        &self,
        list: &[KeySpan],
        split: P::Split,
        original: &[u8],
        parcel: &Parcel<'_, P>,
        now: Instant,
    ) -> Next<P> {
        let parts = ServerId::all().zip(list);
        let parts = parts.filter(|(_, part)| !part.unit.is_empty());
        let part = |unit: Span| parcel.frame.part(unit.start, unit.end);
        let parts = parts
            .map(|(server, key)| (server, part(key.unit)))
            .collect();
        let again = Bytes::copy_from_slice(original);
        self.gather_parts(parts, split, original, parcel, Some(&again), now)
    }

    /// `again` is what the client sent, where a server may be asked again.
    fn gather_parts(
        &self,
        parts: Vec<(ServerId, Frame<'_>)>,
        split: P::Split,
        original: &[u8],
        parcel: &Parcel<'_, P>,
        again: Option<&Bytes>,
        now: Instant,
    ) -> Next<P> {
        if parts.is_empty() {
            return self.fail(Fault::Ejected, parcel.expect);
        }
        let mut upstreams = Vec::with_capacity(parts.len());
        for (server, frame) in parts {
            let Some(upstream) = self.upstream(server) else {
                return self.fail(Fault::Ejected, parcel.expect);
            };
            let admission = if self.pool.is_live(server) {
                upstream.admit(now)
            } else {
                Admission::Down(Fault::Ejected)
            };
            if admission == Admission::Full {
                return Next::Stalled(Rc::clone(upstream));
            }
            upstreams.push((upstream, admission, frame));
        }
        let joint = P::joint(split, original, &[], &self.pool.settings);
        let gather = self.gather(
            (joint, parcel.expect),
            parcel.label,
            Vec::new(),
            upstreams.len(),
            Some(now),
        );
        for ((upstream, admission, frame), index) in upstreams.into_iter().zip(0..=u16::MAX) {
            let ticket = match again {
                None => Ticket::fragment(Rc::clone(&gather), index),
                Some(original) => Ticket::again(Again {
                    tries: 0,
                    gather: Rc::clone(&gather),
                    index,
                    upstream: Rc::downgrade(upstream),
                    settings: Rc::clone(&self.pool.settings),
                    original: original.clone(),
                    part: Bytes::copy_from_slice(frame.bytes()),
                }),
            };
            match admission {
                Admission::Down(fault) => ticket.fail(fault),
                _ => upstream.forward(frame, parcel.left_out, ticket, now),
            }
        }
        Next::Continue
    }

    /// As [`Self::gather_from`], on connections that nothing else uses.
    fn overtake(
        &self,
        servers: &[ServerId],
        split: P::Split,
        original: &[u8],
        parcel: &Parcel<'_, P>,
        now: Instant,
    ) -> Next<P> {
        let pool = &self.pool;
        let lane = P::lane_beside(&pool.settings, self.lane);
        let joint = P::joint(split, original, &[], &pool.settings);
        let gather = self.gather(
            (joint, parcel.expect),
            parcel.label,
            Vec::new(),
            servers.len(),
            Some(now),
        );
        for (server, nth) in servers.iter().zip(0..=u16::MAX) {
            let ticket = Ticket::fragment(Rc::clone(&gather), nth);
            match pool.leases.beside(pool, server.index(), lane) {
                Ok(upstream) => {
                    upstream.forward(parcel.frame.clone(), parcel.left_out, ticket, now);
                }
                Err(Denied::Down(fault)) => ticket.fail(fault),
                Err(Denied::Exhausted(_)) => ticket.fail(Fault::Exhausted),
                Err(Denied::NoRoom(_)) => ticket.fail(Fault::NO_FILES),
            }
        }
        Next::Continue
    }

    /// As [`Self::forward`]; the request is kept, to be said in other words should its server not understand it.
    pub(crate) fn forward_retold(
        &self,
        owner: Option<ServerId>,
        parcel: &Parcel<'_, P>,
        now: Instant,
    ) -> Next<P> {
        let expect = parcel.expect;
        let Some(upstream) = owner.and_then(|owner| self.upstream(owner)) else {
            return self.fail(Fault::Ejected, expect);
        };
        match upstream.admit(now) {
            Admission::Open => {
                let retold = Retold {
                    pipeline: Rc::clone(&self.pipeline),
                    seq: self.reserve(),
                    upstream: Rc::downgrade(upstream),
                    settings: Rc::clone(&self.pool.settings),
                    frame: match &parcel.frame {
                        Frame::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                        Frame::Shared(bytes) => bytes.clone(),
                    },
                };
                let ticket = Ticket::retold(retold, expect).labelled(parcel.label);
                upstream.forward(parcel.frame.clone(), parcel.left_out, ticket, now);
                Next::Continue
            }
            Admission::Full => Next::Stalled(Rc::clone(upstream)),
            Admission::Down(fault) => self.fail(fault, expect),
        }
    }
}
