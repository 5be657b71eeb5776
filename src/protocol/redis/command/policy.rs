//! The columns of the command table.

use crate::protocol::redis::resp::version::Resp;
use crate::protocol::{ChannelKind, Part};

/// Where the keys of a command are. Positions count the name as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// No key, or one that the proxy does not need.
    None,
    /// Exactly one, always there.
    At(u8),
    /// From `first` through `last`, every `step`-th argument; what stands between two keys belongs to the first of them.
    Range {
        /// Position of the first key.
        first: u8,
        /// Position of the last key, or of the last argument that can be one; negative: counted from the end, the last
        /// argument being -1.
        last: i8,
        /// Arguments from one key to the next.
        step: u8,
    },
    /// As many as the argument `count` says, right behind it.
    Counted {
        /// Argument 1 is a key as well: where the result is stored.
        into: bool,
        /// Position of the number of keys.
        count: u8,
        /// Arguments from one key to the next.
        step: u8,
    },
    /// Argument 1, and what follows the option `STORE`.
    Sort,
    /// Argument 1, and what follows the option `STORE` or `STOREDIST`.
    Radius {
        /// Position of the first option.
        options: u8,
    },
    /// The first half of what follows the option `STREAMS`.
    Streams,
    /// Argument 3, or where that is empty what follows the option `KEYS`.
    Migrate,
}

/// What the proxy does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It goes to the server of its key; several keys must all live on one server.
    Forward,
    /// It is split by server and the replies are joined.
    Split(MergeKind),
    /// It goes to every server, and the replies are joined.
    AllServers(MergeKind),
    /// It subscribes the client to what it names.
    Subscribe(ChannelKind),
    /// It unsubscribes the client from what it names, or from all.
    Unsubscribe(ChannelKind),
    /// It goes to the server of the channel that it names.
    Publish(ChannelKind),
    /// It goes to the server that its cursor names.
    Scan,
    /// It has no key and goes where the placeholder key lives.
    Keyless,
    /// It goes to the server of its keys, which must all live there, and may be answered when another client writes.
    Block,
    /// It waits until so many replicas of every server have what the client has written.
    WaitReplicas(ResponsePolicy),
    /// It begins a transaction, or ends one.
    Transaction(Verb),
    /// The proxy answers.
    Local(Local),
    /// The proxy knows it and does not offer it.
    Refused(Refusal),
}

/// What a command does to the transaction of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum Verb {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// How the replies to the fragments become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    /// One value for every key, in the order of the keys.
    Values,
    /// `+OK`.
    Ok,
    /// The sum of the numbers.
    Sum,
    /// The greatest of the numbers.
    Most,
    /// Every element once.
    Union,
    /// Each name with its subscribers.
    Subscribers(ChannelKind),
    /// One number, and so many clients that the server has not counted.
    Receivers(u64),
    /// The sections of `INFO`, for clients that speak so.
    Info(Resp),
    /// The parameters of `CONFIG GET`, for clients that speak so.
    Parameters(Resp),
    /// The elements of sets.
    Sets(SetJoin),
    /// What all servers say becomes one.
    All(ResponsePolicy),
    /// What one server says, its cursor with the server's index in it.
    Cursor(u16),
}

impl MergeKind {
    /// Whether a server that fails is named: the request goes to servers that no key of it chooses.
    #[must_use]
    pub const fn is_named(self) -> bool {
        !matches!(
            self,
            Self::Values
                | Self::Ok
                | Self::Sum
                | Self::Receivers(_)
                | Self::Sets(_)
                | Self::Info(_)
                | Self::Parameters(_)
        )
    }

    /// Whether it counts clients, of which a server knows the connections only.
    #[must_use]
    pub const fn counts_clients(self) -> bool {
        matches!(self, Self::Subscribers(_) | Self::Receivers(_))
    }
}

/// How the elements of sets on several servers become one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetJoin {
    /// Each element once.
    Union,
    /// The elements that are everywhere.
    Intersection,
    /// The elements of the first key that are nowhere else.
    Difference,
    /// The number of elements that are everywhere, up to a limit; 0 is none.
    Cardinality(u64),
}

impl SetJoin {
    /// What the server of a fragment is asked.
    pub(crate) const fn fragment_name(self, part: Part) -> &'static str {
        match self {
            Self::Intersection | Self::Cardinality(_) => "SINTER",
            Self::Difference if part.has_first => "SDIFF",
            Self::Union | Self::Difference => "SUNION",
        }
    }
}

/// How the replies of all servers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// The sum of the numbers.
    AggSum,
    /// The least of the numbers.
    AggMin,
    /// Of lists of numbers that are equally long, the least at each place.
    LogicalAnd,
    /// All the elements, server after server.
    Concat,
    /// The reply of any server that has one.
    AnyNonNil,
    /// `+OK` where all say so.
    AllSucceeded,
    /// What all say alike.
    AllEqual,
    /// What all say alike, and the proxy remembers the script.
    Script,
    /// The libraries, which are to be the same everywhere.
    Libraries,
    /// The serialised libraries, which are to be the same everywhere.
    Dump,
    /// What runs anywhere, and the libraries, which are to be equally many everywhere.
    BusyOrAny,
    /// `+OK` where one says so.
    OneSucceeded,
}

impl ResponsePolicy {
    /// Whether it changes something: where one server fails, others may have done it.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::AllSucceeded | Self::AllEqual | Self::Script)
    }
}

