//! The way a request is split, and the data of it that is kept until its replies are merged.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::Placement;
use crate::protocol::redis::capability::pubsub;
use crate::protocol::redis::command::{MergeKind, ResponsePolicy};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::shared::PoolShared;

/// The way a request is split: its name in lower case, and the way its replies are merged.
#[derive(Debug, Clone, Copy)]
pub struct MergeSpec {
    /// The command's name, as Twemproxy writes it in a fragment.
    pub name: &'static str,
    /// The way the replies are merged.
    pub kind: MergeKind,
}

/// The data of a request that is kept until its replies are merged.
#[derive(Debug)]
pub struct MergeContext {
    /// The way it was split.
    pub split: MergeSpec,
    /// For a request that names channels: the uncounted subscribers of each, in its order.
    pub crowds: Vec<SubscriberCount>,
    /// The proxy's own part of the reply.
    pub own: Bytes,
    /// The names of the servers, for a request that names none by its keys.
    pub servers: Option<Arc<[String]>>,
    /// The body of a script to load, and the pool that caches it.
    pub script: Option<(Bytes, Arc<PoolShared>)>,
}

/// The subscribers of a channel.
#[derive(Debug, Clone, Copy)]
pub struct SubscriberCount {
    /// Clients that no server counts.
    pub uncounted: u64,
    /// The same clients are subscribed on every server, so that the counts must not be added.
    pub everywhere: bool,
}

impl From<MergeSpec> for MergeContext {
    fn from(split: MergeSpec) -> Self {
        Self {
            split,
            crowds: Vec::new(),
            own: Bytes::new(),
            servers: None,
            script: None,
        }
    }
}

/// Keeps the data that merging needs.
pub(crate) fn merge_context(split: MergeSpec, frame: &[u8], settings: &Settings) -> MergeContext {
    let kind = split.kind;
    let mut context = MergeContext::from(split);
    if kind.is_named() || matches!(kind, MergeKind::Info(_) | MergeKind::Parameters(_)) {
        context.servers = Some(Arc::clone(&settings.servers));
    }
    match kind {
        MergeKind::Subscribers(channel_kind) => {
            let count = |name| SubscriberCount {
                uncounted: settings
                    .shared
                    .pubsub_stats
                    .local_subscribers
                    .uncounted_subscribers(channel_kind, name),
                everywhere: pubsub::placement(settings, channel_kind, name)
                    == Placement::Everywhere,
            };
            context.crowds = Args::new(frame).skip(2).map(count).collect();
        }
        MergeKind::All(ResponsePolicy::Script) => {
            let body = Args::new(frame).nth(2).unwrap_or_default();
            let body = Bytes::copy_from_slice(body);
            context.script = Some((body, Arc::clone(&settings.shared)));
        }
        _ => {}
    }
    context
}
