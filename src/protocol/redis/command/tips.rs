//! Redis's metadata of commands that is not in the columns of the table: categories that follow from no column, and the
//! tips for its cluster clients. For `COMMAND`.

use crate::protocol::redis::command::{Command, Group, flags};

/// Categories of commands in addition to those that follow from their group and flags.
pub(crate) const CATEGORIES: &[(&str, &str)] = &[
    (
        "dangerous",
        "FLUSHALL FLUSHDB INFO KEYS LASTSAVE MIGRATE RESTORE RESTORE-ASKING ROLE SFLUSH SORT SORT_RO SWAPDB",
    ),
    ("admin", "LASTSAVE ROLE"),
    (
        "keyspace",
        "CLUSTER|FLUSHSLOT CLUSTERSCAN DBSIZE FLUSHALL FLUSHDB RESTORE-ASKING SFLUSH SWAPDB",
    ),
    (
        "connection",
        "ASKING COMMAND COMMAND|COUNT COMMAND|DOCS COMMAND|GETKEYS COMMAND|GETKEYSANDFLAGS COMMAND|HELP COMMAND|INFO \
         COMMAND|LIST READONLY READWRITE WAIT WAITAOF",
    ),
    ("list", "SORT SORT_RO"),
    ("set", "SORT SORT_RO"),
    ("sortedset", "SORT SORT_RO"),
];

/// Commands that are not in the category of their group.
const OUTSIDE: &str = "SORT SORT_RO WAIT WAITAOF";

/// The commands with each tip.
pub(crate) const TIPS: &[(&str, &str)] = &[
    (
        "nondeterministic_output",
        "CLIENT|INFO CLIENT|LIST CLUSTER|BUMPEPOCH CLUSTER|COUNT-FAILURE-REPORTS CLUSTER|GETKEYSINSLOT \
         CLUSTER|GETSLOTMIGRATIONS CLUSTER|INFO CLUSTER|LINKS CLUSTER|MYSHARDID CLUSTER|NODES CLUSTER|REPLICAS \
         CLUSTER|SHARDS CLUSTER|SLAVES CLUSTER|SLOT-STATS CLUSTER|SLOTS COMMANDLOG|GET COMMANDLOG|LEN DUMP \
         FUNCTION|STATS HRANDFIELD HSCAN INFO LASTSAVE LATENCY|DOCTOR LATENCY|GRAPH LATENCY|HISTOGRAM LATENCY|HISTORY \
         LATENCY|LATEST MEMORY|DOCTOR MEMORY|MALLOC-STATS MEMORY|STATS MIGRATE OBJECT|ENCODING OBJECT|FREQ \
         OBJECT|IDLETIME OBJECT|REFCOUNT PTTL RANDOMKEY SCAN SLOWLOG|GET SLOWLOG|LEN SPOP SRANDMEMBER SSCAN TIME TTL XADD \
         XAUTOCLAIM XCLAIM XINFO|CONSUMERS XPENDING XTRIM ZRANDMEMBER ZSCAN",
    ),
    (
        "nondeterministic_output_order",
        "COMMAND COMMAND|DOCS COMMAND|INFO COMMAND|LIST FUNCTION|LIST HGETALL HKEYS HVALS KEYS MODULE|LIST SDIFF SINTER \
         SMEMBERS SUNION",
    ),
    (
        "request_policy:all_nodes",
        "COMMANDLOG|GET COMMANDLOG|LEN COMMANDLOG|RESET CONFIG|SET LATENCY|DOCTOR LATENCY|GRAPH LATENCY|HISTOGRAM \
         LATENCY|HISTORY LATENCY|LATEST LATENCY|RESET SCRIPT|FLUSH SCRIPT|LOAD SLOWLOG|GET SLOWLOG|LEN SLOWLOG|RESET",
    ),
    (
        "request_policy:all_shards",
        "DBSIZE FLUSHALL FLUSHDB FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|KILL FUNCTION|LOAD FUNCTION|RESTORE \
         FUNCTION|STATS INFO KEYS MEMORY|DOCTOR MEMORY|MALLOC-STATS MEMORY|PURGE MEMORY|STATS PING RANDOMKEY \
         SCRIPT|EXISTS SCRIPT|KILL WAIT WAITAOF",
    ),
    (
        "request_policy:multi_shard",
        "DEL EXISTS MGET MSET MSETEX MSETNX TOUCH UNLINK",
    ),
    ("request_policy:special", "SCAN"),
    ("response_policy:agg_logical_and", "SCRIPT|EXISTS"),
    ("response_policy:agg_min", "MSETNX WAIT WAITAOF"),
    (
        "response_policy:agg_sum",
        "COMMANDLOG|LEN DBSIZE DEL EXISTS SLOWLOG|LEN TOUCH UNLINK",
    ),
    (
        "response_policy:all_succeeded",
        "COMMANDLOG|RESET CONFIG|SET FLUSHALL FLUSHDB FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|LOAD FUNCTION|RESTORE \
         LATENCY|RESET MEMORY|PURGE MSET MSETEX PING SCRIPT|FLUSH SCRIPT|LOAD SLOWLOG|RESET",
    ),
    ("response_policy:one_succeeded", "FUNCTION|KILL SCRIPT|KILL"),
    (
        "response_policy:special",
        "FUNCTION|STATS INFO LATENCY|DOCTOR LATENCY|GRAPH LATENCY|HISTOGRAM LATENCY|HISTORY LATENCY|LATEST \
         MEMORY|DOCTOR MEMORY|MALLOC-STATS MEMORY|STATS",
    ),
];

