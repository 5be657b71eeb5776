//! Redis's group `server`; mostly answered by the proxy.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Server;
    ("ACL", -2, NONE, Answer(Local::Help), NOFLAGS, "6.0.0",
        "", "Manages users and their permissions", ACL)
    ("BGREWRITEAOF", 1, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | NO_ASYNC_LOADING, "1.0.0",
        "", "Rewrites the append-only file")
    ("BGSAVE", -1, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | NO_ASYNC_LOADING, "1.0.0",
        "[SCHEDULE]", "Saves a snapshot in the background")
    ("COMMAND", -1, NONE, Answer(Local::CommandAll), ANYTIME, "2.8.13",
        "", "Describes the commands that are offered", COMMAND)
    ("COMMANDLOG", -2, NONE, Refuse(Refusal::Administration), NOFLAGS, "8.1.0",
        "", "Manages the logs of slow and large requests (Valkey)", COMMANDLOG)
    ("CONFIG", -2, NONE, Answer(Local::Help), NOFLAGS, "2.0.0", "", "Reads and sets parameters", CONFIG)
    ("DBSIZE", 1, NONE, all(ResponsePolicy::AggSum), READ | FAST, "1.0.0", "", "Counts the keys")
    ("DEBUG", -2, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | ANYTIME, "1.0.0",
        "", "Debugs a server")
    ("FAILOVER", -1, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | STALE, "6.2.0",
        "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]", "Fails over to a replica")
    ("FLUSHALL", -1, NONE, all(ResponsePolicy::AllSucceeded), WRITE, "1.0.0",
        "[ASYNC|SYNC]", "Deletes all keys of all databases")
    ("FLUSHDB", -1, NONE, all(ResponsePolicy::AllSucceeded), WRITE, "1.0.0",
        "[ASYNC|SYNC]", "Deletes all keys of the database")
    ("HOTKEYS", -2, NONE, Refuse(Refusal::Administration), NOFLAGS, "8.6.0",
        "", "Tracks the most used keys", HOTKEYS)
    ("INFO", -1, NONE, Answer(Local::Info), ANYTIME, "1.0.0",
        "[section ...]", "Describes the proxy")
    ("LASTSAVE", 1, NONE, all(ResponsePolicy::AggMin), FAST | ANYTIME, "1.0.0",
        "", "Returns when the last snapshot was saved")
    ("LATENCY", -2, NONE, Answer(Local::Help), NOFLAGS, "2.8.13",
        "", "Inspects latency events", LATENCY)
    ("LOLWUT", -1, NONE, Answer(Local::Lolwut), READ | FAST, "5.0.0",
        "[VERSION version]", "Draws a picture")
    ("MEMORY", -2, NONE, Answer(Local::Help), NOFLAGS, "4.0.0", "", "Inspects memory usage", MEMORY)
    ("MODULE", -2, NONE, Answer(Local::Help), NOFLAGS, "4.0.0",
        "", "Manages the modules of a server", MODULE)
    ("MONITOR", 1, NONE, Answer(Local::Monitor), ADMIN | NOSCRIPT | ANYTIME, "1.0.0",
        "", "Streams every request that the proxy receives")
    ("PSYNC", -3, NONE, Refuse(Refusal::Internal), ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, "2.8.0",
        "replicationid offset", "Starts replication")
    ("REPLCONF", -1, NONE, Refuse(Refusal::Internal), ADMIN | NOSCRIPT | ALLOW_BUSY | ANYTIME, "3.0.0",
        "", "Negotiates replication")
    ("REPLICAOF", 3, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING, "5.0.0",
        "<host port|NO ONE>", "Makes a server a replica")
    ("RESTORE-ASKING", -4, FIRST, Refuse(Refusal::Internal), WRITE | DENYOOM | ASKING, "3.0.0",
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        "Restores a value during the migration of a cluster's slot")
    ("ROLE", 1, NONE, Answer(Local::Role), FAST | NOSCRIPT | ANYTIME, "2.8.12",
        "", "Answers as a master without replicas")
    ("SAVE", 1, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, "1.0.0",
        "", "Saves a snapshot")
    ("SHUTDOWN", -1, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | ALLOW_BUSY | NO_MULTI | ANYTIME, "1.0.0",
        "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]", "Shuts the server down")
    ("SLAVEOF", 3, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING, "1.0.0",
        "<host port|NO ONE>", "Makes a server a replica (old name of REPLICAOF)")
    ("SLOWLOG", -2, NONE, Answer(Local::Help), NOFLAGS, "2.2.12",
        "", "Manages the log of slow requests", SLOWLOG)
    ("SWAPDB", 3, NONE, Refuse(Refusal::Database), WRITE | FAST, "4.0.0",
        "index1 index2", "Swaps two databases")
    ("SYNC", 1, NONE, Refuse(Refusal::Internal), ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, "1.0.0",
        "", "Starts replication")
    ("TIME", 1, NONE, Keyless, FAST | ANYTIME, "2.6.0", "", "Returns the time")
}

