//! What all connections of one worker share.

use crate::buf::Scratch;
use crate::net::ConnLimit;
use crate::proxy::worker::limits::FlowLimits;
use crate::proxy::worker::output_memory::OutputMemory;
use crate::proxy::worker::park_delay::{LoadMeter, ParkDelay};

/// One a worker.
#[derive(Debug)]
pub struct WorkerContext {
    pub(crate) scratch: Scratch,
    /// The bounds that hold for every pool of the worker.
    pub(crate) flow: FlowLimits,
    pub(crate) output_memory: OutputMemory,
    pub(crate) load: LoadMeter,
    pub(crate) conn_limit: ConnLimit,
}

impl WorkerContext {
    /// `park_delay` is what the worker's thread asks before it blocks.
    #[must_use]
    pub fn new(park_delay: ParkDelay) -> Self {
        Self {
            load: LoadMeter::new(park_delay),
            ..Self::default()
        }
    }

    /// Dedicated connections take a permit here.
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
            conn_limit: ConnLimit::default(),
        }
    }
}
