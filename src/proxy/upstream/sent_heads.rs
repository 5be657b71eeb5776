//! The starts of the requests of one connection, kept from their write to their reply.
//!
//! When a request turns out to be slow, or its reply large, operators want to know what it was; but its bytes are written
//! by then. So the buffer of a write is not used again before the next but one: a connection has two, in turn, and nothing
//! is copied as long as each write is answered before the next. Otherwise the unanswered part of the write before
//! is copied: in one piece if it is small, else the start of each request. A request is found by its position in the
//! stream of the connection, which follows from the lengths of the requests before it.
//!
//! Invariants: at most [`KEPT_BYTES`] and [`RUNS`] are copied, and nothing of what is answered; when there is no room, what
//! is new is not kept: replies come in order, so the oldest request is the one that the others wait for.

use std::collections::VecDeque;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::buf::{Reader, WriteBuf};

/// The maximum number of bytes that are copied.
const KEPT_BYTES: usize = 64 << 10;

/// The maximum number of runs that are copied.
const RUNS: usize = 1024;

/// The number of bytes of a write up to which all of it is copied, without a look at its requests.
const WHOLE_BYTES: usize = 8 << 10;

/// The number of bytes that are kept of a large request.
const HEAD_BYTES: usize = 4 << 10;

/// The starts of requests that are written and not yet answered.
#[derive(Debug, Default)]
pub(super) struct SentHeads {
    /// The ends of what is written and of what is answered, as positions in the stream of the connection.
    written: u64,
    answered: u64,
    /// The end of the stream, if it was written at once, and is a small piece.
    last: BytesMut,
    last_at: Option<Instant>,
    /// What was written before.
    copies: Option<Box<Copies>>,
}

/// Copies of what was written.
#[derive(Debug, Default)]
struct Copies {
    bytes: VecDeque<u8>,
    runs: VecDeque<Run>,
    /// The number of bytes that were ever dropped from the front of `bytes`.
    dropped: u64,
}

/// Bytes of the stream that were written at the same time.
#[derive(Debug)]
struct Run {
    at: u64,
    len: usize,
    /// How many of them are kept, and where: counted like `dropped`.
    kept: usize,
    kept_at: u64,
    written_at: Instant,
}

/// The start of a request that was written, and when.
#[derive(Debug)]
pub(crate) struct SentHead {
    /// At most [`HEAD_BYTES`]; none if there was no room.
    pub(crate) bytes: Vec<u8>,
    pub(crate) written_at: Instant,
}

impl SentHeads {
    /// Makes room for what is written next, after a write. `answering` is the length of the request that was taken and is
    /// still needed; `lens` are those of the requests that were written before, the last one first.
    #[inline]
    pub(super) fn begin_write<L: Iterator<Item = usize>>(
        &mut self,
        answering: usize,
        lens: impl FnOnce() -> L,
    ) {
        let needed_from = self.answered.saturating_sub(answering as u64);
        if needed_from < self.written {
            self.set_aside(needed_from, lens());
        } else if let Some(copies) = &mut self.copies {
            copies.forget(needed_from);
        }
    }

    /// Notes that all of `out` was written, and consumes it; returns false if it is not one small piece.
    #[inline]
    pub(super) fn take_written(&mut self, out: &mut WriteBuf, now: Instant) -> bool {
        let len = out.len();
        let is_taken = out.consume_into(&mut self.last);
        if is_taken {
            self.written += len as u64;
            self.last_at = Some(now);
        }
        is_taken
    }

