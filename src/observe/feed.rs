//! A bounded queue from all workers to one reader.
//!
//! Workers never wait for the reader: what has no room is counted as missed.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::observe::locks::lock;

/// The maximum number of bytes that wait for the reader.
const FEED_BYTES: usize = 4 << 20;

/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 128;

/// The queue of one reader.
#[derive(Debug)]
pub(super) struct Feed<T> {
    state: Mutex<State<T>>,
    news: Notify,
}

#[derive(Debug)]
struct State<T> {
    entries: VecDeque<T>,
    bytes: usize,
    missed: u64,
    is_closed: bool,
}

/// What a reader gets at once.
#[derive(Debug)]
pub struct Batch<T> {
    /// The oldest first.
    pub entries: VecDeque<T>,
    /// The number of those that had no room since the last batch.
    pub missed: u64,
    /// Set if nothing more will come.
    pub is_closed: bool,
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                bytes: 0,
                missed: 0,
                is_closed: false,
            }),
            news: Notify::new(),
        }
    }
}

impl<T> Feed<T> {
    /// Appends an entry of so many bytes, which is made if there is room.
    pub(super) fn push(&self, bytes: usize, entry: impl FnOnce() -> T) {
        let mut state = lock(&self.state);
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        if state.is_closed {
            return;
        }
        if state.bytes.saturating_add(bytes) > FEED_BYTES {
            state.missed += 1;
        } else {
            state.bytes += bytes;
            state.entries.push_back(entry());
        }
        drop(state);
        self.news.notify_one();
    }

    /// Counts entries that were not made.
    pub(super) fn miss(&self, entries: u64) {
        lock(&self.state).missed += entries;
        self.news.notify_one();
    }

    /// Ends it: the reader gets what is left.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.news.notify_one();
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Batch<T> {
        let mut state = lock(&self.state);
        state.bytes = 0;
        Batch {
            entries: std::mem::take(&mut state.entries),
            missed: std::mem::take(&mut state.missed),
            is_closed: state.is_closed,
        }
    }

    /// Waits until there is something, and takes it. Only one reader may wait.
    pub(super) async fn next(&self) -> Batch<T> {
        loop {
            let batch = self.take();
            if !batch.entries.is_empty() || batch.missed > 0 || batch.is_closed {
                return batch;
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted() {
        let feed = Feed::default();
        for number in 0..10_000_u32 {
            feed.push(1000, || number);
        }
        let batch = feed.take();
        let room = FEED_BYTES / (1000 + ENTRY_BYTES);
        assert_eq!(batch.entries.len(), room);
        assert_eq!(batch.missed, 10_000 - room as u64);
        assert_eq!(batch.entries.front(), Some(&0));
        feed.push(1000, || 1);
        let batch = feed.take();
        assert_eq!((batch.entries.len(), batch.missed), (1, 0));
    }

    #[test]
    fn closed_feed_gives_what_is_left() {
        let feed = Feed::default();
        feed.push(1, || 1);
        feed.close();
        feed.push(1, || 2);
        let batch = feed.take();
        assert_eq!((batch.entries.len(), batch.is_closed), (1, true));
    }
}
