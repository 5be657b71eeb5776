//! Samples of how long requests wait in the proxy to be written.

use tokio::time::Instant;

use crate::protocol::Protocol;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::stats::Latency;

/// Events of which one is a sample.
pub(super) const PER_SAMPLE: u64 = 64;

/// Takes one write in [`PER_SAMPLE`], and the first, as a sample.
#[derive(Debug, Default)]
pub(super) struct WaitSampler {
    writes: u64,
}

impl WaitSampler {
    /// Notes that the queue is to be written now.
    #[inline]
    pub(super) fn on_write<P: Protocol>(&mut self, upstream: &UpstreamConn<P>, now: Instant) {
        if upstream.queued_bytes() > 0 {
            if self.writes.is_multiple_of(PER_SAMPLE) {
                sample(upstream, now);
            }
            self.writes += 1;
        }
    }
}

#[cold]
fn sample<P: Protocol>(upstream: &UpstreamConn<P>, now: Instant) {
    let oldest = upstream.queue.borrow().oldest_unsent();
    if let Some(since) = oldest {
        let waited = Latency::of(now.saturating_duration_since(since));
        upstream.server.cells.write_wait.record(waited);
    }
}