    /// Notes that the first `written` bytes of `out` were written. They begin with as many bytes of a request that is
    /// answered, then with the rest of one of which so many bytes were written before. `lens` are the lengths of that one and those
    /// that follow.
    #[cold]
    pub(super) fn note_written(
        &mut self,
        out: &WriteBuf,
        written: usize,
        (of_answered, mut begun): (usize, usize),
        lens: impl Iterator<Item = usize>,
        now: Instant,
    ) {
        self.last.clear();
        let copies = self.copies.get_or_insert_default();
        let mut pending = Reader::new(out.pieces());
        let passed = of_answered.min(written);
        pending.read(passed, 0, |_| {});
        self.written += passed as u64;
        let mut left = written - passed;
        for len in lens {
            if left == 0 {
                break;
            }
            let part = len.saturating_sub(begun).min(left);
            let most = HEAD_BYTES.saturating_sub(begun);
            begun = 0;
            copies.push((self.written, part), now, most, |most, bytes| {
                pending.read(part, most, |piece| bytes.extend(piece));
            });
            self.written += part as u64;
            left -= part;
        }
    }

    /// Copies what is still needed of the last write.
    #[inline(never)]
    fn set_aside(&mut self, needed_from: u64, lens: impl Iterator<Item = usize>) {
        if let Some(copies) = &mut self.copies {
            copies.forget(needed_from);
        }
        let (Some(written_at), false) = (self.last_at, self.last.is_empty()) else {
            return;
        };
        let copies = self.copies.get_or_insert_default();
        let start = self.written.saturating_sub(self.last.len() as u64);
        let from = needed_from.max(start);
        let needed = self.last.get(offset(start, from)..).unwrap_or_default();
        if needed.len() <= WHOLE_BYTES {
            let whole = (from, needed.len());
            copies.push(whole, written_at, needed.len(), |most, bytes| {
                bytes.extend(needed.get(..most).unwrap_or(needed));
            });
            return;
        }
        let mut parts = Vec::new();
        let mut end = self.written;
        for len in lens {
            let request = end.saturating_sub(len as u64);
            let at = request.max(from);
            let most = HEAD_BYTES.saturating_sub(offset(request, at));
            parts.push(((at, offset(at, end)), most));
            end = at;
            if end <= from {
                break;
            }
        }
        for ((at, len), most) in parts.into_iter().rev() {
            copies.push((at, len), written_at, most, |most, bytes| {
                let part = self.last.get(offset(start, at)..).unwrap_or_default();
                bytes.extend(part.get(..most.min(len)).unwrap_or(part));
            });
        }
    }

    /// Counts a request that is answered.
    #[inline]
    pub(super) fn answered(&mut self, len: usize) {
        self.answered += len as u64;
    }

    /// Passes on the start of the request of `len` bytes that was taken last.
    pub(super) fn with_last_taken<T>(&self, len: usize, look: impl FnOnce(&[u8]) -> T) -> T {
        let start = self.answered.saturating_sub(len as u64);
        let last = self.written.saturating_sub(self.last.len() as u64);
        if start >= last
            && let Some(rest @ [_, ..]) = self.last.get(offset(last, start)..)
        {
            return look(rest.get(..len.min(HEAD_BYTES)).unwrap_or(rest));
        }
        let head = self.last_taken(len);
        look(&head.map(|head| head.bytes).unwrap_or_default())
    }

    /// The request of `len` bytes that was taken last.
    pub(super) fn last_taken(&self, len: usize) -> Option<SentHead> {
        let start = self.answered.checked_sub(len as u64)?;
        let most = len.min(HEAD_BYTES);
        let mut bytes = Vec::new();
        let mut written_at = None;
        if let Some(copies) = &self.copies {
            written_at = copies.read(start, most, &mut bytes);
        }
        let last = self.written.saturating_sub(self.last.len() as u64);
        let at = start + bytes.len() as u64;
        if bytes.len() < most
            && at >= last
            && let Some(rest @ [_, ..]) = self.last.get(offset(last, at)..)
        {
            bytes.extend(rest.iter().take(most - bytes.len()));
            written_at = written_at.or(self.last_at);
        }
        let written_at = written_at?;
        Some(SentHead { bytes, written_at })
    }
}

