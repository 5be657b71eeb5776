//! Requests whose keys are stored on several servers: one fragment for each server, merged in key order.

use std::rc::Rc;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Merge as _;
use crate::protocol::{KeySpan, Part, Protocol, UpstreamError};
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::pool::view::PoolView;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::Admission;
use crate::topology::ServerIndex;

/// Splits a request by server. If all keys are stored on one server, it is forwarded as a whole.
pub(crate) fn split<P: Protocol>(
    fw: &Forwarder<P>,
    split: P::MergeSpec,
    keys: &[KeySpan],
    outgoing: Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let (expect, command) = (outgoing.expect, outgoing.command);
    let Some(fragments) = Fragments::new(&fw.view, keys, &outgoing.frame) else {
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
    let context = P::Merge::merge_context(split, frame.bytes(), keys, &fw.view.settings);
    let gather = fw.gather(
        (context, expect),
        (command, frame.bytes()),
        fragments.owners,
        upstreams.len(),
        (now, true),
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
    for (((upstream, admission), fragment), responder) in upstreams.iter().zip(open).zip(responders)
    {
        match (admission, fragment) {
            (Admission::Down(error), _) => upstream.server.turn_away(responder, *error),
            (_, Some(mut fragment)) => {
                P::Merge::end_fragment(split, fragment.out().tail());
                fragment.close(responder, now);
            }
            (_, None) => {}
        }
    }
    Dispatched::Taken
}

/// The assignment of keys to fragments: one fragment per server, in the order of the servers.
struct Fragments {
    /// Each server with a fragment, and the number of its keys.
    servers: Vec<(ServerIndex, usize)>,
    /// For each key, the index of its fragment.
    owners: Vec<u16>,
}

impl Fragments {
    /// `None` when all servers are ejected.
    fn new<P: Protocol>(view: &PoolView<P>, keys: &[KeySpan], frame: &Frame<'_>) -> Option<Self> {
        let mut counts = vec![0_usize; view.server_count()];
        let mut key_servers = Vec::with_capacity(keys.len());
        for key in keys {
            let server = view.route(key.key.of(frame.bytes()))?;
            *counts.get_mut(server.index())? += 1;
            key_servers.push(server);
        }
        let mut servers = Vec::new();
        let mut index_of = vec![0_u16; counts.len()];
        for ((server, &keys), index) in ServerIndex::all().zip(&counts).zip(&mut index_of) {
            if keys > 0 {
                *index = u16::try_from(servers.len()).ok()?;
                servers.push((server, keys));
            }
        }
        let owners: Option<Vec<u16>> = key_servers
            .iter()
            .map(|server| index_of.get(server.index()).copied())
            .collect();
        Some(Self {
            servers,
            owners: owners?,
        })
    }
}
