//! What a search covers: who takes part, and how often each may do what is limited.

use super::omission::Omission;
use super::state::{BUCKETS, Faults, SOURCES, Set, WORKERS};

/// What a worker may do in one search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) writes: u8,
    /// Requests that it gives up, with the connection, while the server may still execute them.
    pub(super) timeouts: u8,
    pub(super) connects: u8,
    /// Replacements by a process that starts from the old file and knows nothing.
    pub(super) starts: u8,
}

/// How a search starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A coordinator has just armed the first move.
    Armed,
    /// The same, after an earlier move in the other direction.
    Again,
    /// Two coordinators have just been started.
    Twice,
}

/// The limits of one search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) buckets: usize,
    /// Sources with buckets that move. A second one without has a mark all the same.
    pub(super) sources: usize,
    pub(super) workers: [Budget; WORKERS],
    /// Whether the workers belong to one proxy, which vouches for both at once.
    pub(super) one_proxy: bool,
    pub(super) start: Start,
    pub(super) faults: Faults,
}

impl Shape {
    pub(super) const fn source_of(&self, bucket: usize) -> usize {
        bucket % self.sources
    }

    pub(super) fn buckets_of(&self, source: usize) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.buckets).filter(move |bucket| self.source_of(*bucket) == source)
    }

    /// The workers of the same proxy.
    pub(super) const fn colleagues(&self, worker: usize) -> Set {
        if self.one_proxy {
            Set(0b11)
        } else {
            Set::one(worker)
        }
    }
}

/// A shape, and what is left out of the protocol, if anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub(super) shape: Shape,
    pub(super) omission: Option<Omission>,
    /// Whether an end where a bucket is still held counts as a violation.
    pub(super) judges_ends: bool,
}

impl Model {
    pub(super) fn omits(&self, omission: Omission) -> bool {
        self.omission == Some(omission)
    }
}

const _: () = assert!(BUCKETS == 2 && SOURCES == 2 && WORKERS == 2);