impl Copies {
    /// Appends a run, of whose bytes `copy` appends at most as many as it is told.
    fn push(
        &mut self,
        (at, len): (u64, usize),
        written_at: Instant,
        most: usize,
        copy: impl FnOnce(usize, &mut VecDeque<u8>),
    ) {
        let before = self.bytes.len();
        let has_room = self.runs.len() < RUNS;
        let room = KEPT_BYTES.saturating_sub(before);
        copy(if has_room { most.min(room) } else { 0 }, &mut self.bytes);
        if has_room {
            self.runs.push_back(Run {
                at,
                len,
                kept: self.bytes.len() - before,
                kept_at: self.dropped + before as u64,
                written_at,
            });
        }
    }

    /// Drops what is answered.
    fn forget(&mut self, needed_from: u64) {
        while let Some(run) = self.runs.front()
            && run.at + run.len as u64 <= needed_from
        {
            self.bytes.drain(..run.kept.min(self.bytes.len()));
            self.dropped += run.kept as u64;
            self.runs.pop_front();
        }
    }

    /// Appends at most so many bytes from a position of the stream on, and returns when the first of them was written.
    fn read(&self, start: u64, most: usize, bytes: &mut Vec<u8>) -> Option<Instant> {
        let mut written_at = None;
        let after = self.runs.partition_point(|run| run.at <= start);
        for run in self.runs.iter().skip(after.checked_sub(1)?) {
            let at = start + bytes.len() as u64;
            let skipped = offset(run.at, at);
            if at < run.at || skipped >= run.len || bytes.len() == most {
                break;
            }
            written_at = written_at.or(Some(run.written_at));
            let from = offset(self.dropped, run.kept_at) + skipped;
            let known = run.kept.saturating_sub(skipped).min(most - bytes.len());
            bytes.extend(self.bytes.iter().skip(from).take(known));
            if skipped.max(run.kept) < run.len {
                break;
            }
        }
        written_at
    }
}

