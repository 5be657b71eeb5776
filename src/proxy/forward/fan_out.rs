//! Requests that go to servers which no key chooses: to all of them, or to some.

use std::rc::Rc;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Merge as _;
use crate::protocol::{KeySpan, Protocol, Span, UpstreamError};
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::topology::ServerId;

/// Sends a request to all servers. One that is ejected does not get it, and its fragment fails.
pub(crate) fn all_servers<P: Protocol>(
    fw: &Forwarder<P>,
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let servers: Vec<_> = ServerId::all().take(fw.backends.server_count()).collect();
    if P::Merge::bypasses_queue(spec) {
        return forward_bypassing(fw, &servers, spec, original, &outgoing, now);
    }
    if let [server] = servers[..]
        && !P::Merge::always_merges(spec)
    {
        let owner = fw.backends.is_live(server).then_some(server);
        return fw.forward(owner, outgoing, now);
    }
    merge_from(fw, &servers, spec, original, &outgoing, now)
}

/// Sends a request to some servers, and has their replies joined. `original` is what the client sent.
pub(crate) fn merge_from<P: Protocol>(
    fw: &Forwarder<P>,
    servers: &[ServerId],
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: &Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let parts = servers
        .iter()
        .map(|&server| (server, outgoing.frame.clone()))
        .collect();
    let responder = |gather, index, _: &_, _: &Frame<'_>| Responder::fragment(gather, index);
    merge_parts(fw, parts, spec, original, outgoing, responder, now)
}

/// As [`merge_from`], each server with the part of the request that the list has for it.
pub(crate) fn merge_per_server<P: Protocol>(
    fw: &Forwarder<P>,
    list: &[KeySpan],
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: &Outgoing<'_, P>,
    responder: impl Fn(Rc<Gather<P>>, u16, &Rc<UpstreamConn<P>>, &Frame<'_>) -> Responder<P>,
    now: Instant,
) -> Dispatched<P> {
    let parts = ServerId::all().zip(list);
    let parts = parts.filter(|(_, part)| !part.unit.is_empty());
    let part = |unit: Span| outgoing.frame.part(unit.start, unit.end);
    let parts = parts
        .map(|(server, key)| (server, part(key.unit)))
        .collect();
    merge_parts(fw, parts, spec, original, outgoing, responder, now)
}

/// `responder` makes what receives the reply to each part.
fn merge_parts<P: Protocol>(
    fw: &Forwarder<P>,
    parts: Vec<(ServerId, Frame<'_>)>,
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: &Outgoing<'_, P>,
    responder: impl Fn(Rc<Gather<P>>, u16, &Rc<UpstreamConn<P>>, &Frame<'_>) -> Responder<P>,
    now: Instant,
) -> Dispatched<P> {
    if parts.is_empty() {
        return fw.fail(UpstreamError::Ejected, outgoing.expect);
    }
    let mut upstreams = Vec::with_capacity(parts.len());
    for (server, frame) in parts {
        let Some(upstream) = fw.upstream(server) else {
            return fw.fail(UpstreamError::Ejected, outgoing.expect);
        };
        let admission = if fw.backends.is_live(server) {
            upstream.admit(now)
        } else {
            Admission::Down(UpstreamError::Ejected)
        };
        if admission == Admission::Full {
            return Dispatched::Backpressure(Rc::clone(upstream));
        }
        upstreams.push((upstream, admission, frame));
    }
    let context = P::Merge::merge_context(spec, original, &[], &fw.pool.settings);
    let gather = fw.gather(
        (context, outgoing.expect),
        outgoing.tag,
        Vec::new(),
        upstreams.len(),
        Some(now),
    );
    for ((upstream, admission, frame), index) in upstreams.into_iter().zip(0..=u16::MAX) {
        let responder = responder(Rc::clone(&gather), index, upstream, &frame);
        match admission {
            Admission::Down(error) => responder.fail(error),
            _ => upstream.forward(frame, outgoing.stripped, responder, now),
        }
    }
    Dispatched::Taken
}

/// As [`merge_from`], on connections that nothing else uses.
fn forward_bypassing<P: Protocol>(
    fw: &Forwarder<P>,
    servers: &[ServerId],
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: &Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let pool = &fw.pool;
    let profile = P::Merge::bypass_profile(&pool.settings, fw.profile);
    let context = P::Merge::merge_context(spec, original, &[], &pool.settings);
    let gather = fw.gather(
        (context, outgoing.expect),
        outgoing.tag,
        Vec::new(),
        servers.len(),
        Some(now),
    );
    for (server, nth) in servers.iter().zip(0..=u16::MAX) {
        let responder = Responder::fragment(Rc::clone(&gather), nth);
        match pool.leases.bypass(&fw.backends, *server, profile) {
            Ok(upstream) => {
                upstream.forward(outgoing.frame.clone(), outgoing.stripped, responder, now);
            }
            Err(error) => responder.fail(error),
        }
    }
    Dispatched::Taken
}
