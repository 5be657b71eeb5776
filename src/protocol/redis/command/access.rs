//! The key access of commands, for `COMMAND` and `COMMAND GETKEYSANDFLAGS`, with Redis's flags: `RO` reads, `RW` may
//! change, `OW` overwrites, `RM` deletes the key itself; `access` returns values, `update`, `insert` and `delete`
//! describe the change of the value. `not_key` is routed like a key, but is none.
//!
//! Positions come from the column `keys` of the table. This file has the rest.

use crate::protocol::redis::command::{Command, Keys, flags};

/// The commands that have keys and are not plain readers of values (`RO access`), by their access.
///
/// `FIRST + OTHERS`: the access of the first key differs.
pub(crate) const BY_ACCESS: &[(&str, &str)] = &[
    (
        "RO",
        "EXISTS HEXISTS HLEN HSTRLEN LLEN MEMORY|USAGE OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT SCARD \
         SISMEMBER STRLEN TOUCH TYPE WATCH XLEN ZCARD",
    ),
    (
        "RO access + OW update",
        "COPY GEORADIUS GEORADIUSBYMEMBER SORT",
    ),
    ("RO access", "SORT_RO XREADGROUP"),
    (
        "RW update",
        "ARINSERT ARMSET ARRING ARSEEK ARSET EXPIRE EXPIREAT GEOADD HEXPIRE HEXPIREAT HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX LSET PERSIST PEXPIRE \
         PEXPIREAT SETRANGE XACK XADD XCFGSET XCLAIM XGROUP|SETID XNACK XSETID ZADD",
    ),
    (
        "RW insert",
        "APPEND HSETNX LINSERT LPUSH LPUSHX PFADD RPUSH RPUSHX SADD XGROUP|CREATE XGROUP|CREATECONSUMER",
    ),
    (
        "RW delete",
        "ARDEL ARDELRANGE DELEX DELIFEQ HDEL LREM LTRIM SREM XAUTOCLAIM XDEL XDELEX XGROUP|DELCONSUMER XGROUP|DESTROY XTRIM ZREM \
         ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE",
    ),
    ("RW update delete", "XACKDEL"),
    ("RW access", "PFCOUNT PFDEBUG"),
    (
        "RW access update",
        "DECR DECRBY EVAL EVALSHA FCALL GETEX GETSET HGETEX HINCRBY HINCRBYFLOAT INCR INCRBY INCRBYFLOAT INCREX MOVE \
         SETBIT ZINCRBY",
    ),
    ("RW access update variable_flags", "BITFIELD SET"),
    (
        "RW access delete",
        "BLMPOP BLPOP BRPOP BZMPOP BZPOPMAX BZPOPMIN GETDEL HGETDEL LMPOP LPOP MIGRATE RPOP SPOP ZMPOP ZPOPMAX ZPOPMIN",
    ),
    (
        "RW access delete + RW insert",
        "BLMOVE BRPOPLPUSH LMOVE RPOPLPUSH SMOVE",
    ),
    ("RW access delete + OW update", "RENAME"),
    ("RW access delete + OW insert", "RENAMENX"),
    ("RW access insert + RO access", "PFMERGE"),
    ("RW update + RO access", "SINTERSTORE"),
    ("OW insert", "MSETNX SETNX"),
    (
        "OW update",
        "MSET MSETEX PSETEX RESTORE RESTORE-ASKING SETEX",
    ),
    (
        "OW update + RO access",
        "BITOP CMS.MERGE GEOSEARCHSTORE SDIFFSTORE SUNIONSTORE TDIGEST.MERGE ZDIFFSTORE ZINTERSTORE ZRANGESTORE \
         ZUNIONSTORE",
    ),
    ("RM delete", "DEL UNLINK"),
    ("not_key", "SPUBLISH SSUBSCRIBE SUNSUBSCRIBE"),
];

/// The position of one or more keys of a command, and the access to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The flags of the access.
    pub access: &'static str,
    /// The start of the search.
    pub begin: Begin,
    /// The arguments from there on that are keys.
    pub find: Find,
}

/// The start of the search for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At this position.
    Index(u8),
    /// After this word, which is searched for from this position on; negative: backwards from the end.
    Keyword(&'static str, i8),
    /// Known only to the command.
    Unknown,
}

