//! The state that all connections of one worker share.

use crate::buf::Scratch;
use crate::net::ConnLimit;
use crate::proxy::worker::large_replies::LargeReplies;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::output_memory::OutputMemory;
use crate::proxy::worker::park_delay::{LoadMeter, ParkDelay};
use crate::proxy::worker::request_heads::RequestHeads;

/// The shared state of one worker.
#[derive(Debug)]
pub struct WorkerContext {
    pub(crate) scratch: Scratch,
    /// The limits of every pool of the worker.
    pub(crate) flow: FlowLimits,
    pub(crate) output_memory: OutputMemory,
    pub(crate) load: LoadMeter,
    pub(crate) large_replies: LargeReplies,
    pub(crate) conn_limit: ConnLimit,
    pub(crate) request_heads: RequestHeads,
}

impl WorkerContext {
    /// Creates a context. The worker's thread reads `park_delay` before it parks.
    #[must_use]
    pub fn new(park_delay: ParkDelay) -> Self {
        Self {
            load: LoadMeter::new(park_delay),
            ..Self::default()
        }
    }

    /// Sets the limit from which dedicated connections take a permit.
    #[must_use]
    pub fn with_conn_limit(self, conn_limit: ConnLimit) -> Self {
        Self { conn_limit, ..self }
    }
}

impl Default for WorkerContext {
    fn default() -> Self {
        let flow = FlowLimits::default();
        Self {
            scratch: Scratch::default(),
            flow,
            output_memory: OutputMemory::new(flow),
            load: LoadMeter::default(),
            large_replies: LargeReplies::default(),
            conn_limit: ConnLimit::default(),
            request_heads: RequestHeads::default(),
        }
    }
}
