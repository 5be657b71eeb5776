//! `KEYS` in a pool with `placement_guard`: all servers are asked, until each bucket was not held in one of the tries.

use bytes::{BufMut, Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::redis::error::write_upstream_error;
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::resp::encode::write_header;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::survey::common::{asked_servers, context, is_certain, is_outdated};
use crate::protocol::{Survey, SurveyStep, UpstreamError};
use crate::topology::{Bucket, BucketSet, Router, ServerIndex, Topology, is_mark};

/// `KEYS`.
#[derive(Debug)]
pub(crate) struct KeysSurvey {
    request: Bytes,
    /// The move that it looks at.
    move_id: Option<String>,
    /// By source: the buckets whose keys are found.
    found_of: Vec<BucketSet>,
    /// The keys that are found, encoded.
    found: BytesMut,
    count: usize,
}

impl KeysSurvey {
    pub(crate) fn new(frame: &[u8]) -> Self {
        Self {
            request: Bytes::copy_from_slice(frame),
            move_id: None,
            found_of: Vec::new(),
            found: BytesMut::new(),
            count: 0,
        }
    }

    /// Begins anew if the move is another one than that of the try before, or has ended.
    fn begin_try(&mut self, topology: &Topology) {
        let move_id = topology.moving.as_ref().map(|moving| &moving.id);
        if self.move_id.as_ref() != move_id {
            self.move_id = move_id.cloned();
            self.found_of.clear();
            self.found.clear();
            self.count = 0;
        }
    }

    /// Returns true if a key at a server is to be shown, and was not found in an earlier try.
    fn shows(&self, router: &Router, server: ServerIndex, key: &[u8]) -> bool {
        if is_mark(key) {
            return false;
        }
        let Some(place) = router.whereabouts(key) else {
            // A move may have begun since.
            return router.route(key) == Some(server);
        };
        let found = self.found_of.get(place.before.index());
        let is_found = if place.is_moving() {
            found.is_some_and(|buckets| buckets.contains(place.bucket))
        } else {
            !self.found_of.is_empty()
        };
        !is_found && !place.is_held && place.owner() == server
    }

    fn take_all(
        &mut self,
        router: &Router,
        servers: &[ServerIndex],
        replies: &[Bytes],
    ) -> Option<()> {
        for (&server, reply) in servers.iter().zip(replies) {
            for element in inspect::elements(reply)? {
                if self.shows(router, server, inspect::bulk(element)?) {
                    self.found.put_slice(element);
                    self.count += 1;
                }
            }
        }
        Some(())
    }

    /// Returns true if the keys of all buckets are found.
    fn end_try(&mut self, topology: &Topology) -> bool {
        if is_certain(topology) {
            return true;
        }
        let router = &topology.router;
        self.found_of
            .resize(topology.servers().len(), BucketSet::EMPTY);
        for (server, found) in ServerIndex::all().zip(&mut self.found_of) {
            let is_held = |bucket: &Bucket| {
                let source = router.source(server);
                source.is_some_and(|source| source.holds(*bucket))
            };
            let all = BucketSet::ALL;
            let certain = all.iter().filter(|bucket| !is_held(bucket));
            *found = found.union(&certain.collect());
        }
        let sources = router.laps().map(|[before, _]| before);
        let is_whole = |source: &ServerIndex| {
            let found = self.found_of.get(source.index());
            found.is_some_and(|found| *found == BucketSet::ALL)
        };
        sources.is_none_or(|sources| sources.iter().all(is_whole))
    }
}

impl Survey for KeysSurvey {
    fn ask(&mut self, topology: &Topology, out: &mut BytesMut) -> Vec<ServerIndex> {
        out.put_slice(&self.request);
        asked_servers(topology)
    }

    fn take(
        &mut self,
        topology: &Topology,
        replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> SurveyStep {
        if is_outdated(&replies) {
            return SurveyStep::Wait;
        }
        let servers = asked_servers(topology);
        let context = context("KEYS", topology, &servers);
        let report = FanOutReport::new(&context);
        match report.complete_replies(replies, false, out) {
            Ok(Some(replies)) => {
                self.begin_try(topology);
                if self
                    .take_all(&topology.router, &servers, &replies)
                    .is_none()
                {
                    write_upstream_error(UpstreamError::Fragment, out.tail());
                    return SurveyStep::Done;
                }
            }
            Ok(None) => return SurveyStep::Done,
            Err(error) => {
                write_upstream_error(error, out.tail());
                return SurveyStep::Done;
            }
        }
        if !self.end_try(topology) {
            return SurveyStep::Wait;
        }
        write_header(b'*', self.count, out.tail());
        out.share(self.found.split().freeze());
        SurveyStep::Done
    }
}
