//! The starts of the requests of one connection, kept from their write to their reply.
//!
//! When a request turns out to be slow, or its reply large, operators want to know what it was; but its bytes are written
//! and gone by then. So each write leaves a copy here of what it writes, in one piece if that is little, else the start of
//! each request. That costs nothing per request, only a copy per write. It is found by its position in the stream
//! of the connection, which follows from the lengths of the requests before it.
//!
//! Invariants: at most [`KEPT_BYTES`] and [`RUNS`] are kept, and nothing of a request that is answered for longer than until
//! the next write; when there is no room, what is new is not kept: replies come in order, so the oldest request is the
//! one that the others wait for.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::buf::WriteBuf;

/// The maximum number of bytes that a connection keeps.
const KEPT_BYTES: usize = 64 << 10;

/// The maximum number of runs that a connection keeps.
const RUNS: usize = 1024;

/// The number of bytes of a write up to which all of it is kept, without a look at its requests.
const WHOLE_BYTES: usize = 8 << 10;

/// The number of bytes that are kept of a large request.
const HEAD_BYTES: usize = 4 << 10;

/// The starts of requests that are written and not yet answered.
#[derive(Debug, Default)]
pub(super) struct SentHeads {
    bytes: VecDeque<u8>,
    runs: VecDeque<Run>,
    /// The number of bytes that were ever dropped from the front of `bytes`.
    dropped: u64,
    /// Positions in the stream of the connection: the end of what is written, of what was noted, of what is answered.
    written: u64,
    noted: u64,
    answered: u64,
    /// The start of a request whose reply arrives in parts, and its position.
    streamed: Option<(u64, SentHead)>,
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
#[derive(Debug, Clone)]
pub(crate) struct SentHead {
    /// At most some kilobytes; none if there was no room.
    pub(crate) bytes: Vec<u8>,
    pub(crate) written_at: Instant,
}

impl SentHeads {
    /// Keeps the starts of requests that are about to be written: those at the end of `out`, whose lengths are given from the
    /// last one on.
    #[inline]
    pub(super) fn note_write(
        &mut self,
        out: &WriteBuf,
        lens: impl Iterator<Item = usize>,
        now: Instant,
    ) {
        let fresh = self.fresh(out.len());
        if fresh == 0 {
            return;
        }
        match out.last_in_tail(fresh) {
            Some(all) if fresh <= WHOLE_BYTES => self.note(fresh, all, now),
            _ => self.note_each(fresh, out, lens, now),
        }
    }

    #[cold]
    fn note_each(
        &mut self,
        fresh: usize,
        out: &WriteBuf,
        lens: impl Iterator<Item = usize>,
        now: Instant,
    ) {
        let mut left = fresh;
        let fresh_ones = lens.take_while(|len| {
            let is_fresh = left > 0;
            left = left.saturating_sub(*len);
            is_fresh
        });
        let lens: Vec<_> = fresh_ones.collect();
        let mut pending = out.reader(out.len() - fresh);
        let mut head = Vec::new();
        for len in lens.into_iter().rev() {
            head.clear();
            pending.read(len, HEAD_BYTES, &mut head);
            self.note(len, &head, now);
        }
    }

    /// The number of bytes at the end of `pending` that were not noted.
    fn fresh(&self, pending: usize) -> usize {
        let end = self.written + pending as u64;
        usize::try_from(end.saturating_sub(self.noted)).unwrap_or(usize::MAX)
    }

    /// Notes bytes that are about to be written, of which the first are given.
    fn note(&mut self, len: usize, head: &[u8], now: Instant) {
        if self.answered >= self.noted {
            self.clear();
        } else if self.bytes.len() + head.len() > KEPT_BYTES || self.runs.len() >= RUNS {
            self.forget_answered();
        }
        let room = KEPT_BYTES.saturating_sub(self.bytes.len());
        let kept = head.len().min(room);
        if self.runs.len() < RUNS {
            self.runs.push_back(Run {
                at: self.noted,
                len,
                kept,
                kept_at: self.dropped + self.bytes.len() as u64,
                written_at: now,
            });
            self.bytes.extend(head.get(..kept).unwrap_or_default());
        }
        self.noted += len as u64;
    }

    /// Counts bytes that were written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Counts a request that is answered.
    pub(super) fn answered(&mut self, len: usize) {
        self.answered += len as u64;
    }

    /// Takes back what was noted of all but the first `pending` bytes to write: others take their place.
    pub(super) fn retract(&mut self, pending: usize) {
        let end = self.written + pending as u64;
        if end >= self.noted {
            return;
        }
        self.noted = end;
        while self.runs.back().is_some_and(|last| last.at >= end) {
            self.runs.pop_back();
        }
        if let Some(last) = self.runs.back_mut() {
            last.len = usize::try_from(end - last.at)
                .unwrap_or_default()
                .min(last.len);
            last.kept = last.kept.min(last.len);
        }
        let kept = self
            .runs
            .back()
            .map_or(self.dropped, |last| last.kept_at + last.kept as u64);
        let kept = usize::try_from(kept - self.dropped).unwrap_or_default();
        self.bytes.truncate(kept);
    }

