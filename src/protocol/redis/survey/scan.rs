//! `SCAN` in a pool with `placement_guard`: one server after another, and while keys are being moved in two laps.
//!
//! ```text
//! lap 1: the servers before, one after another: the keys that have not moved away
//! lap 2: the servers after, one after another: the keys that have moved there
//! ```
//!
//! A key that is there all the time is returned: when lap 1 is at its first owner, it is there and has not moved, or it has
//! moved, and lap 2 comes later. A key that moves meanwhile may be returned twice, as SCAN may; the others are not in lap 2.
//! Lap 1 passes over a server whose place another has taken: all its keys have moved at once.
//!
//! The tag of a cursor tells the lap, and of which move; that of a scan which has begun before the move is taken for lap 1.
//! With any other tag the scan starts over: so does one of lap 1 when the move has ended, since what it has not shown as it
//! had moved may be anywhere by then.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use fnv::FnvHasher;

use crate::buf::WriteBuf;
use crate::protocol::redis::error::write_upstream_error;
use crate::protocol::redis::merge::cursor::{GUARDED_TAGS, Stops, guarded_tag};
use crate::protocol::redis::merge::partial::FanOutReport;
use crate::protocol::redis::merge::scan::{
    Page, cursor_of, write_cursor, write_cursor_too_large, write_with_cursor,
};
use crate::protocol::redis::resp::encode::write_header;
use crate::protocol::redis::resp::inspect;
use crate::protocol::redis::survey::common::{all_servers, context, is_outdated};
use crate::protocol::{Survey, SurveyStep, UpstreamError};
use crate::topology::{MoveState, Placement, Router, ServerIndex, Topology, Whereabouts, is_mark};

/// `SCAN`.
#[derive(Debug)]
pub(crate) struct ScanSurvey {
    request: Bytes,
    cursor: u64,
    /// Where the last try was: the tag of its lap, its stop, and the server's cursor.
    tried: Option<(u64, usize, u64)>,
    /// The moving keys of earlier tries there of which it was certain whether they are shown.
    decided: HashMap<Box<[u8]>, bool>,
    /// The keys that are shown, encoded.
    shown: BytesMut,
    count: usize,
}

/// The laps of a scan, and the place of a cursor in it.
#[derive(Debug)]
struct Course {
    laps: Vec<Lap>,
    /// The number of the lap.
    lap: usize,
    stop: usize,
    /// The cursor of the server.
    own: u64,
}

#[derive(Debug)]
struct Lap {
    servers: Arc<[ServerIndex]>,
    stops: Stops,
}

/// What a page says of a key at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Shown,
    Hidden,
    /// It depends on whether the key has moved, which is being decided.
    Uncertain,
}

impl ScanSurvey {
    /// `None` if the cursor is no number.
    pub(crate) fn new(frame: &[u8]) -> Option<Self> {
        Some(Self {
            request: Bytes::copy_from_slice(frame),
            cursor: cursor_of(frame)?,
            tried: None,
            decided: HashMap::new(),
            shown: BytesMut::new(),
            count: 0,
        })
    }

    /// Begins a try. What was certain of keys elsewhere, or under another move, is not here.
    fn begin_at(&mut self, place: (u64, usize, u64)) {
        if self.tried.replace(place) != Some(place) {
            self.decided.clear();
        }
    }

    /// Takes the keys of a page. Returns true if all are decided.
    fn take_keys(
        &mut self,
        router: &Router,
        (lap, server): (usize, ServerIndex),
        keys: &[u8],
    ) -> Option<bool> {
        let mut is_certain = true;
        self.shown.clear();
        self.count = 0;
        for element in inspect::elements(keys)? {
            let key = inspect::bulk(element)?;
            let is_shown = match self.decided.get(key) {
                Some(is_shown) => *is_shown,
                None => match sight(router, (lap, server), key) {
                    Sight::Uncertain => {
                        is_certain = false;
                        continue;
                    }
                    sight => {
                        let is_moving = |place: Whereabouts| place.is_moving();
                        if router.has_holds() && router.whereabouts(key).is_some_and(is_moving) {
                            self.decided.insert(key.into(), sight == Sight::Shown);
                        }
                        sight == Sight::Shown
                    }
                },
            };
            if is_shown {
                self.shown.put_slice(element);
                self.count += 1;
            }
        }
        Some(is_certain)
    }
}

impl Survey for ScanSurvey {
    fn ask(&mut self, topology: &Topology, out: &mut BytesMut) -> Vec<ServerIndex> {
        let course = Course::find(topology, self.cursor);
        write_with_cursor(&self.request, course.own, out);
        course.server().into_iter().collect()
    }