/// The distance of two positions of the stream.
fn offset(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// A connection's requests: those to write, and those in flight.
    #[derive(Default)]
    struct Stream {
        heads: SentHeads,
        out: WriteBuf,
        unsent: VecDeque<Vec<u8>>,
        begun: usize,
        sent: VecDeque<Vec<u8>>,
        now: Option<Instant>,
    }

    impl Stream {
        fn new() -> Self {
            Self {
                out: WriteBuf::keeping(128 << 10),
                now: Some(Instant::now()),
                ..Self::default()
            }
        }

        fn push(&mut self, bytes: &[u8], is_shared: bool) {
            if is_shared {
                self.out.share(Bytes::copy_from_slice(bytes));
            } else {
                self.out.copy(bytes);
            }
            self.unsent.push_back(bytes.to_vec());
        }

        /// Writes at most so many bytes, a second after the last write.
        fn write(&mut self, most: usize, answering: usize) {
            let now = self.now.unwrap() + Duration::from_secs(1);
            self.now = Some(now);
            let written = self.out.len().min(most);
            if written == 0 {
                return;
            }
            let sent = &self.sent;
            let lens = || sent.iter().rev().map(Vec::len);
            self.heads.begin_write(answering, lens);
            if written < self.out.len() || !self.heads.take_written(&mut self.out, now) {
                let lens = self.unsent.iter().map(Vec::len);
                let begun = (0, self.begun);
                self.heads
                    .note_written(&self.out, written, begun, lens, now);
                self.out.consume(written);
            }
            self.begun += written;
            while let Some(first) = self.unsent.front()
                && self.begun >= first.len()
            {
                self.begun -= first.len();
                self.sent.extend(self.unsent.pop_front());
            }
        }

        /// Answers the oldest request: what it was, and what is found of it.
        fn answer(&mut self) -> Option<(Vec<u8>, Option<SentHead>)> {
            let request = self.sent.pop_front()?;
            self.heads.answered(request.len());
            let found = self.heads.last_taken(request.len());
            Some((request, found))
        }

        fn copied(&self) -> usize {
            let copies = self.heads.copies.as_ref();
            copies.map_or(0, |copies| copies.bytes.len())
        }
    }

    fn request(number: usize, len: usize) -> Vec<u8> {
        let text = format!("{number}:").into_bytes();
        text.into_iter().cycle().take(len).collect()
    }

    #[test]
    fn answered_writes_are_not_copied() {
        let mut stream = Stream::new();
        for number in 0..100 {
            stream.push(&request(number, 30), false);
            stream.push(&request(number, 40), false);
            stream.write(usize::MAX, 0);
            for _ in 0..2 {
                let (request, found) = stream.answer().unwrap();
                assert_eq!(found.unwrap().bytes, request);
            }
        }
        assert!(stream.heads.copies.is_none());
    }

    #[test]
    fn request_is_found_with_the_time_of_its_write() {
        let mut stream = Stream::new();
        stream.push(b"get a", false);
        stream.write(usize::MAX, 0);
        let first = stream.now.unwrap();
        stream.push(b"get b", false);
        stream.write(usize::MAX, 0);
        for (text, written_at) in [(&b"get a"[..], first), (b"get b", stream.now.unwrap())] {
            let found = stream.answer().unwrap().1.unwrap();
            assert_eq!((&found.bytes[..], found.written_at), (text, written_at));
        }
    }

    #[test]
    fn request_that_is_being_answered_is_found() {
        let mut stream = Stream::new();
        stream.push(b"get a", false);
        stream.write(usize::MAX, 0);
        stream.answer().unwrap();
        stream.push(b"get b", false);
        stream.write(usize::MAX, 5);
        assert_eq!(stream.heads.last_taken(5).unwrap().bytes, b"get a");
    }

    #[test]
    fn answered_large_requests_leave_room_for_others() {
        let mut stream = Stream::new();
        for number in 0..100 {
            let large = request(number, 200_000);
            stream.push(&large, true);
            stream.write(usize::MAX, 0);
            let found = stream.answer().unwrap().1.unwrap();
            assert_eq!(found.bytes, large[..HEAD_BYTES], "{number}");
        }
    }

    #[test]
    fn oldest_requests_are_kept_when_there_is_no_room() {
        let mut stream = Stream::new();
        for number in 0..100 {
            stream.push(&request(number, 1000), false);
            stream.write(usize::MAX, 0);
            assert!(stream.copied() <= KEPT_BYTES);
        }
        for number in 0..99 {
            let kept = match number {
                0..65 => 1000,
                65 => KEPT_BYTES - 65_000,
                _ => 0,
            };
            let found = stream.answer().unwrap().1.unwrap();
            assert_eq!(found.bytes, request(number, kept), "{number}");
        }
    }

    proptest! {
        /// What is found is what was written, however it was; and all of it is found if there is room.
        #[test]
        fn found_head_is_that_of_the_request(
            steps in prop::collection::vec((0..6_u8, 1..9000_usize), 1..200),
        ) {
            let mut stream = Stream::new();
            let mut is_crowded = false;
            for (number, (step, len)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => stream.push(&request(number, len), step == 0),
                    2 => stream.push(&request(number, len % 100 + 1), false),
                    3 => stream.write(usize::MAX, 0),
                    4 => stream.write(len, 0),
                    _ => if let Some((request, found)) = stream.answer() {
                        let found = found.map(|head| head.bytes).unwrap_or_default();
                        prop_assert!(found.len() <= HEAD_BYTES);
                        prop_assert_eq!(&found[..], &request[..found.len()]);
                        let whole = request.len().min(HEAD_BYTES);
                        prop_assert!(is_crowded || found.len() == whole, "{} of {}", found.len(), whole);
                    },
                }
                // At least the head of each request in flight was written.
                let heads = stream.sent.iter().chain(&stream.unsent);
                is_crowded |= heads.map(|request| request.len().min(WHOLE_BYTES)).sum::<usize>() > KEPT_BYTES / 2;
                prop_assert!(stream.copied() <= KEPT_BYTES);
            }
        }
    }
}
