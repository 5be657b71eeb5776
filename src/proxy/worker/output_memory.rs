//! The memory that a worker holds for its clients: pending output, by client and in total.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::proxy::worker::limits::FlowLimits;

/// The pending output of all clients of a worker.
///
/// Output that many clients share, a large message that is published to them, is stored once and counted once, until
/// the last of them has received it.
#[derive(Debug)]
pub(crate) struct OutputMemory {
    /// Bytes pending for one client alone.
    pending_bytes: Cell<usize>,
    /// Bytes pending for several clients. Used by one thread, and atomic since buffers may be sent to others.
    common_bytes: Arc<AtomicUsize>,
    limits: FlowLimits,
}

/// The usage of one client, as the output memory last counted it.
#[derive(Debug, Default)]
pub(crate) struct ClientUsage {
    last: Cell<Usage>,
}

/// The pending output of one client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: usize,
    /// Those of them that are shared with other clients.
    pub(crate) common_bytes: usize,
}

/// The result of counting a client's pending output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputState {
    Within,
    /// It exceeds the limit of one client, or the fair limit while the worker as a whole holds too much.
    Over,
}

impl OutputMemory {
    /// Creates an empty account.
    pub(crate) fn new(limits: FlowLimits) -> Self {
        Self {
            pending_bytes: Cell::new(0),
            common_bytes: Arc::default(),
            limits,
        }
    }

    /// Updates the pending output of a client.
    pub(crate) fn book(&self, usage: &ClientUsage, pending: Usage) -> OutputState {
        let before = usage.last.replace(pending);
        let total =
            (self.pending_bytes.get() + pending.own_bytes()).saturating_sub(before.own_bytes());
        self.pending_bytes.set(total);
        if pending.bytes > self.limits.fair_output_bytes
            && pending.bytes > before.bytes
            && pending.bytes > self.most_bytes()
        {
            OutputState::Over
        } else {
            OutputState::Within
        }
    }

    /// Returns the same bytes, counted once until their last clone is dropped.
    pub(crate) fn shared(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(SharedBytes::new(bytes, &self.common_bytes))
    }

    /// The current limit of one client.
    fn most_bytes(&self) -> usize {
        let held_bytes = self.pending_bytes.get() + self.common_bytes.load(Ordering::Relaxed);
        if held_bytes > self.limits.worker_output_bytes {
            self.limits.fair_output_bytes
        } else {
            self.limits.client_output_bytes
        }
    }
}

impl Usage {
    fn own_bytes(self) -> usize {
        self.bytes.saturating_sub(self.common_bytes)
    }
}

/// Bytes in the pending output of several clients.
struct SharedBytes {
    bytes: Bytes,
    booked_bytes: Arc<AtomicUsize>,
}

impl SharedBytes {
    fn new(bytes: Bytes, booked_bytes: &Arc<AtomicUsize>) -> Self {
        booked_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Self {
            bytes,
            booked_bytes: Arc::clone(booked_bytes),
        }
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        let len = self.bytes.len();
        self.booked_bytes.fetch_sub(len, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(bytes: usize) -> Usage {
        Usage {
            bytes,
            common_bytes: 0,
        }
    }

    #[test]
    fn client_output_limit_shrinks_when_the_worker_is_over() {
        let output_memory = OutputMemory::new(FlowLimits::default());
        let limits = FlowLimits::default();
        let (first, second) = (ClientUsage::default(), ClientUsage::default());
        let most = limits.client_output_bytes;
        assert_eq!(output_memory.book(&first, own(most)), OutputState::Within);
        assert_eq!(output_memory.book(&first, own(most + 1)), OutputState::Over);
        assert_eq!(output_memory.book(&first, own(0)), OutputState::Within);

        assert_eq!(output_memory.book(&first, own(most)), OutputState::Within);
        assert_eq!(output_memory.book(&second, own(most)), OutputState::Within);
        let third = ClientUsage::default();
        let rest = limits.worker_output_bytes - 2 * most;
        assert_eq!(output_memory.book(&third, own(rest)), OutputState::Within);
        assert_eq!(output_memory.book(&third, own(rest + 1)), OutputState::Over);
        let small = ClientUsage::default();
        let fair = own(limits.fair_output_bytes);
        assert_eq!(output_memory.book(&small, fair), OutputState::Within);
        let less = output_memory.book(&second, own(most - 1));
        assert_eq!(less, OutputState::Within, "what shrinks is let go on");
    }

    #[test]
    fn shared_output_is_counted_once_until_released() {
        let output_memory = OutputMemory::new(FlowLimits::default());
        let fair_bytes = output_memory.limits.fair_output_bytes;
        let message = output_memory.shared(Bytes::from(vec![b'x'; 4 * fair_bytes]));
        let pending = Usage {
            bytes: message.len(),
            common_bytes: message.len(),
        };
        let all: Vec<_> = (0..10_000)
            .map(|_| (ClientUsage::default(), message.clone()))
            .collect();
        for (usage, _) in &all {
            assert_eq!(output_memory.book(usage, pending), OutputState::Within);
        }
        let first = &all[0].0;
        let worker_bytes = output_memory.limits.worker_output_bytes;
        let large = ClientUsage::default();
        // For that client alone it is too much; the result for the first depends on the sum of all.
        output_memory.book(&large, own(worker_bytes - message.len()));
        output_memory.book(first, own(0));
        let fits = output_memory.book(first, pending);
        assert_eq!(fits, OutputState::Within, "the message is booked once");
        output_memory.book(&large, own(worker_bytes - message.len() + 1));
        output_memory.book(first, own(0));
        assert_eq!(output_memory.book(first, pending), OutputState::Over);
        drop((all, message));
        let within = output_memory.book(&ClientUsage::default(), pending);
        assert_eq!(within, OutputState::Within, "it is let go");
    }
}
