//! `RANDOMKEY` in a pool with `placement_guard`: servers draw keys, until one is at its owner.

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::redis::error::write_upstream_error;
use crate::protocol::redis::mark::keyspace;
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::resp::encode::{write_bulk, write_error_line, write_null};
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::survey::common::{asked_servers, context, is_certain, is_outdated};
use crate::protocol::{Survey, SurveyStep, UpstreamError};
use crate::topology::{Router, ServerIndex, Topology};

/// The keys that each server draws at first.
const FIRST: u32 = 4;

/// The keys that each server draws in further tries.
const MORE: u32 = 32;

/// The tries after which it is assumed that nearly all keys are copies, or have moved away.
const MOST_TRIES: u32 = 32;

/// `RANDOMKEY`.
#[derive(Debug)]
pub(crate) struct RandomSurvey {
    resp: Resp,
    tries: u32,
}

impl RandomSurvey {
    pub(crate) fn new(resp: Resp) -> Self {
        Self { resp, tries: 0 }
    }
}

impl Survey for RandomSurvey {
    fn ask(&mut self, topology: &Topology, out: &mut BytesMut) -> Vec<ServerIndex> {
        let count = if self.tries == 0 { FIRST } else { MORE };
        keyspace::write_draw(count, out);
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
        let context = context("RANDOMKEY", topology, &servers);
        let report = FanOutReport::new(&context);
        let drawn = match report.complete_replies(replies, false, out) {
            Ok(Some(replies)) => Drawn::of(&topology.router, &servers, &replies),
            Ok(None) => return SurveyStep::Done,
            Err(error) => Err(error),
        };
        self.tries += 1;
        match drawn {
            Ok(drawn) if !drawn.shown.is_empty() => {
                let key = fastrand::choice(&drawn.shown);
                write_bulk(key.map_or(&[], |key| &key[..]), out.tail());
                SurveyStep::Done
            }
            Ok(drawn) if drawn.is_nothing && is_certain(topology) => {
                write_null(self.resp, out.tail());
                SurveyStep::Done
            }
            Ok(_) if !is_certain(topology) => SurveyStep::Wait,
            Ok(_) if self.tries < MOST_TRIES => SurveyStep::Again,
            Ok(_) => {
                let text = "TRYAGAIN RANDOMKEY: nearly all keys at the servers belong to other servers; try again when no keys are being moved";
                write_error_line(&[text.as_bytes()], out.tail());
                SurveyStep::Done
            }
            Err(error) => {
                write_upstream_error(error, out.tail());
                SurveyStep::Done
            }
        }
    }
}

/// The keys that servers have drawn.
struct Drawn {
    /// One of each server that has drawn a key of its own.
    shown: Vec<Vec<u8>>,
    /// No server has drawn a key.
    is_nothing: bool,
}

impl Drawn {
    fn of(
        router: &Router,
        servers: &[ServerIndex],
        replies: &[Bytes],
    ) -> Result<Self, UpstreamError> {
        let mut drawn = Self {
            shown: Vec::new(),
            is_nothing: true,
        };
        for (&server, reply) in servers.iter().zip(replies) {
            let keys = inspect::elements(reply).ok_or(UpstreamError::Fragment)?;
            let keys: Option<Vec<&[u8]>> = keys.map(inspect::bulk).collect();
            let keys = keys.ok_or(UpstreamError::Fragment)?;
            drawn.is_nothing &= keys.is_empty();
            let own = keys.into_iter().find(|key| {
                let place = router.whereabouts(key);
                let is_held = place.is_some_and(|place| place.is_held);
                !is_held && router.route(key) == Some(server)
            });
            drawn.shown.extend(own.map(<[u8]>::to_vec));
        }
        Ok(drawn)
    }
}
