//! The changes of a mark: one script, which checks and writes in one step.

use bytes::{Bytes, BytesMut};

use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::inspect;
use crate::topology::{BucketSet, Decision, Intent, Mark, Placement, State};

/// The script. It needs no `allow-oom`, which servers before 7.0 do not know: its first write is a deletion.
const SCRIPT: &str = include_str!("change.lua");

/// A change of a mark. All but [`Change::Abort`], [`Change::Forget`] and [`Change::Recall`] are a coordinator's, and carry its
/// term.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Begins a move, or has a new coordinator take it over: then only the term is raised. In a mark that has no such move,
    /// `hold` and `moved` are what is known otherwise.
    Arm {
        /// The id of the move.
        move_id: &'a str,
        /// The term of the coordinator, higher than any before.
        term: u64,
        /// The placement before the move.
        before: &'a Placement,
        /// The placement after it.
        after: &'a Placement,
        /// The number of the last hold.
        hold: u64,
        /// The buckets that have moved.
        moved: &'a BucketSet,
    },
    /// Holds buckets.
    Hold(By<'a>, u64, &'a BucketSet),
    /// Commits a hold: `moved` is all that has moved then.
    Commit(By<'a>, u64, &'a BucketSet),
    /// Aborts a hold, by anybody.
    Abort {
        /// The id of the move.
        move_id: &'a str,
        /// The hold.
        hold: u64,
    },
    /// Renews the mark of a server that was restarted: `hold` is a new number, and what was held is decided.
    Settle {
        /// The coordinator.
        by: By<'a>,
        /// A new number.
        hold: u64,
        /// Its outcome.
        decision: Decision,
        /// All that has moved.
        moved: &'a BucketSet,
    },
    /// Copies what has moved away from another server, and removes the intent for it.
    CopyMoved(By<'a>, &'a str, &'a BucketSet),
    /// Records a hold at another server that is about to be committed.
    Intend(By<'a>, &'a str, &'a Intent),
    /// Removes that, after an abort.
    ForgetIntent(By<'a>, &'a str),
    /// Ends the move.
    Finish(By<'a>, State),
    /// Removes the mark of this move, which has ended, by anybody.
    Forget(&'a str),
    /// Writes the mark of a move that has ended, where there is none any more, by anybody.
    Recall(&'a Mark),
}

/// A coordinator of a move.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The id of the move.
    pub move_id: &'a str,
    /// Its term.
    pub term: u64,
}

/// What the script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The mark was changed.
    Done,
    /// The hold has this outcome, by this proposal or an earlier one.
    Decided(Decision),
    /// There is a coordinator of this or a higher term.
    Superseded(u64),
    /// Another move is under way, with this id.
    Busy(String),
    /// The mark is of another move or hold, or there is none.
    Lost,
    /// The server has been restarted since the mark was renewed.
    Restarted,
}

impl Change<'_> {
    /// Writes the request, for the mark with this key.
    pub fn write(&self, key: &str, out: &mut BytesMut) {
        let mut words = vec![
            "EVAL".to_owned(),
            SCRIPT.to_owned(),
            "1".to_owned(),
            key.to_owned(),
        ];
        words.extend(self.arguments());
        let words: Vec<_> = words.iter().map(String::as_bytes).collect();
        write_request(&words, out);
    }

    fn arguments(&self) -> Vec<String> {
        let by = |name: &str, by: &By<'_>, rest: &[&dyn ToString]| {
            let mut words = vec![name.to_owned(), by.move_id.to_owned(), by.term.to_string()];
            words.extend(rest.iter().map(|word| word.to_string()));
            words
        };
        match self {
            Self::Arm {
                move_id,
                term,
                before,
                after,
                hold,
                moved,
            } => vec![
                "arm".to_owned(),
                (*move_id).to_owned(),
                term.to_string(),
                before.to_json(),
                after.to_json(),
                hold.to_string(),
                BucketSet::EMPTY.to_string(),
                moved.to_string(),
            ],
            Self::Hold(coordinator, hold, buckets) => by("hold", coordinator, &[hold, buckets]),
            Self::Commit(coordinator, hold, moved) => by("commit", coordinator, &[hold, moved]),
            Self::Abort { move_id, hold } => {
                vec!["abort".to_owned(), (*move_id).to_owned(), hold.to_string()]
            }
            Self::Settle {
                by: coordinator,
                hold,
                decision,
                moved,
            } => by("settle", coordinator, &[hold, &decision.name(), moved]),
            Self::CopyMoved(coordinator, server, moved) => {
                by("copy", coordinator, &[server, moved])
            }
            Self::Intend(coordinator, server, intent) => {
                by("intend", coordinator, &[server, &intent.to_text()])
            }
            Self::ForgetIntent(coordinator, server) => by("forget", coordinator, &[server]),
            Self::Forget(move_id) => vec!["remove".to_owned(), (*move_id).to_owned()],
            Self::Finish(coordinator, state) => by("finish", coordinator, &[&state.name()]),
            Self::Recall(mark) => vec![
                "recall".to_owned(),
                mark.move_id.clone(),
                mark.state.name().to_owned(),
                mark.term.to_string(),
                mark.before.to_json(),
                mark.after.to_json(),
                mark.hold.to_string(),
                BucketSet::EMPTY.to_string(),
                mark.moved.to_string(),
            ],
        }
    }
}

