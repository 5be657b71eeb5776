//! The hash at each server that says what is known there of a move, and decides about the keys of that server.

use std::collections::BTreeMap;
use std::str;
use std::sync::Arc;

use crate::topology::MARK_PREFIX;
use crate::topology::reshard::{BucketSet, Placement, PlacementError};

/// The contents of a mark. A field that a later version adds is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The id of the move.
    pub move_id: String,
    /// Where the move stands.
    pub state: State,
    /// Counts the coordinators.
    pub term: u64,
    /// The placement before the move.
    pub before: Arc<Placement>,
    /// The placement after it.
    pub after: Arc<Placement>,
    /// The number of the last hold at this server: see [`hold_number`].
    pub hold: u64,
    /// The buckets of that hold.
    pub buckets: BucketSet,
    /// What was decided about it.
    pub decision: Decision,
    /// The run id that the server had when the mark was armed, or renewed.
    pub run_id: String,
    /// The buckets of this server that have moved away.
    pub moved: BucketSet,
    /// The same for other servers, by their names: a copy, perhaps not of the last commit.
    pub moved_elsewhere: BTreeMap<String, BucketSet>,
    /// Holds at other servers, by their names, that were about to be committed.
    pub intents: BTreeMap<String, Intent>,
}

/// The number of a hold: no other hold has it, not even after the server has lost its mark, and a later one has a higher
/// number. It stays below 2^53, which the scripts can count to.
#[must_use]
pub const fn hold_number(term: u64, count: u32) -> u64 {
    (term << 24) | (count & 0xff_ffff) as u64
}

/// Where a move stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Keys are being moved.
    Armed,
    /// All keys have moved: the placement after the move is in force.
    Done,
    /// No key has moved: the placement before the move is in force.
    Aborted,
}

/// The outcome of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Not decided: requests wait.
    Open,
    /// The keys have moved.
    Commit,
    /// They have not.
    Abort,
}

/// A hold that was about to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The number of the hold.
    pub hold: u64,
    /// Its buckets.
    pub buckets: BucketSet,
    /// The run id of its server then.
    pub run_id: String,
}

/// The reason why fields are no mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// A field that every mark has is missing.
    #[error("the field '{0}' is missing")]
    Missing(&'static str),
    /// A field has a value that cannot be read.
    #[error("the field '{field}' has the value '{value}'")]
    Malformed {
        /// The name of the field.
        field: String,
        /// The value.
        value: String,
    },
    /// One of the placements cannot be read.
    #[error("the field '{field}': {error}")]
    Placement {
        /// The name of the field.
        field: &'static str,
        /// What is wrong.
        error: PlacementError,
    },
}

impl State {
    const ALL: [Self; 3] = [Self::Armed, Self::Done, Self::Aborted];

    /// The word in the mark.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Done => "done",
            Self::Aborted => "aborted",
        }
    }
}

impl Decision {
    const ALL: [Self; 3] = [Self::Open, Self::Commit, Self::Abort];

    /// The word in the mark.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Commit => "commit",
            Self::Abort => "abort",
        }
    }

    /// The decision of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|decision| decision.name() == name)
    }
}

impl Intent {
    /// The value of its field.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{} {} {}", self.hold, self.buckets, self.run_id)
    }

    fn parse(text: &str) -> Option<Self> {
        let (hold, rest) = text.split_once(' ')?;
        let (buckets, run_id) = rest.split_once(' ')?;
        Some(Self {
            hold: hold.parse().ok()?,
            buckets: BucketSet::parse(buckets)?,
            run_id: run_id.to_owned(),
        })
    }
}

impl Mark {
    /// The prefix of the field with the moved buckets of another server.
    const MOVED_AT: &str = "moved@";

    /// The prefix of the field with the intent for another server.
    const INTENT_AT: &str = "intent@";

    /// The key of the marks of a pool, and the channel on which their changes are published.
    #[must_use]
    pub fn key(pool: &str, database: u32) -> String {
        format!("{MARK_PREFIX}{pool}:{database}")
    }

    /// The channel on which proxies vouch for their connections.
    #[must_use]
    pub fn acks_channel(pool: &str, database: u32) -> String {
        Self::key(pool, database) + ":acks"
    }

    /// The pool in the names of connections, which may have no spaces.
    #[must_use]
    pub fn pool_in_names(pool: &str, database: u32) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let plain = |c: char| if is_plain(c) { c } else { '_' };
        format!("{}:{database}", pool.chars().map(plain).collect::<String>())
    }

    /// The name of a connection of a proxy over which no requests for keys go.
    #[must_use]
    pub fn other_name(pool: &str, database: u32, proxy: &str) -> String {
        format!("rr-other/{}/{proxy}", Self::pool_in_names(pool, database))
    }

    /// Reads the fields of a mark; none if there are no fields.
    pub fn read(fields: &[(&[u8], &[u8])]) -> Result<Option<Self>, MarkError> {
        if fields.is_empty() {
            return Ok(None);
        }
        let mut texts = BTreeMap::new();
        for (field, value) in fields {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            texts.insert(text(field), text(value));
        }
        Fields(texts).mark().map(Some)
    }

    /// The buckets whose requests wait for a decision.
    #[must_use]
    pub fn held(&self) -> BucketSet {
        match self.decision {
            Decision::Open if self.state == State::Armed => self.buckets,
            _ => BucketSet::EMPTY,
        }
    }
}