commands! { ACL in Group::Server;
    ("ACL|CAT", -2, NONE, Answer(Local::AclCat), NOSCRIPT | ANYTIME, "6.0.0",
        "[categoryname]", "Lists categories, or the commands of one that are offered")
    ("ACL|DELUSER", -3, NONE, Answer(Local::AclDelUser), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "username [username ...]", "Deletes users")
    ("ACL|DRYRUN", -4, NONE, Answer(Local::AclDryRun), ADMIN | NOSCRIPT | ANYTIME, "7.0.0",
        "username command [arg [arg ...]]", "Checks whether a user may execute a command")
    ("ACL|GENPASS", -2, NONE, Answer(Local::AclGenPass), NOSCRIPT | ANYTIME, "6.0.0",
        "[bits]", "Generates a password")
    ("ACL|GETUSER", 3, NONE, Answer(Local::AclGetUser), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "username", "Describes a user")
    ("ACL|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "6.0.0",
        "", "Lists the subcommands")
    ("ACL|LIST", 2, NONE, Answer(Local::AclList), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "", "Lists the rules of all users")
    ("ACL|LOAD", 2, NONE, Refuse(Refusal::Users), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "", "Reads the users from their file")
    ("ACL|LOG", -2, NONE, Answer(Local::AclLog), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "[count|RESET]", "Lists denied requests")
    ("ACL|SAVE", 2, NONE, Refuse(Refusal::Users), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "", "Writes the users to their file")
    ("ACL|SETUSER", -3, NONE, Answer(Local::AclSetUser), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "username [rule [rule ...]]", "Creates or modifies a user")
    ("ACL|USERS", 2, NONE, Answer(Local::AclUsers), ADMIN | NOSCRIPT | ANYTIME, "6.0.0",
        "", "Lists the names of the users")
    ("ACL|WHOAMI", 2, NONE, Answer(Local::AclWhoAmI), NOSCRIPT | ANYTIME, "6.0.0",
        "", "Returns the user of this connection")
}

commands! { COMMAND in Group::Server;
    ("COMMAND|COUNT", 2, NONE, Answer(Local::CommandCount), ANYTIME, "2.8.13",
        "", "Counts the commands that are offered")
    ("COMMAND|DOCS", -2, NONE, Answer(Local::CommandDocs), ANYTIME, "7.0.0",
        "[name ...]", "Documents the commands that are offered")
    ("COMMAND|GETKEYS", -4, NONE, Answer(Local::CommandGetKeys), ANYTIME, "2.8.13",
        "name [arg ...]", "Finds the keys of a request")
    ("COMMAND|GETKEYSANDFLAGS", -4, NONE, Answer(Local::CommandGetKeysAndFlags), ANYTIME, "7.0.0",
        "name [arg ...]", "Finds the keys of a request and what it does to them")
    ("COMMAND|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0", "", "Lists the subcommands")
    ("COMMAND|INFO", -2, NONE, Answer(Local::CommandInfo), ANYTIME, "2.8.13",
        "[name ...]", "Describes commands by name")
    ("COMMAND|LIST", -2, NONE, Answer(Local::CommandList), ANYTIME, "7.0.0",
        "[FILTERBY <MODULE name|ACLCAT category|PATTERN pattern>]",
        "Lists the names of the commands that are offered")
}

commands! { COMMANDLOG in Group::Server;
    ("COMMANDLOG|GET", 4, NONE, Refuse(Refusal::Administration), ADMIN | ANYTIME, "8.1.0",
        "count <SLOW|LARGE-REQUEST|LARGE-REPLY>", "Reads a log")
    ("COMMANDLOG|HELP", 2, NONE, Refuse(Refusal::Administration), ANYTIME, "8.1.0",
        "", "Lists the subcommands")
    ("COMMANDLOG|LEN", 3, NONE, Refuse(Refusal::Administration), ADMIN | ANYTIME, "8.1.0",
        "<SLOW|LARGE-REQUEST|LARGE-REPLY>", "Counts the entries of a log")
    ("COMMANDLOG|RESET", 3, NONE, Refuse(Refusal::Administration), ADMIN | ANYTIME, "8.1.0",
        "<SLOW|LARGE-REQUEST|LARGE-REPLY>", "Clears a log")
}

commands! { CONFIG in Group::Server;
    ("CONFIG|GET", -3, NONE, Answer(Local::ConfigGet), ADMIN | NOSCRIPT | ANYTIME, "2.0.0",
        "parameter [parameter ...]", "Returns the parameters that the proxy has")
    ("CONFIG|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0", "", "Lists the subcommands")
    ("CONFIG|RESETSTAT", 2, NONE, Answer(Local::ConfigResetStat), ADMIN | NOSCRIPT | ANYTIME, "2.0.0",
        "", "Resets the counters of INFO")
    ("CONFIG|REWRITE", 2, NONE, Refuse(Refusal::Configuration), ADMIN | NOSCRIPT | ANYTIME, "2.8.0",
        "", "Writes the configuration to its file")
    ("CONFIG|SET", -4, NONE, Answer(Local::ConfigSet), ADMIN | NOSCRIPT | ANYTIME, "2.0.0",
        "parameter value [parameter value ...]", "Sets the parameters of the proxy that can be changed")
}