impl Command {
    /// Redis's ACL categories, in its order.
    pub const CATEGORIES: [&'static str; 21] = [
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "bitmap",
        "hyperloglog",
        "geo",
        "stream",
        "pubsub",
        "admin",
        "fast",
        "slow",
        "blocking",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
    ];

    /// The categories that Redis 8 adds.
    pub(crate) const LATER_CATEGORIES: [&'static str; 6] = [
        "array",
        "vectorset",
        "json",
        "bloom",
        "timeseries",
        "search",
    ];

    /// Its ACL categories, without their `@`.
    #[must_use]
    pub fn categories(&self) -> Vec<&'static str> {
        let has = |bits| self.flags & bits != 0;
        let of_flags = [
            ("write", has(flags::WRITE)),
            ("read", has(flags::READ) && self.group != Group::Scripting),
            ("admin", has(flags::ADMIN)),
            ("dangerous", has(flags::ADMIN)),
            ("pubsub", has(flags::PUBSUB)),
            ("blocking", has(flags::BLOCKING)),
            ("fast", has(flags::FAST)),
            ("slow", !has(flags::FAST)),
        ];
        let of_flags = of_flags
            .into_iter()
            .filter_map(|(category, is_in)| is_in.then_some(category));
        let is_container = !self.subcommands.is_empty() && !self.accepts(1);
        let of_group = self
            .group
            .category()
            .filter(|_| !is_container && !lists(OUTSIDE, self.name));
        let of_name = listed(CATEGORIES, self.name);
        let all: Vec<_> = of_flags.chain(of_group).chain(of_name).collect();
        let order = Self::CATEGORIES.into_iter().chain(Self::LATER_CATEGORIES);
        order.filter(|name| all.contains(name)).collect()
    }

    /// Its tips, as in Redis.
    pub fn tips(&self) -> impl Iterator<Item = &'static str> + Clone {
        listed(TIPS, self.name)
    }
}

impl Group {
    /// The category of its commands.
    const fn category(self) -> Option<&'static str> {
        match self {
            Self::Generic => Some("keyspace"),
            Self::SortedSets => Some("sortedset"),
            Self::Transactions => Some("transaction"),
            Self::Server | Self::Cluster | Self::PubSub => None,
            Self::VectorSets => Some("vectorset"),
            Self::Json => Some("json"),
            Self::Probabilistic => Some("bloom"),
            Self::TimeSeries => Some("timeseries"),
            Self::Search => Some("search"),
            other => Some(other.redis_name()),
        }
    }
}

fn listed(
    table: &'static [(&'static str, &'static str)],
    name: &'static str,
) -> impl Iterator<Item = &'static str> + Clone {
    table
        .iter()
        .filter(move |(_, names)| lists(names, name))
        .map(|(what, _)| *what)
}

fn lists(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|listed| listed == name)
}