/// The fields by their names.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn mark(&self) -> Result<Mark, MarkError> {
        let state = self.get("state")?;
        let decision = self.get("decision")?;
        Ok(Mark {
            move_id: self.get("move")?.to_owned(),
            state: State::ALL
                .into_iter()
                .find(|known| known.name() == state)
                .ok_or_else(|| malformed("state", state))?,
            term: self.number("term")?,
            before: self.placement("before")?,
            after: self.placement("after")?,
            hold: self.number("hold")?,
            buckets: self.buckets("buckets")?,
            decision: Decision::from_name(decision)
                .ok_or_else(|| malformed("decision", decision))?,
            run_id: self.get("run")?.to_owned(),
            moved: self.buckets("moved")?,
            moved_elsewhere: self.by_server(Mark::MOVED_AT, BucketSet::parse)?,
            intents: self.by_server(Mark::INTENT_AT, Intent::parse)?,
        })
    }

    fn get(&self, field: &'static str) -> Result<&str, MarkError> {
        let value = self.0.get(field).map(String::as_str);
        value.ok_or(MarkError::Missing(field))
    }

    fn number(&self, field: &'static str) -> Result<u64, MarkError> {
        let value = self.get(field)?;
        value.parse().map_err(|_| malformed(field, value))
    }

    fn buckets(&self, field: &'static str) -> Result<BucketSet, MarkError> {
        let value = self.get(field)?;
        BucketSet::parse(value).ok_or_else(|| malformed(field, value))
    }

    fn placement(&self, field: &'static str) -> Result<Arc<Placement>, MarkError> {
        let placement = Placement::parse(self.get(field)?);
        placement
            .map(Arc::new)
            .map_err(|error| MarkError::Placement { field, error })
    }

    fn by_server<T>(
        &self,
        prefix: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<BTreeMap<String, T>, MarkError> {
        let named = self.0.iter().filter_map(|(field, value)| {
            let server = field.strip_prefix(prefix)?;
            Some((field, server, value))
        });
        let read = named.map(|(field, server, value)| {
            let parsed = parse(value).ok_or_else(|| malformed(field, value))?;
            Ok((server.to_owned(), parsed))
        });
        read.collect()
    }
}

fn malformed(field: &str, value: &str) -> MarkError {
    MarkError::Malformed {
        field: field.to_owned(),
        value: value.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::topology::Bucket;
    use crate::topology::reshard::placement::tests::placement;

    fn set(numbers: &[u16]) -> BucketSet {
        numbers.iter().copied().filter_map(Bucket::new).collect()
    }

    fn fields() -> Vec<(String, String)> {
        let fields = [
            ("move", "m1".to_owned()),
            ("state", "armed".to_owned()),
            ("term", "3".to_owned()),
            ("before", placement(&[("a", 1)]).to_json()),
            ("after", placement(&[("a", 1), ("b", 1)]).to_json()),
            ("hold", "7".to_owned()),
            ("buckets", set(&[1, 2]).to_string()),
            ("decision", "open".to_owned()),
            ("run", "r1".to_owned()),
            ("moved", set(&[5]).to_string()),
            ("moved@b", set(&[6]).to_string()),
            ("intent@c d", format!("9 {} r7", set(&[8]))),
            ("later", "x".to_owned()),
        ];
        fields.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn read(fields: &[(String, String)]) -> Result<Option<Mark>, MarkError> {
        let bytes = |(name, value): &'_ (String, String)| (name.clone(), value.clone());
        let owned: Vec<_> = fields.iter().map(bytes).collect();
        let fields: Vec<_> = owned
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        Mark::read(&fields)
    }

    #[test]
    fn mark_is_read_with_what_other_servers_said() {
        let mark = read(&fields()).unwrap().unwrap();
        assert_eq!((mark.move_id.as_str(), mark.state), ("m1", State::Armed));
        assert_eq!((mark.term, mark.hold), (3, 7));
        assert_eq!((mark.held(), mark.moved), (set(&[1, 2]), set(&[5])));
        assert_eq!(mark.moved_elsewhere["b"], set(&[6]));
        let intent = Intent {
            hold: 9,
            buckets: set(&[8]),
            run_id: "r7".to_owned(),
        };
        assert_eq!(mark.intents["c d"], intent);
        assert_eq!(Intent::parse(&intent.to_text()), Some(intent));
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn nothing_is_held_after_a_decision() {
        for (field, value) in [
            ("decision", "commit"),
            ("decision", "abort"),
            ("state", "aborted"),
        ] {
            let mut fields = fields();
            let place = fields.iter_mut().find(|(name, _)| name == field);
            value.clone_into(&mut place.unwrap().1);
            assert!(read(&fields).unwrap().unwrap().held().is_empty());
        }
    }

    #[test]
    fn faulty_fields_are_named() {
        for name in [
            "move", "state", "term", "before", "hold", "buckets", "decision", "run",
        ] {
            let mut fields = fields();
            fields.retain(|(field, _)| field != name);
            let error = read(&fields).unwrap_err();
            assert_eq!(error.to_string(), format!("the field '{name}' is missing"));
        }
        for (name, message) in [
            ("term", "the field 'term' has the value 'x'"),
            ("moved@b", "the field 'moved@b' has the value 'x'"),
            ("intent@c d", "the field 'intent@c d' has the value 'x'"),
        ] {
            let mut fields = fields();
            let place = fields.iter_mut().find(|(field, _)| field == name);
            "x".clone_into(&mut place.unwrap().1);
            assert_eq!(read(&fields).unwrap_err().to_string(), message);
        }
    }
}
