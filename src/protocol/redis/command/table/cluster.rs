//! Redis Cluster: the proxy answers as a Redis without one.

use crate::protocol::redis::command::table::prelude::*;

/// Flags of commands that change a cluster.
const STEERS: u32 = ADMIN | STALE | NO_ASYNC_LOADING;

commands! { pub(crate) ROWS in Group::Cluster;
    ("ASKING", 1, NONE, Answer(Local::ClusterDisabled), FAST, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER", -2, NONE, Answer(Local::ClusterDisabled), NOFLAGS, "3.0.0",
        "", "Answers that there is no cluster", CLUSTER)
    ("CLUSTERSCAN", -2, NONE, Answer(Local::ClusterDisabled), READ, "9.1.0",
        "cursor [MATCH match-pattern] [COUNT count] [TYPE type] [SLOT slot]",
        "Answers that there is no cluster (Valkey)")
    ("READONLY", 1, NONE, Answer(Local::ClusterDisabled), FAST | ANYTIME, "3.0.0",
        "", "Answers that there is no cluster")
    ("READWRITE", 1, NONE, Answer(Local::ClusterDisabled), FAST | ANYTIME, "3.0.0",
        "", "Answers that there is no cluster")
    ("SFLUSH", -3, NONE, Answer(Local::ClusterDisabled), WRITE, "8.0.0",
        "start-slot end-slot [start-slot end-slot ...] [ASYNC|SYNC]",
        "Answers that there is no cluster")
}

commands! { CLUSTER in Group::Cluster;
    ("CLUSTER|ADDSLOTS", -3, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "slot [slot ...]", "Answers that there is no cluster")
    ("CLUSTER|ADDSLOTSRANGE", -4, NONE, Answer(Local::ClusterDisabled), STEERS, "7.0.0",
        "start-slot end-slot [start-slot end-slot ...]", "Answers that there is no cluster")
    ("CLUSTER|BUMPEPOCH", 2, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|CANCELSLOTMIGRATIONS", 2, NONE, Answer(Local::ClusterDisabled), STEERS, "9.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|COUNT-FAILURE-REPORTS", 3, NONE, Answer(Local::ClusterDisabled), ADMIN | STALE, "3.0.0",
        "node-id", "Answers that there is no cluster")
    ("CLUSTER|COUNTKEYSINSLOT", 3, NONE, Answer(Local::ClusterDisabled), STALE, "3.0.0",
        "slot", "Answers that there is no cluster")
    ("CLUSTER|DELSLOTS", -3, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "slot [slot ...]", "Answers that there is no cluster")
    ("CLUSTER|DELSLOTSRANGE", -4, NONE, Answer(Local::ClusterDisabled), STEERS, "7.0.0",
        "start-slot end-slot [start-slot end-slot ...]", "Answers that there is no cluster")
    ("CLUSTER|FAILOVER", -2, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "[FORCE|TAKEOVER]", "Answers that there is no cluster")
    ("CLUSTER|FLUSHSLOT", -3, NONE, Answer(Local::ClusterDisabled), WRITE | ADMIN | NO_ASYNC_LOADING, "9.0.0",
        "slot [ASYNC|SYNC]", "Answers that there is no cluster")
    ("CLUSTER|FLUSHSLOTS", 2, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|FORGET", 3, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "node-id", "Answers that there is no cluster")
    ("CLUSTER|GETKEYSINSLOT", 4, NONE, Answer(Local::ClusterDisabled), STALE, "3.0.0",
        "slot count", "Answers that there is no cluster")
    ("CLUSTER|GETSLOTMIGRATIONS", 2, NONE, Answer(Local::ClusterDisabled), STEERS, "9.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|HELP", 2, NONE, Answer(Local::ClusterDisabled), ANYTIME, "5.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|INFO", 2, NONE, Answer(Local::ClusterDisabled), STALE, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|KEYSLOT", 3, NONE, Answer(Local::ClusterDisabled), STALE, "3.0.0",
        "key", "Answers that there is no cluster")
    ("CLUSTER|LINKS", 2, NONE, Answer(Local::ClusterDisabled), STALE, "7.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|MEET", -4, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "ip port [cluster_bus_port]", "Answers that there is no cluster")
    ("CLUSTER|MIGRATESLOTS", -4, NONE, Answer(Local::ClusterDisabled), STEERS, "9.0.0",
        "SLOTSRANGE start-slot end-slot [start-slot end-slot ...] NODE node-id [...]",
        "Answers that there is no cluster")
    ("CLUSTER|MIGRATION", -4, NONE, Answer(Local::ClusterDisabled), STEERS, "8.4.0",
        "<IMPORT start-slot end-slot [start-slot end-slot ...]|CANCEL <ID task-id|ALL>|STATUS \
         <ID task-id|ALL>>",
        "Answers that there is no cluster")
    ("CLUSTER|MYID", 2, NONE, Answer(Local::ClusterDisabled), STALE, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|MYSHARDID", 2, NONE, Answer(Local::ClusterDisabled), ANYTIME, "7.2.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|NODES", 2, NONE, Answer(Local::ClusterDisabled), STALE, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|REPLICAS", 3, NONE, Answer(Local::ClusterDisabled), ADMIN | STALE, "5.0.0",
        "node-id", "Answers that there is no cluster")
    ("CLUSTER|REPLICATE", 3, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "node-id", "Answers that there is no cluster")
    ("CLUSTER|RESET", -2, NONE, Answer(Local::ClusterDisabled), ADMIN | NOSCRIPT | STALE, "3.0.0",
        "[HARD|SOFT]", "Answers that there is no cluster")
    ("CLUSTER|SAVECONFIG", 2, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|SET-CONFIG-EPOCH", 3, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "config-epoch", "Answers that there is no cluster")
    ("CLUSTER|SETSLOT", -4, NONE, Answer(Local::ClusterDisabled), STEERS, "3.0.0",
        "slot <IMPORTING node-id|MIGRATING node-id|NODE node-id|STABLE>",
        "Answers that there is no cluster")
    ("CLUSTER|SHARDS", 2, NONE, Answer(Local::ClusterDisabled), STALE, "7.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|SLAVES", 3, NONE, Answer(Local::ClusterDisabled), ADMIN | STALE, "3.0.0",
        "node-id", "Answers that there is no cluster")
    ("CLUSTER|SLOT-STATS", -4, NONE, Answer(Local::ClusterDisabled), ANYTIME, "8.2.0",
        "<SLOTSRANGE start-slot end-slot|ORDERBY metric [LIMIT limit] [ASC|DESC]>",
        "Answers that there is no cluster")
    ("CLUSTER|SLOTS", 2, NONE, Answer(Local::ClusterDisabled), STALE, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER|SYNCSLOTS", -3, NONE, Answer(Local::ClusterDisabled), STEERS, "9.0.0",
        "", "Answers that there is no cluster")
}