    /// Keeps the start of the request of `len` bytes that was taken last until its reply is complete.
    #[cold]
    pub(super) fn keep_last(&mut self, len: usize) {
        let start = self.answered.saturating_sub(len as u64);
        if self.streamed.as_ref().is_none_or(|(at, _)| *at != start) {
            self.streamed = self.last_answered(len).map(|head| (start, head));
        }
    }

    /// The request of `len` bytes that was taken last.
    pub(super) fn last_answered(&self, len: usize) -> Option<SentHead> {
        let start = self.answered.checked_sub(len as u64)?;
        if let Some((at, head)) = &self.streamed
            && *at == start
        {
            return Some(head.clone());
        }
        let after = self.runs.partition_point(|run| run.at <= start);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let skipped = usize::try_from(start - run.at).ok()?;
        if skipped >= run.len {
            return None;
        }
        let kept = run.kept.saturating_sub(skipped).min(len).min(HEAD_BYTES);
        let from = usize::try_from(run.kept_at - self.dropped).ok()? + skipped.min(run.kept);
        Some(SentHead {
            bytes: self.bytes.range(from..from + kept).copied().collect(),
            written_at: run.written_at,
        })
    }

    fn forget_answered(&mut self) {
        while let Some(run) = self.runs.front_mut() {
            let over = usize::try_from(self.answered.saturating_sub(run.at)).unwrap_or(usize::MAX);
            let gone = over.min(run.kept);
            self.bytes.drain(..gone);
            self.dropped += gone as u64;
            if over < run.len {
                run.at += over as u64;
                run.len -= over;
                run.kept -= gone;
                run.kept_at += gone as u64;
                break;
            }
            self.runs.pop_front();
        }
    }

    fn clear(&mut self) {
        self.dropped += self.bytes.len() as u64;
        self.bytes.clear();
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn request(number: usize, len: usize) -> Vec<u8> {
        let text = format!("{number}:").into_bytes();
        text.into_iter().cycle().take(len).collect()
    }

    fn texts(heads: &SentHeads, len: usize) -> Option<Vec<u8>> {
        heads.last_answered(len).map(|head| head.bytes)
    }

    #[test]
    fn request_is_found_when_it_is_answered() {
        let mut heads = SentHeads::default();
        let now = Instant::now();
        heads.note(10, b"get a;set ", now);
        heads.written(10);
        let later = now + Duration::from_secs(1);
        heads.note(5, b"get b", later);
        heads.written(5);
        for (len, text, at) in [(6, "get a;", now), (4, "set ", now), (5, "get b", later)] {
            heads.answered(len);
            let found = heads.last_answered(len).unwrap();
            assert_eq!((found.bytes, found.written_at), (text.into(), at));
        }
        heads.note(3, b"new", later);
        assert_eq!((heads.runs.len(), heads.bytes.len()), (1, 3));
    }

    #[test]
    fn oldest_requests_are_kept_when_there_is_no_room() {
        let (mut heads, now) = (SentHeads::default(), Instant::now());
        for number in 0..100 {
            let bytes = request(number, 1000);
            heads.note(1000, &bytes, now);
            heads.written(1000);
            assert!(heads.bytes.len() <= KEPT_BYTES);
        }
        for number in 0..100 {
            heads.answered(1000);
            let kept = match number {
                0..65 => 1000,
                65 => KEPT_BYTES - 65_000,
                _ => 0,
            };
            assert_eq!(
                texts(&heads, 1000).unwrap(),
                request(number, kept),
                "{number}"
            );
        }
    }

    proptest! {
        /// What is found is what was written, whatever is taken back and answered meanwhile.
        #[test]
        fn found_head_is_that_of_the_request(
            steps in prop::collection::vec((0..4_u8, 1..9000_usize), 1..200),
        ) {
            let (mut heads, now) = (SentHeads::default(), Instant::now());
            let (mut queued, mut sent) = (VecDeque::new(), VecDeque::new());
            for (number, (step, len)) in steps.into_iter().enumerate() {
                let pending: usize = queued.iter().map(Vec::len).sum();
                match step {
                    0 | 1 => {
                        let bytes = request(number, len);
                        let head = bytes[..len.min(HEAD_BYTES)].to_vec();
                        prop_assert_eq!(heads.fresh(pending + len), len);
                        heads.note(len, &head, now);
                        queued.push_back(bytes);
                    }
                    2 => {
                        heads.written(pending);
                        sent.append(&mut queued);
                    }
                    _ if number % 3 == 0 => if let Some(last) = queued.pop_back() {
                        heads.retract(pending - last.len());
                    },
                    _ => if let Some(first) = sent.pop_front() {
                        heads.answered(first.len());
                        if let Some(found) = texts(&heads, first.len()) {
                            prop_assert!(found.len() <= HEAD_BYTES);
                            prop_assert_eq!(&found[..], &first[..found.len()]);
                        }
                    },
                }
                prop_assert!(heads.bytes.len() <= KEPT_BYTES && heads.runs.len() <= RUNS);
                let kept: usize = heads.runs.iter().map(|run| run.kept).sum();
                prop_assert_eq!(kept, heads.bytes.len());
            }
        }
    }
}
