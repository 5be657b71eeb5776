//! `CONFIG GET` and `SET` of the servers' parameters, if the pool gives clients access to them (`server_parameters`).
//!
//! The proxy's own parameters are never requested from a server. Of the others, `GET` returns those that have the same
//! value on all servers: one that differs (`port`, `dir`) has no single value.

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::local::config;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::merge::context::MergeContext;
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::inspect::pairs;
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::settings::Settings;

/// Returns true if a `CONFIG GET` needs the servers' parameters.
pub(crate) fn reach_servers(args: Args<'_>, settings: &Settings) -> bool {
    settings.server_parameters
        && args
            .skip(2)
            .any(|pattern| !config::is_own(pattern, settings))
}

/// Returns true if a `CONFIG SET` is for the servers: it names none of the proxy's own parameters.
pub(crate) fn are_set(args: Args<'_>, settings: &Settings) -> bool {
    let count = args.clone().count();
    settings.server_parameters
        && count.is_multiple_of(2)
        && args
            .skip(2)
            .step_by(2)
            .all(|name| !config::is_own(name, settings))
}

/// Appends the parameters that all servers have in common to the proxy's own.
pub(crate) fn join(
    context: &MergeContext,
    resp: Resp,
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    let Some(replies) = FanOutReport::new(context).complete_replies(replies, false, out)? else {
        return Ok(());
    };
    let mut all = pairs(&context.own).ok_or(UpstreamError::Fragment)?;
    let lists: Option<Vec<_>> = replies.iter().map(|reply| pairs(reply)).collect();
    let lists = lists.ok_or(UpstreamError::Fragment)?;
    if let Some((first, others)) = lists.split_first() {
        for pair in first {
            let is_own = all
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(pair.0));
            if !is_own && others.iter().all(|list| list.contains(pair)) {
                all.push(*pair);
            }
        }
    }
    let mut written = BytesMut::new();
    let reply = &mut Reply::new(resp, &mut written);
    reply.map(all.len());
    for (name, value) in all {
        reply.bulk(name);
        reply.bulk(value);
    }
    out.copy(&written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::redis::command::MergeKind;
    use crate::protocol::redis::merge::context::MergeSpec;

    fn context(own: Bytes) -> MergeContext {
        let name = "CONFIG|GET";
        let kind = MergeKind::Parameters(Resp::Two);
        MergeContext {
            own,
            servers: Some(Arc::new(["s0".to_owned(), "s1".to_owned()])),
            ..MergeContext::from(MergeSpec { name, kind })
        }
    }

    fn map(resp: Resp, pairs: &[(&str, &str)]) -> Bytes {
        let mut out = BytesMut::new();
        let reply = &mut Reply::new(resp, &mut out);
        reply.map(pairs.len());
        for (name, value) in pairs {
            reply.bulk(name);
            reply.bulk(value);
        }
        out.freeze()
    }

    #[test]
    fn parameter_common_to_all_servers_is_returned() {
        for resp in [Resp::Two, Resp::Three] {
            let own = map(resp, &[("save", "")]);
            let first = [("dir", "/a"), ("hz", "10"), ("save", "1"), ("x", "1")];
            let second = [("x", "1"), ("dir", "/b"), ("hz", "10")];
            let replies = vec![Ok(map(resp, &first)), Ok(map(resp, &second))];
            let mut out = WriteBuf::new();
            join(&context(own), resp, replies, &mut out).unwrap();
            let expected = map(resp, &[("save", ""), ("hz", "10"), ("x", "1")]);
            assert_eq!(out.tail().as_ref(), expected.as_ref());
        }
    }

    #[test]
    fn parameter_missing_on_one_server_is_unknown() {
        let good = map(Resp::Two, &[("hz", "10")]);
        let odd = Bytes::from_static(b"*2\r\n$1\r\na\r\n");
        let mut out = WriteBuf::new();
        let replies = vec![Ok(good.clone()), Ok(odd)];
        assert!(join(&context(good.clone()), Resp::Two, replies, &mut out).is_err());
        let replies = vec![Ok(good.clone()), Err(UpstreamError::TimedOut)];
        join(&context(good), Resp::Two, replies, &mut out).unwrap();
        let text =
            "-ERR CONFIG GET needs all servers; server 's1' failed: Connection timed out\r\n";
        assert_eq!(out.tail().as_ref(), text.as_bytes());
    }
}
