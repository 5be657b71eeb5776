//! The state of a reply queue: its slots, and the bytes whose turn has come.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::config::BufferLimit;
use crate::proxy::replies::reorder::{Buffered, ReorderBuffer};
use crate::proxy::replies::status::{CloseSignal, Seq};
use crate::proxy::worker::output_memory::Usage;

/// Slots that an idle queue keeps room for.
const KEEP_SLOTS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Number of the front slot.
    pub(crate) first: u64,
    pub(crate) slots: VecDeque<Slot>,
    pub(crate) out: WriteBuf,
    pub(crate) reorder: ReorderBuffer,
    /// Slots of requests whose reply the client does not want, as long as that has not come.
    pub(crate) silent: usize,
    /// Bytes in slots that keep parts.
    pub(crate) parts_bytes: usize,
    /// Bytes of fragments that wait to be joined.
    pub(crate) gathered_bytes: usize,
    /// The size of the last replies, smoothed; `None` before the first.
    pub(crate) reply_bytes: Option<usize>,
    /// Bytes of the front slot's reply that have come in parts.
    pub(crate) front_bytes: usize,
    pub(crate) abandoned: bool,
    /// A part of the front slot's reply is in `out`, and its end is not.
    pub(crate) begun: bool,
    /// What came unasked while that was so; it goes behind that reply.
    pub(crate) pushes: WriteBuf,
    /// Since when a subscriber is owed more than the soft limit.
    pub(crate) slow_since: Option<Instant>,
    /// A reply was cut in the middle: nothing that follows could be understood.
    pub(crate) cut: bool,
    pub(crate) close_signal: Option<CloseSignal>,
}

#[derive(Debug)]
pub(crate) enum Slot {
    /// Nothing has come.
    Pending,
    /// The client does not want the reply; what comes of it is dropped.
    Discard { whole: bool },
    /// The reply is whole and lies in the reorder buffer.
    Buffered(Buffered),
    /// The reply is large, and kept as it came.
    Streaming { bytes: Box<WriteBuf>, whole: bool },
}

impl State {
    pub(crate) fn pending_bytes(&self) -> usize {
        self.out.len()
            + self.reorder.len()
            + self.parts_bytes
            + self.gathered_bytes
            + self.pushes.len()
    }

    /// As the output memory of the worker counts it.
    pub(crate) fn pending(&self) -> Usage {
        Usage {
            bytes: self.pending_bytes(),
            common_bytes: self.out.common_len() + self.pushes.common_len(),
        }
    }

    /// Whether a subscriber is owed too much, or much for too long; 0 is no limit.
    pub(crate) fn is_slow(&mut self, limit: &BufferLimit, now: Instant) -> bool {
        let owed_bytes = self.pending_bytes();
        if limit.hard_bytes > 0 && owed_bytes > limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || owed_bytes <= limit.soft_bytes {
            return false;
        }
        let since = *self.slow_since.get_or_insert(now);
        now.saturating_duration_since(since) > limit.soft_for
    }

    /// Learns how large the replies of this client are.
    pub(crate) fn note_reply(&mut self, len: usize) {
        let before = self.reply_bytes.unwrap_or(len);
        self.reply_bytes = Some(before - before / 8 + len / 8);
    }

    pub(crate) fn forget(&mut self) {
        *self = Self {
            abandoned: true,
            close_signal: self.close_signal,
            ..Self::default()
        };
    }

    pub(crate) fn is_front(&self, seq: Seq) -> bool {
        !self.abandoned && seq.0 == self.first
    }

    pub(crate) fn slot(&mut self, seq: Seq) -> Option<&mut Slot> {
        if self.abandoned {
            return None;
        }
        let index = usize::try_from(seq.0.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }

    /// The reply to a request has come, and lies in the reorder buffer.
    #[expect(
        clippy::inline_always,
        reason = "avoids a memcpy of the request; measured 3 % on pipelined GET"
    )]
    #[inline(always)]
    pub(crate) fn hold(&mut self, seq: Seq, held: Buffered) {
        if let Some(slot @ Slot::Pending) = self.slot(seq) {
            *slot = Slot::Buffered(held);
        }
    }

    pub(crate) fn fill(&mut self, seq: Seq, filled: Slot) {
        if let Some(slot) = self.slot(seq) {
            *slot = filled;
        }
    }

    /// Takes what comes for a slot whose client does not want it. Returns whether it is such a one.
    #[cold]
    pub(crate) fn discard(&mut self, seq: Seq, whole: bool) -> bool {
        let Some(slot @ Slot::Discard { .. }) = self.slot(seq) else {
            return false;
        };
        if whole {
            *slot = Slot::Discard { whole };
            self.silent -= 1;
            self.note_reply(0);
            if self.is_front(seq) {
                self.advance();
            }
        }
        true
    }

    /// Takes the front slot away, and every one behind it that is whole.
    pub(crate) fn advance(&mut self) {
        self.pop();
        while let Some(front) = self.slots.front_mut() {
            match front {
                Slot::Pending | Slot::Discard { whole: false } => break,
                Slot::Discard { whole: true } => self.pop(),
                Slot::Buffered(held) => {
                    let held = *held;
                    self.out.copy(self.reorder.get(held));
                    self.reorder.release(held);
                    self.pop();
                }
                Slot::Streaming { bytes, whole } => {
                    let whole = *whole;
                    let len = bytes.len();
                    self.parts_bytes -= len;
                    self.out.append(bytes);
                    if !whole {
                        self.front_bytes = len;
                        *front = Slot::Pending;
                        self.begun = true;
                        break;
                    }
                    self.pop();
                }
            }
        }
        if self.reorder.wants_packing() {
            self.reorder
                .pack(self.slots.iter_mut().filter_map(|slot| match slot {
                    Slot::Buffered(held) => Some(held),
                    _ => None,
                }));
        }
        if self.slots.is_empty() && self.slots.capacity() > KEEP_SLOTS {
            self.slots = VecDeque::new();
        }
    }

    pub(crate) fn pop(&mut self) {
        self.slots.pop_front();
        self.first += 1;
        if self.begun {
            self.begun = false;
            self.out.append(&mut self.pushes);
        }
    }
}