    fn take(
        &mut self,
        topology: &Topology,
        mut replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> SurveyStep {
        if is_outdated(&replies) {
            return SurveyStep::Wait;
        }
        let course = Course::find(topology, self.cursor);
        self.begin_at(course.place());
        let reply = replies.pop().unwrap_or(Err(UpstreamError::Dropped));
        let (reply, server) = match (reply, course.server()) {
            (Ok(reply), Some(server)) => (reply, server),
            (Err(error), Some(server)) => {
                let context = context("SCAN", topology, &all_servers(topology).collect::<Vec<_>>());
                FanOutReport::new(&context).write_missing(server, error, out);
                return SurveyStep::Done;
            }
            (_, None) => {
                write_upstream_error(UpstreamError::Ejected, out.tail());
                return SurveyStep::Done;
            }
        };
        if inspect::is_error(&reply) {
            out.share(reply);
            return SurveyStep::Done;
        }
        let page = Page::read(&reply).and_then(|page| {
            let keys = reply.get(page.keys_at..)?;
            let is_certain = self.take_keys(&topology.router, (course.lap, server), keys)?;
            Some((page.own, is_certain))
        });
        match page {
            None => write_upstream_error(UpstreamError::Fragment, out.tail()),
            Some((_, false)) => return SurveyStep::Wait,
            Some((own, true)) => match course.cursor_after(&topology.router, own) {
                None => write_cursor_too_large(out.tail()),
                Some(cursor) => {
                    write_cursor(cursor, out.tail());
                    write_header(b'*', self.count, out.tail());
                    out.share(self.shown.split().freeze());
                }
            },
        }
        SurveyStep::Done
    }
}

impl Course {
    /// The place of a client's cursor; the start if it is of another scan.
    fn find(topology: &Topology, cursor: u64) -> Self {
        let router_laps = topology.router.laps();
        let (laps, earlier) = if let (Some(moving), Some(servers)) = (&topology.moving, router_laps)
        {
            Lap::of_move(moving, servers)
        } else {
            let digest = Placement::digest_of(&topology.config);
            let servers = all_servers(topology).collect();
            (vec![Lap::plain(servers, digest)], None)
        };
        let found = laps.iter().zip(0..).find_map(|(lap, number)| {
            let (own, stop) = lap.stops.decode(cursor)?;
            Some((number, own, stop))
        });
        let earlier = || {
            let (own, stop) = earlier?.decode(cursor)?;
            Some((0, own, stop))
        };
        let (lap, own, stop) = found.or_else(earlier).unwrap_or_default();
        let mut course = Self {
            laps,
            lap,
            stop,
            own,
        };
        let server = course.server();
        if server.is_some_and(|server| is_passed(&topology.router, lap, server))
            && let Some((lap, own, stop)) = course.place_after(&topology.router, 0)
        {
            (course.lap, course.own, course.stop) = (lap, own, stop);
        }
        course
    }

    /// Where it is: the tag of the lap, the stop, and the server's cursor.
    fn place(&self) -> (u64, usize, u64) {
        let tag = self.laps.get(self.lap).map_or(0, |lap| lap.stops.tag);
        (tag, self.stop, self.own)
    }

    fn server(&self) -> Option<ServerIndex> {
        self.laps.get(self.lap)?.servers.get(self.stop).copied()
    }

    /// The client's cursor behind a reply with the server's cursor `own`, 0 at the end; `None` if it exceeds 64 bits.
    fn cursor_after(&self, router: &Router, own: u64) -> Option<u64> {
        let Some((lap, own, stop)) = self.place_after(router, own) else {
            return Some(0);
        };
        self.laps.get(lap)?.stops.encode(own, stop)
    }

    /// The place behind such a reply: the lap, the server's cursor and the stop; `None` at the end.
    fn place_after(&self, router: &Router, own: u64) -> Option<(usize, u64, usize)> {
        let mut number = self.lap;
        let mut next = self.laps.get(number)?.stops.next(own, self.stop);
        loop {
            let lap = self.laps.get(number)?;
            let Some((own, stop)) = next else {
                number += 1;
                next = Some((0, 0));
                continue;
            };
            let server = lap.servers.get(stop);
            if !server.is_some_and(|server| is_passed(router, number, *server)) {
                return Some((number, own, stop));
            }
            next = lap.stops.next(0, stop);
        }
    }
}

/// Returns true if a lap passes over a server: one that is to take the place of another has no keys yet, and one whose place is
/// taken has none that the first lap shows, and may be gone.
fn is_passed(router: &Router, lap: usize, server: ServerIndex) -> bool {
    router.is_standby(server) || (lap == 0 && router.is_replaced(server))
}

impl Lap {
    fn plain(servers: Arc<[ServerIndex]>, digest: u64) -> Self {
        let count = u64::try_from(servers.len()).unwrap_or(u64::MAX);
        Self {
            stops: Stops {
                count,
                tags: GUARDED_TAGS,
                tag: guarded_tag(digest),
            },
            servers,
        }
    }

    /// The laps of a move, and the stops of a scan before it. All have different tags, and so has a scan after it.
    fn of_move(
        moving: &MoveState,
        [before, after]: &[Arc<[ServerIndex]>; 2],
    ) -> (Vec<Self>, Option<Stops>) {
        let earlier = Self::plain(Arc::clone(before), moving.before.digest());
        let later = Self::plain(Arc::clone(after), moving.after.digest());
        let mut digest = FnvHasher::default();
        digest.write(moving.id.as_bytes());
        let digest = digest.finish();
        let mut taken = vec![earlier.stops.tag, later.stops.tag];
        let mut lap = |servers: &Arc<[ServerIndex]>| {
            let mut candidates =
                (0..GUARDED_TAGS).map(|more| guarded_tag(digest.wrapping_add(more)));
            let tag = candidates.find(|tag| !taken.contains(tag));
            let tag = tag.unwrap_or_default();
            taken.push(tag);
            let mut lap = Self::plain(Arc::clone(servers), 0);
            lap.stops.tag = tag;
            lap
        };
        (vec![lap(before), lap(after)], Some(earlier.stops))
    }
}

impl Sight {
    fn certain(is_shown: bool) -> Self {
        if is_shown { Self::Shown } else { Self::Hidden }
    }
}

/// What a lap shows of a key at a server.
fn sight(router: &Router, (lap, server): (usize, ServerIndex), key: &[u8]) -> Sight {
    if is_mark(key) {
        return Sight::Hidden;
    }
    let Some(place) = router.whereabouts(key) else {
        // A move may have begun since.
        return Sight::certain(router.route(key) == Some(server));
    };
    let is_of_lap = if lap == 0 {
        place.before == server
    } else {
        place.after == server && place.is_moving()
    };
    match is_of_lap {
        false => Sight::Hidden,
        true if place.is_held => Sight::Uncertain,
        true => Sight::certain(place.owner() == server),
    }
}
