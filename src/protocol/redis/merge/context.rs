//! How a request is split, and what is kept of it until its replies are merged.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::Placement;
use crate::protocol::redis::capability::pubsub;
use crate::protocol::redis::command::{MergeKind, ResponsePolicy};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::state::shared::PoolShared;

/// How one request is split: its name in lower case, and how the replies join.
#[derive(Debug, Clone, Copy)]
pub struct MergeSpec {
    /// The command's name, as Twemproxy writes it in a fragment.
    pub name: &'static str,
    /// How the replies join.
    pub kind: MergeKind,
}

/// What is kept of a request until its replies are joined.
#[derive(Debug)]
pub struct MergeContext {
    /// How it was split.
    pub split: MergeSpec,
    /// Of a request that names channels: for each, in its order, who hears it beyond those whom servers count.
    pub crowds: Vec<SubscriberCount>,
    /// What the proxy itself says.
    pub own: Bytes,
    /// The names of the servers, for a request that names none by its keys.
    pub servers: Option<Arc<[String]>>,
    /// The body of a script that is loaded, and where it is remembered then.
    pub script: Option<(Bytes, Arc<PoolShared>)>,
}

/// Who hears a channel.
#[derive(Debug, Clone, Copy)]
pub struct SubscriberCount {
    /// Clients that no server counts.
    pub uncounted: u64,
    /// Every server is subscribed to for the same clients, so that their numbers must not be added up.
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

/// Keeps what joining will need.
pub(crate) fn merge_context(split: MergeSpec, frame: &[u8], settings: &Settings) -> MergeContext {
    let kind = split.kind;
    let mut context = MergeContext::from(split);
    if kind.is_named() || matches!(kind, MergeKind::Info(_) | MergeKind::Parameters(_)) {
        context.servers = Some(Arc::clone(&settings.servers));
    }
    match kind {
        MergeKind::Subscribers(topic) => {
            let crowd = |name| SubscriberCount {
                uncounted: settings
                    .shared
                    .pubsub_stats
                    .local_subscribers
                    .uncounted_subscribers(topic, name),
                everywhere: pubsub::placement(settings, topic, name) == Placement::Everywhere,
            };
            context.crowds = Args::new(frame).skip(2).map(crowd).collect();
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
