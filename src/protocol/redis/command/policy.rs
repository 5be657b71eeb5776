//! The columns of the command table.

use crate::protocol::redis::resp::version::Resp;
use crate::protocol::{ChannelKind, Part};
use crate::topology::ServerIndex;

/// The positions of the keys of a command. Positions count the name as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// No key, or one that the proxy does not need.
    None,
    /// Exactly one, mandatory.
    At(u8),
    /// From `first` through `last`, every `step`-th argument; the arguments between two keys belong to the first of
    /// them.
    Range {
        /// Position of the first key.
        first: u8,
        /// Position of the last key, or of the last argument that can be one; negative: counted from the end, the last
        /// argument being -1.
        last: i8,
        /// Arguments from one key to the next.
        step: u8,
    },
    /// The number of keys is the argument `count`, and the keys follow it.
    Counted {
        /// True if argument 1 is a key as well, the destination.
        into: bool,
        /// Position of the number of keys.
        count: u8,
        /// Arguments from one key to the next.
        step: u8,
    },
    /// Argument 1, and the one after the option `STORE`.
    Sort,
    /// Argument 1, and the one after the option `STORE` or `STOREDIST`.
    Radius {
        /// Position of the first option.
        options: u8,
    },
    /// The first half of the arguments after the option `STREAMS`.
    Streams,
    /// Argument 3, or if it is empty the arguments after the option `KEYS`.
    Migrate,
}

/// The way the proxy handles a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It goes to the server of its key; several keys must all be stored on one server.
    Forward,
    /// It is split by server and the replies are merged.
    Split(MergeKind),
    /// It goes to every server, and the replies are merged.
    AllServers(MergeKind),
    /// It subscribes the client to the channels that it names.
    Subscribe(ChannelKind),
    /// It unsubscribes the client from the channels that it names, or from all.
    Unsubscribe(ChannelKind),
    /// It goes to the server of the channel that it names.
    Publish(ChannelKind),
    /// It goes to the server that its cursor names.
    Scan,
    /// It has no key and is routed by the placeholder key.
    Keyless,
    /// It goes to the server of its keys, which must all be stored there, and may block until another client writes.
    Block,
    /// It blocks until the given number of replicas of every server have the client's writes.
    WaitReplicas(ResponsePolicy),
    /// It begins a transaction, or ends one.
    Transaction(Verb),
    /// The proxy answers it.
    Local(Local),
    /// The proxy knows it and does not support it.
    Refused(Refusal),
}

/// The effect of a command on its client's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its command")]
pub enum Verb {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// The way the replies to the fragments are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    /// One value for every key, in the order of the keys.
    Values,
    /// `+OK`.
    Ok,
    /// The sum of the numbers.
    Sum,
    /// The maximum of the numbers.
    Most,
    /// The union of the elements.
    Union,
    /// The names with their numbers of subscribers.
    Subscribers(ChannelKind),
    /// One number, plus this number of clients that the server did not count.
    Receivers(u64),
    /// The sections of `INFO`, in this RESP version.
    Info(Resp),
    /// The parameters of `CONFIG GET`, in this RESP version.
    Parameters(Resp),
    /// The elements of sets.
    Sets(SetJoin),
    /// The merged reply of all servers.
    All(ResponsePolicy),
    /// The reply of one server, with the server's index in its cursor.
    Cursor(ServerIndex),
}

impl MergeKind {
    /// Returns true if the error names a failed server: the request goes to servers that no key of it chooses.
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

    /// Returns true if the reply of an only server is merged, too.
    #[must_use]
    pub const fn always_merges(self) -> bool {
        self.counts_clients()
            || matches!(
                self,
                Self::Info(_) | Self::Parameters(_) | Self::All(ResponsePolicy::Script)
            )
    }

    /// Returns true if the request goes to servers on bypass connections.
    #[must_use]
    pub const fn bypasses_queue(self) -> bool {
        matches!(
            self,
            Self::All(ResponsePolicy::OneSucceeded | ResponsePolicy::BusyOrAny)
        )
    }

    /// Returns true if it counts clients, of which a server sees only the connections.
    #[must_use]
    pub const fn counts_clients(self) -> bool {
        matches!(self, Self::Subscribers(_) | Self::Receivers(_))
    }
}

/// The way the elements of sets on several servers are merged into one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetJoin {
    /// Each element once.
    Union,
    /// The elements that are in all sets.
    Intersection,
    /// The elements of the first key that are in no other set.
    Difference,
    /// The number of elements that are in all sets, up to a limit; 0 is none.
    Cardinality(u64),
}

impl SetJoin {
    /// The command for the server of a fragment.
    pub(crate) const fn fragment_name(self, part: Part) -> &'static str {
        match self {
            Self::Intersection | Self::Cardinality(_) => "SINTER",
            Self::Difference if part.has_first => "SDIFF",
            Self::Union | Self::Difference => "SUNION",
        }
    }
}

/// The way the replies of all servers are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// The sum of the numbers.
    AggSum,
    /// The minimum of the numbers.
    AggMin,
    /// The minimum at each position of lists of numbers of equal length.
    LogicalAnd,
    /// The concatenated elements of all servers.
    Concat,
    /// A reply that is not nil, of any server that has one.
    AnyNonNil,
    /// `+OK` if all servers reply so.
    AllSucceeded,
    /// The common reply of all servers.
    AllEqual,
    /// The common reply of all servers, and the proxy caches the script.
    Script,
    /// The libraries, which must be equal on all servers.
    Libraries,
    /// The serialised libraries, which must be equal on all servers.
    Dump,
    /// The running function of any server, and the libraries, whose numbers must be equal on all servers.
    BusyOrAny,
    /// `+OK` if one server replies so.
    OneSucceeded,
}

impl ResponsePolicy {
    /// Returns true if it writes: if one server fails, others may have executed it.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::AllSucceeded | Self::AllEqual | Self::Script)
    }
}

/// The commands that the proxy answers itself.
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
    Monitor,
    AclCat,
    AclDelUser,
    AclDryRun,
    AclGenPass,
    AclGetUser,
    AclList,
    AclLog,
    AclSetUser,
    AclUsers,
    AclWhoAmI,
    Info,
    LatencyDoctor,
    LatencyGraph,
    LatencyHistogram,
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
    /// `READONLY`, `CLUSTER ...`: the error of a Redis without cluster support.
    ClusterDisabled,
    /// The subcommands of a command.
    Help,
}

/// The reason why a command is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It concerns all the keys of two databases.
    Database,
    /// It is used between servers.
    Internal,
    /// It administers one server.
    Administration,
    /// It changes settings.
    Configuration,
    /// It concerns other clients.
    OtherClients,
    /// It changes how a connection to a server behaves.
    SharedConnection,
    /// It needs messages that are not replies.
    Push,
    /// It concerns users and their permissions.
    Users,
    /// It sends keys to servers that it names itself.
    Migration,
    /// It concerns an index, which knows the keys of one server only.
    Search,
    /// It finds keys by their contents.
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
            Self::Users => "users are read with the configuration; write them there, and reload it",
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

/// The group of a command: a chapter of the docs.
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
    /// All groups, in the order of the table.
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