/// The arguments that are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// From the first to this one, with a step.
    Range {
        /// Counted from the first; negative: from the end of the arguments.
        last: i8,
        /// Arguments from one key to the next.
        step: u8,
        /// Keys are the first of this many equal parts; 0: all.
        limit: u8,
    },
    /// The number in the first argument, and the keys after it, with a step.
    Counted {
        /// Arguments from one key to the next.
        step: u8,
    },
    /// Known only to the command.
    Unknown,
}

/// One argument.
const ONE: Find = Find::Range {
    last: 0,
    step: 1,
    limit: 0,
};

impl Command {
    /// The access to its first key, and to the others.
    #[must_use]
    pub fn access(&self) -> (&'static str, &'static str) {
        let listed = BY_ACCESS
            .iter()
            .find(|(_, names)| names.split_ascii_whitespace().any(|name| name == self.name));
        match listed {
            Some((access, _)) => access.split_once(" + ").unwrap_or((access, access)),
            None if self.flags & flags::WRITE != 0 => ("RW update", "RW update"),
            None => ("RO access", "RO access"),
        }
    }

    /// As [`Self::access`], refined by the arguments of a request.
    pub fn access_by<'a>(
        &self,
        args: impl Iterator<Item = &'a [u8]>,
    ) -> (&'static str, &'static str) {
        let (options, otherwise): (&[&str], _) = match self.name {
            "SET" => (&["GET"], "OW update"),
            "BITFIELD" => (&["SET", "INCRBY"], "RO access"),
            _ => return self.access(),
        };
        // The value of SET may look like an option; in BITFIELD that position is one.
        let values = usize::from(self.name == "SET");
        let has = args.skip(2 + values).any(|arg| {
            options
                .iter()
                .any(|option| arg.eq_ignore_ascii_case(option.as_bytes()))
        });
        let access = if has { "RW access update" } else { otherwise };
        (access, access)
    }

    /// The specifications of its keys, as `COMMAND` reports them.
    #[must_use]
    pub fn key_specs(&self) -> Vec<KeySpec> {
        let (own, others) = self.access();
        let at = |access, index, find| KeySpec {
            access,
            begin: Begin::Index(index),
            find,
        };
        let behind = |word, from, find| KeySpec {
            access: others,
            begin: Begin::Keyword(word, from),
            find,
        };
        let range = |from: u8, last: i8, step| Find::Range {
            last: if last < 0 {
                last
            } else {
                last.saturating_sub_unsigned(from)
            },
            step,
            limit: 0,
        };
        match self.keys {
            Keys::None => Vec::new(),
            Keys::At(index) => vec![at(own, index, ONE)],
            Keys::Range { first, last, step } if own == others => {
                vec![at(own, first, range(first, last, step))]
            }
            Keys::Range { first, last, step } => vec![
                at(own, first, ONE),
                at(others, first + 1, range(first + 1, last, step)),
            ],
            Keys::Counted {
                into: false,
                count,
                step,
            } => vec![at(own, count, Find::Counted { step })],
            Keys::Counted { count, step, .. } => {
                vec![at(own, 1, ONE), at(others, count, Find::Counted { step })]
            }
            Keys::Sort => {
                let unknown = |access| KeySpec {
                    access,
                    begin: Begin::Unknown,
                    find: Find::Unknown,
                };
                let stores = (own != others).then(|| unknown(others));
                [at(own, 1, ONE), unknown(own)]
                    .into_iter()
                    .chain(stores)
                    .collect()
            }
            Keys::Radius { options } => {
                let options = options.cast_signed();
                vec![
                    at(own, 1, ONE),
                    behind("STORE", options, ONE),
                    behind("STOREDIST", options, ONE),
                ]
            }
            Keys::Streams => {
                let from = if self.name == "XREADGROUP" { 4 } else { 1 };
                let half = Find::Range {
                    last: -1,
                    step: 1,
                    limit: 2,
                };
                vec![behind("STREAMS", from, half)]
            }
            Keys::Migrate => vec![at(own, 3, ONE), behind("KEYS", -2, range(0, -1, 1))],
        }
    }
}