commands! { HOTKEYS in Group::Server;
    ("HOTKEYS|GET", 2, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT, "8.6.0",
        "", "Returns the most used keys")
    ("HOTKEYS|HELP", 2, NONE, Refuse(Refusal::Administration), ANYTIME, "8.6.0",
        "", "Lists the subcommands")
    ("HOTKEYS|RESET", 2, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT, "8.6.0",
        "", "Resets the tracking")
    ("HOTKEYS|START", -2, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT, "8.6.0",
        "METRICS count [CPU] [NET] [option ...]", "Starts tracking")
    ("HOTKEYS|STOP", 2, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT, "8.6.0",
        "", "Stops tracking")
}

commands! { LATENCY in Group::Server;
    ("LATENCY|DOCTOR", 2, NONE, Answer(Local::LatencyDoctor), ADMIN | NOSCRIPT | ANYTIME, "2.8.13",
        "", "Explains latency events")
    ("LATENCY|GRAPH", 3, NONE, Answer(Local::LatencyGraph), ADMIN | NOSCRIPT | ANYTIME, "2.8.13",
        "event", "Draws the samples of an event")
    ("LATENCY|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "2.8.13",
        "", "Lists the subcommands")
    ("LATENCY|HISTOGRAM", -2, NONE, Answer(Local::LatencyHistogram), ADMIN | NOSCRIPT | ANYTIME, "7.0.0",
        "[command [command ...]]", "Returns latency histograms of commands")
    ("LATENCY|HISTORY", 3, NONE, Answer(Local::LatencyHistory), ADMIN | NOSCRIPT | ANYTIME, "2.8.13",
        "event", "Lists the samples of an event")
    ("LATENCY|LATEST", 2, NONE, Answer(Local::LatencyLatest), ADMIN | NOSCRIPT | ANYTIME, "2.8.13",
        "", "Lists the latest sample of each event")
    ("LATENCY|RESET", -2, NONE, Answer(Local::LatencyReset), ADMIN | NOSCRIPT | ANYTIME, "2.8.13",
        "[event [event ...]]", "Resets events")
}

commands! { MEMORY in Group::Server;
    ("MEMORY|DOCTOR", 2, NONE, Refuse(Refusal::Administration), NOFLAGS, "4.0.0",
        "", "Explains the use of memory")
    ("MEMORY|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "4.0.0", "", "Lists the subcommands")
    ("MEMORY|MALLOC-STATS", 2, NONE, Refuse(Refusal::Administration), NOFLAGS, "4.0.0",
        "", "Returns the statistics of the allocator")
    ("MEMORY|PURGE", 2, NONE, all(ResponsePolicy::AllSucceeded), NOFLAGS, "4.0.0",
        "", "Asks the allocator to release memory")
    ("MEMORY|STATS", 2, NONE, Refuse(Refusal::Administration), NOFLAGS, "4.0.0",
        "", "Describes the use of memory")
    ("MEMORY|USAGE", -3, Keys::At(2), Forward, READ, "4.0.0",
        "key [SAMPLES count]", "Returns the memory usage of a key")
}

commands! { MODULE in Group::Server;
    ("MODULE|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0",
        "", "Lists the subcommands")
    ("MODULE|LIST", 2, NONE, Answer(Local::ModuleList), ADMIN | NOSCRIPT, "4.0.0",
        "", "Answers that the proxy has none")
    ("MODULE|LOAD", -3, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | NO_ASYNC_LOADING, "4.0.0",
        "path [arg [arg ...]]", "Loads a module")
    ("MODULE|LOADEX", -3, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | NO_ASYNC_LOADING, "7.0.0",
        "path [CONFIG name value [CONFIG name value ...]] [ARGS arg [arg ...]]",
        "Loads a module with settings")
    ("MODULE|UNLOAD", 3, NONE, Refuse(Refusal::Administration), ADMIN | NOSCRIPT | NO_ASYNC_LOADING, "4.0.0",
        "name", "Unloads a module")
}

commands! { SLOWLOG in Group::Server;
    ("SLOWLOG|GET", -2, NONE, Answer(Local::SlowlogGet), ADMIN | ANYTIME, "2.2.12",
        "[count]", "Returns the log of slow requests")
    ("SLOWLOG|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "6.2.0",
        "", "Lists the subcommands")
    ("SLOWLOG|LEN", 2, NONE, Answer(Local::SlowlogLen), ADMIN | ANYTIME, "2.2.12",
        "", "Counts the entries")
    ("SLOWLOG|RESET", 2, NONE, Answer(Local::SlowlogReset), ADMIN | ANYTIME, "2.2.12",
        "", "Clears the log")
}
