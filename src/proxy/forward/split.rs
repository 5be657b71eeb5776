//! Requests whose keys are stored on several servers: one fragment for each server, joined in key order.

use std::rc::Rc;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Merge as _;
use crate::protocol::{KeySpan, Part, Protocol, UpstreamError};
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::pool::backends::Backends;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::Admission;
use crate::topology::ServerId;

/// Splits a request by server. Where all keys are stored on one server, it goes there whole.
pub(crate) fn split<P: Protocol>(
    fw: &Forwarder<P>,
    split: P::MergeSpec,
    keys: &[KeySpan],
    outgoing: Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let (expect, label) = (outgoing.expect, outgoing.tag);
    let Some(fragments) = Fragments::new(&fw.backends, keys, &outgoing.frame) else {
        return fw.fail(UpstreamError::Ejected, expect);
    };
    if let [(server, _)] = fragments.servers[..] {
        return fw.forward(Some(server), outgoing, now);
    }
    let frame = outgoing.frame;
    let mut upstreams = Vec::with_capacity(fragments.servers.len());
    for &(server, _) in &fragments.servers {
        let Some(upstream) = fw.upstream(server) else {
            return fw.fail(UpstreamError::Ejected, expect);
        };
        let admission = upstream.admit(now);
        if admission == Admission::Full {
            return Dispatched::Backpressure(Rc::clone(upstream));
        }
        upstreams.push((upstream, admission));
    }
    let context = P::Merge::merge_context(split, frame.bytes(), keys, &fw.pool.settings);
    let gather = fw.gather(
        (context, expect),
        label,
        fragments.owners,
        upstreams.len(),
        Some(now),
    );
    let mut open = Vec::with_capacity(upstreams.len());
    let first = gather.owners().first().copied();
    let parts = (0..=u16::MAX).zip(&fragments.servers);
    for ((upstream, admission), (index, &(_, keys))) in upstreams.iter().zip(parts) {
        let part = Part {
            keys,
            has_first: first == Some(index),
        };
        let mut fragment = (*admission == Admission::Open).then(|| upstream.open_fragment());
        if let Some(fragment) = &mut fragment {
            P::Merge::begin_fragment(split, frame.bytes(), part, fragment.out().tail());
        }
        open.push(fragment);
    }
    for (key, &owner) in keys.iter().zip(gather.owners()) {
        if let Some(Some(fragment)) = open.get_mut(usize::from(owner)) {
            let out = fragment.out();
            out.push(frame.part(key.unit.start, key.unit.end));
        }
    }
    let responders = (0..=u16::MAX).map(|index| Responder::fragment(Rc::clone(&gather), index));
    for (((_, admission), fragment), responder) in upstreams.iter().zip(open).zip(responders) {
        match (admission, fragment) {
            (Admission::Down(error), _) => responder.fail(*error),
            (_, Some(mut fragment)) => {
                P::Merge::end_fragment(split, fragment.out().tail());
                fragment.close(responder, now);
            }
            (_, None) => {}
        }
    }
    Dispatched::Taken
}

/// Which key goes with which fragment: one fragment a server, in the order of the servers.
struct Fragments {
    /// Each server with a fragment, and the number of its keys.
    servers: Vec<(ServerId, usize)>,
    /// For each key, the index of its fragment.
    owners: Vec<u16>,
}

impl Fragments {
    /// `None` when all servers are ejected.
    fn new<P: Protocol>(
        backends: &Backends<P>,
        keys: &[KeySpan],
        frame: &Frame<'_>,
    ) -> Option<Self> {
        let mut counts = vec![0_usize; backends.server_count()];
        let mut homes = Vec::with_capacity(keys.len());
        for key in keys {
            let server = backends.route(key.key.of(frame.bytes()))?;
            *counts.get_mut(server.index())? += 1;
            homes.push(server);
        }
        let mut servers = Vec::new();
        let mut index_of = vec![0_u16; counts.len()];
        for ((server, &keys), index) in ServerId::all().zip(&counts).zip(&mut index_of) {
            if keys > 0 {
                *index = u16::try_from(servers.len()).ok()?;
                servers.push((server, keys));
            }
        }
        let owners: Option<Vec<u16>> = homes
            .iter()
            .map(|home| index_of.get(home.index()).copied())
            .collect();
        Some(Self {
            servers,
            owners: owners?,
        })
    }
}
