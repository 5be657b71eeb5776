//! The notes about a move at each of its servers, beside the mark: what its coordinator does, and whether it is to pause.
//!
//! They decide nothing about keys, so they are a hash of their own, `ringroad:mark:POOL:DB:notes` in database 0: lost or old
//! notes cost a look at them, not safety. Only `notes.lua` writes them: of the move that the mark is of, as long as it is
//! armed; the progress is only that of the coordinator that leads.
//!
//! | field | meaning |
//! |---|---|
//! | `move` | the id of the move |
//! | `paused` | there if the coordinator is to pause; one server that says so is enough |
//! | `progress` | at a source: [`Published`], as JSON |
//! | `at` | when that was written, in seconds since 1970 by the server's clock |

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::redis::mark::{By, Outcome};
use crate::protocol::redis::resp::inspect;
use crate::reshard::error::ReshardError;
use crate::reshard::server::{Names, Server};

const SCRIPT: &str = include_str!("notes.lua");

/// A change of the notes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Note<'a> {
    /// What the coordinator does at this source.
    Progress(By<'a>, &'a Published),
    /// The coordinator of this move is to pause.
    Pause(&'a str),
    /// It is to go on.
    Resume(&'a str),
}

/// What the notes at a server say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Notes {
    pub(super) is_paused: bool,
    /// What the coordinator has done there, and how long ago it said so.
    pub(super) published: Option<(Published, Duration)>,
}

/// What a coordinator has done at one source, since it took the lead. A field that a later version adds is ignored, and one
/// that an earlier one lacks has its default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Published {
    /// What all of the move is at.
    pub(super) phase: String,
    /// It pauses, since it was told to.
    pub(super) is_paused: bool,
    /// The reason for which this source waits.
    pub(super) waiting: Option<String>,
    /// Keys that the scan has found.
    pub(super) scanned: u64,
    pub(super) is_scanned: bool,
    /// Those of them that move, by destination.
    pub(super) found: Vec<(String, u64)>,
    pub(super) copies: u64,
    pub(super) bytes: u64,
    pub(super) per_second: u64,
    /// Changed keys that are to be copied again.
    pub(super) backlog: u64,
    /// Keys whose changes are not all told: they are copied in their hold.
    pub(super) untold: u64,
    /// The copies make pauses for the source's sake.
    pub(super) is_slowed: bool,
    /// Copies that somebody else changed or that were evicted, and that were made again.
    pub(super) foreign: u64,
    /// Keys that somebody has written here after they had moved.
    pub(super) stale: u64,
    /// One of them, printable.
    pub(super) stale_key: Option<String>,
    pub(super) holds: Holds,
}

/// The holds of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Holds {
    pub(super) committed: u64,
    /// The times of those, in microseconds.
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
    pub(super) aborted: u64,
    pub(super) aborted_in_a_row: u64,
    /// The reason of the last one that was aborted.
    pub(super) last_abort: Option<String>,
}

impl Holds {
    /// Sums up the times of holds that were committed.
    pub(super) fn of(times: &[Duration]) -> Self {
        let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut times: Vec<_> = times.iter().map(micros).collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let last = times.len().saturating_sub(1);
            times.get(last * percent / 100).copied().unwrap_or_default()
        };
        Self {
            committed: times.len() as u64,
            p50_us: at(50),
            p99_us: at(99),
            max_us: at(100),
            ..Self::default()
        }
    }
}

impl Server {
    /// Changes its notes.
    pub(super) fn note(&self, names: &Names, note: &Note<'_>) -> Result<Outcome, ReshardError> {
        let mut words = vec!["EVAL", SCRIPT, "2", &names.key, &names.notes];
        let (term, progress);
        match note {
            Note::Progress(by, published) => {
                term = by.term.to_string();
                progress = serde_json::to_string(published).unwrap_or_default();
                words.extend(["progress", by.move_id, &term, &progress]);
            }
            Note::Pause(move_id) => words.extend(["pause", move_id]),
            Note::Resume(move_id) => words.extend(["resume", move_id]),
        }
        let reply = self.call(&words)?;
        Outcome::read(&reply).map_err(|reply| self.odd(&reply))
    }

    /// Reads its notes about a move.
    pub(super) fn read_notes(&self, names: &Names, move_id: &str) -> Result<Notes, ReshardError> {
        let replies = self.ask(|connection| {
            let fields: [&[u8]; 4] = [b"move", b"paused", b"progress", b"at"];
            connection.queue(&[&[b"HMGET", names.notes.as_bytes()], &fields[..]].concat());
            connection.queue(&[b"TIME"]);
            connection.finish()
        })?;
        read(&replies, move_id).ok_or_else(|| self.odd(replies.first().unwrap_or(&Bytes::new())))
    }

    fn odd(&self, reply: &[u8]) -> ReshardError {
        ReshardError::Reply {
            server: self.at.to_string(),
            reply: String::from_utf8_lossy(reply).into_owned(),
        }
    }
}

/// Reads the replies to HMGET and TIME.
fn read(replies: &[Bytes], move_id: &str) -> Option<Notes> {
    let [fields, time] = replies else {
        return None;
    };
    let fields: Vec<_> = inspect::elements(fields)?.map(inspect::bulk).collect();
    let &[id, paused, progress, at] = fields.as_slice() else {
        return None;
    };
    if id != Some(move_id.as_bytes()) {
        return Some(Notes::default());
    }
    let number = |text: &[u8]| str::from_utf8(text).ok()?.parse::<u64>().ok();
    let now = inspect::elements(time)?.next().and_then(inspect::bulk)?;
    let age = number(now)?.saturating_sub(at.and_then(number).unwrap_or_default());
    let published = progress.and_then(|json| serde_json::from_slice(json).ok());
    Some(Notes {
        is_paused: paused.is_some(),
        published: published.map(|published| (published, Duration::from_secs(age))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_another_move_say_nothing() {
        let json = r#"{"phase":"moving","copies":7,"later":1}"#;
        let fields = format!(
            "*4\r\n$1\r\nm\r\n$1\r\n1\r\n${}\r\n{json}\r\n$2\r\n90\r\n",
            json.len()
        );
        let replies = [fields, "*2\r\n$3\r\n100\r\n$1\r\n5\r\n".to_owned()].map(Bytes::from);
        let published = Published {
            phase: "moving".to_owned(),
            copies: 7,
            ..Published::default()
        };
        let expected = Notes {
            is_paused: true,
            published: Some((published, Duration::from_secs(10))),
        };
        assert_eq!(read(&replies, "m"), Some(expected));
        assert_eq!(read(&replies, "n"), Some(Notes::default()));
        let none = [
            "*4\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n",
            "*2\r\n$3\r\n100\r\n$1\r\n5\r\n",
        ];
        let none = none.map(Bytes::from);
        assert_eq!(read(&none, "m"), Some(Notes::default()));
        assert_eq!(read(&none[1..], "m"), None);
    }

    #[test]
    fn holds_are_summed_up() {
        assert_eq!(Holds::of(&[]), Holds::default());
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let holds = Holds::of(&times);
        assert_eq!((holds.committed, holds.max_us), (200, 200_000));
        assert_eq!((holds.p50_us, holds.p99_us), (100_000, 198_000));
    }
}
