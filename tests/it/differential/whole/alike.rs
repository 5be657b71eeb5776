//! The comparison of two replies.

/// Numbers that differ by less count as the same time, in seconds or milliseconds.
const CLOSE: f64 = 5000.0;

/// The comparison that the replies to a request must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The same bytes.
    Same,
    /// The same elements in any order.
    AnyOrder,
    /// The same pairs in any order.
    Pairs,
    /// The same kind of reply; an error must be the same error.
    Kind,
    /// The same, but numbers need only be close to each other.
    Close,
}

impl Mark {
    /// The mark before a request, and the request.
    pub(super) fn read(part: &str) -> (Self, &str) {
        match part.split_at(1) {
            ("~", rest) => (Self::AnyOrder, rest),
            ("%", rest) => (Self::Pairs, rest),
            ("?", rest) => (Self::Kind, rest),
            ("@", rest) => (Self::Close, rest),
            _ => (Self::Same, part),
        }
    }

    pub(super) fn holds(self, one: &[u8], other: &[u8]) -> bool {
        if one == other {
            return true;
        }
        let (one, other) = (Value::read(one), Value::read(other));
        match self {
            Self::Same => false,
            Self::AnyOrder => one.sorted(1) == other.sorted(1),
            Self::Pairs => one.sorted(2) == other.sorted(2),
            Self::Kind => one.kind() == other.kind() && one.kind() != b'-',
            Self::Close => one.is_close(&other),
        }
    }
}

/// A parsed reply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// With its first byte.
    Line(Vec<u8>),
    Bulk(u8, Vec<u8>),
    Many(u8, Vec<Self>),
}

impl Value {
    fn read(bytes: &[u8]) -> Self {
        Self::read_at(bytes, &mut 0)
    }

    fn read_at(bytes: &[u8], at: &mut usize) -> Self {
        let len = bytes[*at..]
            .windows(2)
            .position(|two| two == b"\r\n")
            .unwrap();
        let line = &bytes[*at..*at + len];
        *at += len + 2;
        let number = || std::str::from_utf8(&line[1..]).unwrap().parse::<usize>();
        match (line[0], number()) {
            (kind @ (b'$' | b'!' | b'='), Ok(len)) => {
                *at += len + 2;
                Self::Bulk(kind, bytes[*at - len - 2..*at - 2].to_vec())
            }
            (kind @ (b'*' | b'~' | b'>'), Ok(len)) => {
                Self::Many(kind, (0..len).map(|_| Self::read_at(bytes, at)).collect())
            }
            (kind @ b'%', Ok(len)) => {
                let pair = |at: &mut usize| {
                    let two = [Self::read_at(bytes, at), Self::read_at(bytes, at)];
                    Self::Many(b' ', two.to_vec())
                };
                Self::Many(kind, (0..len).map(|_| pair(at)).collect())
            }
            _ => Self::Line(line.to_vec()),
        }
    }

    /// With the elements of every array in order, `group` of them at a time.
    fn sorted(self, group: usize) -> Self {
        let Self::Many(kind, items) = self else {
            return self;
        };
        let items: Vec<Self> = items.into_iter().map(|item| item.sorted(group)).collect();
        let mut groups: Vec<Vec<Self>> = items.chunks(group).map(<[_]>::to_vec).collect();
        groups.sort();
        Self::Many(kind, groups.concat())
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Line(line) => line[0],
            Self::Bulk(kind, _) | Self::Many(kind, _) => *kind,
        }
    }

    fn is_close(&self, other: &Self) -> bool {
        let near = |one: &[u8], other: &[u8]| {
            let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
            number(one)
                .zip(number(other))
                .is_some_and(|(one, other)| (one - other).abs() < CLOSE)
        };
        match (self, other) {
            (Self::Line(one), Self::Line(other)) => {
                one == other || (one[0] == other[0] && near(&one[1..], &other[1..]))
            }
            (Self::Bulk(kind, one), Self::Bulk(as_well, other)) => {
                kind == as_well && (one == other || near(one, other))
            }
            (Self::Many(kind, one), Self::Many(as_well, other)) => {
                let alike = || {
                    one.iter()
                        .zip(other)
                        .all(|(one, other)| one.is_close(other))
                };
                kind == as_well && one.len() == other.len() && alike()
            }
            _ => false,
        }
    }
}

#[test]
fn comparison_marks_match_only_what_they_stand_for() {
    let cases: [(Mark, &str, &str, bool); 12] = [
        (Mark::Same, "+OK\r\n", "+OK\r\n", true),
        (Mark::Same, "+OK\r\n", "+ok\r\n", false),
        (
            Mark::AnyOrder,
            "*2\r\n:1\r\n:2\r\n",
            "*2\r\n:2\r\n:1\r\n",
            true,
        ),
        (
            Mark::AnyOrder,
            "*2\r\n:1\r\n:2\r\n",
            "*2\r\n:2\r\n:2\r\n",
            false,
        ),
        (
            Mark::Pairs,
            "*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n",
            "*4\r\n:3\r\n:4\r\n:1\r\n:2\r\n",
            true,
        ),
        (
            Mark::Pairs,
            "*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n",
            "*4\r\n:1\r\n:4\r\n:3\r\n:2\r\n",
            false,
        ),
        (Mark::Kind, "$1\r\na\r\n", "$2\r\nbc\r\n", true),
        (Mark::Kind, "$1\r\na\r\n", ":1\r\n", false),
        (Mark::Kind, "-ERR a\r\n", "-ERR b\r\n", false),
        (Mark::Close, "*1\r\n:1000\r\n", "*1\r\n:1001\r\n", true),
        (Mark::Close, ":-1\r\n", ":9000\r\n", false),
        (Mark::Close, "$1\r\na\r\n", "$1\r\nb\r\n", false),
    ];
    for (mark, one, other, expected) in cases {
        assert_eq!(
            mark.holds(one.as_bytes(), other.as_bytes()),
            expected,
            "{mark:?} {one:?} {other:?}"
        );
    }
}
