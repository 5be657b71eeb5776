//! Replies as trees, in which the order of sets and maps does not count.

/// A reply in RESP3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    Number(i64),
    Text(String),
    Array(Vec<Self>),
    /// Sorted.
    Set(Vec<Self>),
    /// Sorted by key.
    Map(Vec<(Self, Self)>),
}

impl Value {
    /// The whole of `reply`.
    pub(super) fn of(reply: &[u8]) -> Self {
        let mut rest = reply;
        let value = Self::take(&mut rest);
        assert!(rest.is_empty(), "more than one reply");
        value
    }

    fn take(rest: &mut &[u8]) -> Self {
        let line_len = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let (line, after) = rest.split_at(line_len);
        *rest = &after[2..];
        let text = String::from_utf8(line[1..].to_vec()).unwrap();
        let number = || text.parse::<usize>().unwrap();
        match line[0] {
            b'_' => Self::Null,
            b':' => Self::Number(text.parse().unwrap()),
            b'+' | b'-' => Self::Text(text),
            b'$' => {
                let (bytes, after) = rest.split_at(number());
                *rest = &after[2..];
                Self::Text(String::from_utf8(bytes.to_vec()).unwrap())
            }
            b'*' => Self::Array((0..number()).map(|_| Self::take(rest)).collect()),
            b'~' => {
                let mut items: Vec<Self> = (0..number()).map(|_| Self::take(rest)).collect();
                items.sort();
                Self::Set(items)
            }
            b'%' => {
                let pairs = (0..number()).map(|_| (Self::take(rest), Self::take(rest)));
                let mut pairs: Vec<(Self, Self)> = pairs.collect();
                pairs.sort();
                Self::Map(pairs)
            }
            _ => panic!("{text}"),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    /// The elements of an array or a set.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Set(items) => items,
            other => panic!("no items: {other:?}"),
        }
    }

    pub(super) fn pairs(&self) -> &[(Self, Self)] {
        match self {
            Self::Map(pairs) => pairs,
            other => panic!("no map: {other:?}"),
        }
    }

    /// The value of `key` in a map.
    pub(super) fn field(&self, key: &str) -> Option<&Self> {
        let pair = self.pairs().iter().find(|(name, _)| name.text() == key)?;
        Some(&pair.1)
    }

    /// The same without the entries of `key` in maps, at any depth.
    pub(super) fn without(self, key: &str) -> Self {
        match self {
            Self::Array(items) => Self::Array(items.into_iter().map(|v| v.without(key)).collect()),
            Self::Set(items) => {
                let mut items: Vec<Self> = items.into_iter().map(|v| v.without(key)).collect();
                items.sort();
                Self::Set(items)
            }
            Self::Map(pairs) => Self::Map(
                pairs
                    .into_iter()
                    .filter(|(name, _)| !matches!(name, Self::Text(name) if name == key))
                    .map(|(name, value)| (name, value.without(key)))
                    .collect(),
            ),
            other => other,
        }
    }
}