impl Outcome {
    /// Reads the reply to a change; `Err` is a reply that the script does not give, such as an error of the server.
    pub fn read(reply: &Bytes) -> Result<Self, Bytes> {
        let words: Option<Vec<_>> = inspect::elements(reply).and_then(|words| {
            let text = |word| Some(String::from_utf8_lossy(inspect::bulk(word)?).into_owned());
            words.map(text).collect()
        });
        let words = words.unwrap_or_default();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Ok(match *words.as_slice() {
            ["ok"] => Self::Done,
            ["lost"] => Self::Lost,
            ["restarted"] => Self::Restarted,
            ["busy", other] => Self::Busy(other.to_owned()),
            ["term", term] => Self::Superseded(term.parse().map_err(|_| reply.clone())?),
            ["open", _] => Self::Decided(Decision::Open),
            [word] => {
                let decision = Decision::from_name(word);
                Self::Decided(decision.ok_or_else(|| reply.clone())?)
            }
            _ => return Err(reply.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_of_the_script_are_read() {
        for (reply, expected) in [
            ("*1\r\n$2\r\nok\r\n", Some(Outcome::Done)),
            ("*1\r\n$4\r\nlost\r\n", Some(Outcome::Lost)),
            ("*1\r\n$9\r\nrestarted\r\n", Some(Outcome::Restarted)),
            (
                "*2\r\n$4\r\nbusy\r\n$2\r\nm1\r\n",
                Some(Outcome::Busy("m1".to_owned())),
            ),
            (
                "*2\r\n$4\r\nterm\r\n$1\r\n7\r\n",
                Some(Outcome::Superseded(7)),
            ),
            (
                "*2\r\n$4\r\nopen\r\n$1\r\n7\r\n",
                Some(Outcome::Decided(Decision::Open)),
            ),
            (
                "*1\r\n$6\r\ncommit\r\n",
                Some(Outcome::Decided(Decision::Commit)),
            ),
            (
                "*1\r\n$5\r\nabort\r\n",
                Some(Outcome::Decided(Decision::Abort)),
            ),
            ("*1\r\n$5\r\nother\r\n", None),
            ("-NOPERM this user has no permissions\r\n", None),
            ("*0\r\n", None),
        ] {
            let reply = Bytes::from_static(reply.as_bytes());
            let read = Outcome::read(&reply);
            assert_eq!(read, expected.ok_or_else(|| reply.clone()));
        }
    }
}
