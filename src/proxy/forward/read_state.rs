//! What a client has written and read, as far as its reads at replicas depend on it.

use std::cell::Cell;
use std::time::Instant;

use crate::proxy::replies::queue::ReplyQueue;
use crate::topology::process_us;

/// The state of one client of a pool that reads from replicas.
#[derive(Debug, Default)]
pub(crate) struct ReadState {
    /// It has written since `written_us`.
    has_written: Cell<bool>,
    /// A time after the replies to its writes, in the µs of [`process_us`].
    written_us: Cell<u64>,
    /// Replies of replicas may be due.
    reads_replicas: Cell<bool>,
    /// Chooses among the replicas.
    turn: Cell<usize>,
}

impl ReadState {
    /// The state of a client of which it is not known what it has written.
    pub(crate) fn unknown() -> Self {
        Self {
            has_written: Cell::new(true),
            ..Self::default()
        }
    }

    /// Notes a write. Returns false if it must wait until all replies have come: that of a replica may be due, and the replica
    /// must not see the write before it has read.
    pub(crate) fn note_write(&self, replies: &ReplyQueue) -> bool {
        if self.reads_replicas.get() {
            if !replies.is_idle() {
                return false;
            }
            self.reads_replicas.set(false);
        }
        self.has_written.set(true);
        true
    }

    /// Notes a read at a replica.
    pub(crate) fn note_read(&self) {
        self.reads_replicas.set(true);
    }

    /// A time after the replies to all that the client has written; none while such a reply may be due.
    pub(crate) fn written_us(&self, replies: &ReplyQueue) -> Option<u64> {
        if self.has_written.get() {
            if !replies.is_idle() {
                return None;
            }
            // Not the time of the turn: that began before the last reply came.
            self.written_us.set(process_us(Instant::now()));
            self.has_written.set(false);
        }
        Some(self.written_us.get())
    }

    /// Counts the reads.
    pub(crate) fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }
}
