//! Requests to servers that no key selects: to all of them, or to some.

use std::rc::Rc;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::Merge as _;
use crate::protocol::{Protocol, Span, UpstreamError};
use crate::proxy::forward::{Dispatched, Forwarder, Outgoing};
use crate::proxy::replies::gather::Gather;
use crate::proxy::replies::responder::Responder;
use crate::proxy::upstream::conn::{Admission, UpstreamConn};
use crate::topology::{ServerId, ServerIndex};

/// Sends a request to all servers. One that is ejected does not receive it, and its fragment fails.
pub(crate) fn all_servers<P: Protocol>(
    fw: &Forwarder<P>,
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let servers: Vec<_> = fw.view.asked_servers().collect();
    if P::Merge::bypasses_queue(spec) {
        return forward_bypassing(fw, &servers, spec, original, &outgoing, now);
    }
    if let [server] = servers[..]
        && !P::Merge::always_merges(spec)
    {
        let owner = fw.view.is_live(server).then_some(server);
        return fw.forward(owner, outgoing, now);
    }
    merge_from(fw, &servers, spec, original, &outgoing, now)
}

/// Sends a request to some servers, and merges their replies. `original` is the request of the client.
pub(crate) fn merge_from<P: Protocol>(
    fw: &Forwarder<P>,
    servers: &[ServerIndex],
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

/// As [`merge_from`], each server with its part of the request from the list.
pub(crate) fn merge_per_server<P: Protocol>(
    fw: &Forwarder<P>,
    list: &[(ServerId, Span)],
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: &Outgoing<'_, P>,
    responder: impl Fn(Rc<Gather<P>>, u16, &Rc<UpstreamConn<P>>, &Frame<'_>) -> Responder<P>,
    now: Instant,
) -> Dispatched<P> {
    let parts = list.iter().filter_map(|&(server, part)| {
        let part = outgoing.frame.part(part.start, part.end);
        Some((fw.view.index_of(server)?, part))
    });
    let parts = parts.collect();
    merge_parts(fw, parts, spec, original, outgoing, responder, now)
}

/// Sends each part to its server. `responder` creates the responder of each part.
fn merge_parts<P: Protocol>(
    fw: &Forwarder<P>,
    parts: Vec<(ServerIndex, Frame<'_>)>,
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
        let admission = if fw.view.is_live(server) {
            upstream.admit(now)
        } else {
            Admission::Down(UpstreamError::Ejected)
        };
        if admission == Admission::Full {
            return Dispatched::Backpressure(Rc::clone(upstream));
        }
        upstreams.push((upstream, admission, frame));
    }
    let context = P::Merge::merge_context(spec, original, &[], &fw.view.settings);
    let gather = fw.gather(
        (context, outgoing.expect),
        (outgoing.command, original),
        Vec::new(),
        upstreams.len(),
        (now, true),
    );
    for ((upstream, admission, frame), index) in upstreams.into_iter().zip(0..=u16::MAX) {
        let responder = responder(Rc::clone(&gather), index, upstream, &frame);
        match admission {
            Admission::Down(error) => upstream.server.turn_away(responder, error),
            _ => upstream.forward(frame, outgoing.stripped, responder, now),
        }
    }
    Dispatched::Taken
}

/// As [`merge_from`], on connections that bypass the queue.
fn forward_bypassing<P: Protocol>(
    fw: &Forwarder<P>,
    servers: &[ServerIndex],
    spec: P::MergeSpec,
    original: &[u8],
    outgoing: &Outgoing<'_, P>,
    now: Instant,
) -> Dispatched<P> {
    let pool = &fw.pool;
    let profile = P::Merge::bypass_profile(&fw.view.settings, fw.profile);
    let context = P::Merge::merge_context(spec, original, &[], &fw.view.settings);
    let gather = fw.gather(
        (context, outgoing.expect),
        (outgoing.command, original),
        Vec::new(),
        servers.len(),
        (now, true),
    );
    for (server, nth) in servers.iter().zip(0..=u16::MAX) {
        let responder = Responder::fragment(Rc::clone(&gather), nth);
        let server = fw.view.server(*server).ok_or(UpstreamError::Ejected);
        match server.and_then(|server| pool.leases.bypass(server, profile)) {
            Ok(upstream) => {
                upstream.forward(outgoing.frame.clone(), outgoing.stripped, responder, now);
            }
            Err(error) => responder.fail(error),
        }
    }
    Dispatched::Taken
}
