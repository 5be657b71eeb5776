//! Replies of the proxy itself that are merged with those of all servers.

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::command::MergeKind;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::local::{config, info, parameters};
use crate::protocol::redis::merge;
use crate::protocol::redis::merge::context::{MergeContext, MergeSpec};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::settings::Settings;

/// Keeps the data that merging needs, the proxy's own part included.
pub(crate) fn merge_context(split: MergeSpec, frame: &[u8], settings: &Settings) -> MergeContext {
    let mut context = merge::context::merge_context(split, frame, settings);
    match split.kind {
        MergeKind::Info(_) => context.own = info::text(Args::new(frame), settings).into(),
        MergeKind::Parameters(resp) => {
            context.own = own_parameters(Args::new(frame), resp, settings);
        }
        _ => {}
    }
    context
}

/// Merges the replies to the fragments.
pub(crate) fn merge(
    context: &MergeContext,
    owners: &[u16],
    replies: Vec<Result<Bytes, UpstreamError>>,
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    match context.split.kind {
        MergeKind::Info(resp) => merge::info_keyspace::join(context, resp, replies, out),
        MergeKind::Parameters(resp) => parameters::join(context, resp, replies, out),
        _ => merge::merge(context, owners, replies, out),
    }
}

/// The proxy's part of the reply to `CONFIG GET`.
fn own_parameters(args: Args<'_>, resp: Resp, settings: &Settings) -> Bytes {
    let mut out = BytesMut::new();
    config::get(args, settings, &mut Reply::new(resp, &mut out));
    out.freeze()
}