/// Which reply the proxy makes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum Local {
    Ping,
    Quit,
    Auth,
    Echo,
    Select,
    Hello,
    Reset,
    AclCat,
    AclGenPass,
    AclGetUser,
    AclList,
    AclUsers,
    AclWhoAmI,
    Info,
    LatencyDoctor,
    LatencyGraph,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    Lolwut,
    ModuleList,
    Role,
    SlowlogGet,
    SlowlogLen,
    SlowlogReset,
    ClientCaching,
    ClientGetName,
    ClientGetRedir,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientSetInfo,
    ClientSetName,
    ClientTracking,
    ClientTrackingInfo,
    ClientReply,
    ClientUnblock,
    ClientUnpause,
    CommandAll,
    CommandCount,
    CommandDocs,
    CommandGetKeys,
    CommandGetKeysAndFlags,
    CommandInfo,
    CommandList,
    ConfigGet,
    ConfigResetStat,
    ConfigSet,
    /// `READONLY`, `CLUSTER ...`: what a Redis without cluster says.
    ClusterDisabled,
    /// The subcommands of a command.
    Help,
}

/// Why a command is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It concerns all the keys of two databases.
    Database,
    /// It is meant for servers among themselves.
    Internal,
    /// It steers or inspects one server.
    Administration,
    /// It changes settings.
    Configuration,
    /// It concerns other clients.
    OtherClients,
    /// It changes how a connection to a server behaves.
    SharedConnection,
    /// It wants messages that answer no request.
    Push,
    /// It concerns users and their rights.
    Users,
    /// It wants every command measured by itself.
    Unmeasured,
    /// It sends keys to servers that it names itself.
    Migration,
    /// It concerns an index, which knows the keys of one server only.
    Search,
    /// It finds keys by what is kept in them.
    Labels,
}

impl Refusal {
    /// The rest of a sentence that begins with the command's name and a colon.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Database => "it cannot be applied to all servers atomically",
            Self::Internal => "it is used between servers only",
            Self::Administration => {
                "it administers a single server; connect to that server directly"
            }
            Self::Configuration => "the proxy is configured by its configuration file",
            Self::OtherClients => "pausing clients is not supported",
            Self::SharedConnection => {
                "it changes the state of a server connection, and server connections are shared"
            }
            Self::Push => "it needs push messages, and server connections are shared",
            Self::Users => {
                "a pool has a single user, 'default', whose password is set by 'redis_auth'"
            }
            Self::Unmeasured => "the proxy collects no statistics per command",
            Self::Migration => {
                "it would move keys to servers where the proxy does not look for them; connect to their server directly"
            }
            Self::Search => {
                "an index covers the keys of one server only; query each server directly"
            }
            Self::Labels => {
                "it selects series by label on one server only; query each server directly"
            }
        }
    }
}

/// What a command works on: the chapters of the docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of Redis's types and groups")]
pub enum Group {
    Strings,
    Bitmaps,
    HyperLogLogs,
    Generic,
    Hashes,
    Lists,
    Sets,
    SortedSets,
    Geo,
    Streams,
    Scripting,
    Transactions,
    PubSub,
    Connection,
    Server,
    Cluster,
    Arrays,
    VectorSets,
    Json,
    Probabilistic,
    TimeSeries,
    Search,
}

impl Group {
    /// Every chapter, in the order of the table.
    pub const ALL: [Self; 22] = [
        Self::Strings,
        Self::Bitmaps,
        Self::HyperLogLogs,
        Self::Generic,
        Self::Hashes,
        Self::Lists,
        Self::Sets,
        Self::SortedSets,
        Self::Geo,
        Self::Streams,
        Self::Scripting,
        Self::Transactions,
        Self::PubSub,
        Self::Connection,
        Self::Server,
        Self::Cluster,
        Self::Arrays,
        Self::VectorSets,
        Self::Json,
        Self::Probabilistic,
        Self::TimeSeries,
        Self::Search,
    ];

    /// The name of the group in `COMMAND DOCS`.
    #[must_use]
    pub const fn redis_name(self) -> &'static str {
        match self {
            Self::Strings => "string",
            Self::Bitmaps => "bitmap",
            Self::HyperLogLogs => "hyperloglog",
            Self::Generic => "generic",
            Self::Hashes => "hash",
            Self::Lists => "list",
            Self::Sets => "set",
            Self::SortedSets => "sorted-set",
            Self::Geo => "geo",
            Self::Streams => "stream",
            Self::Scripting => "scripting",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Arrays => "array",
            Self::VectorSets
            | Self::Json
            | Self::Probabilistic
            | Self::TimeSeries
            | Self::Search => "module",
        }
    }

    /// The heading of its chapter.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Strings => "Strings",
            Self::Bitmaps => "Bitmaps",
            Self::HyperLogLogs => "HyperLogLogs",
            Self::Generic => "Keys of any type",
            Self::Hashes => "Hashes",
            Self::Lists => "Lists",
            Self::Sets => "Sets",
            Self::SortedSets => "Sorted sets",
            Self::Geo => "Geo",
            Self::Streams => "Streams",
            Self::Scripting => "Scripting",
            Self::Transactions => "Transactions",
            Self::PubSub => "Publish and subscribe",
            Self::Connection => "Connection",
            Self::Server => "Server",
            Self::Cluster => "Redis Cluster",
            Self::Arrays => "Arrays",
            Self::VectorSets => "Vector sets",
            Self::Json => "JSON documents",
            Self::Probabilistic => "Filters and sketches",
            Self::TimeSeries => "Time series",
            Self::Search => "Search",
        }
    }
}
