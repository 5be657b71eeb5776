//! Keys of any type.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Generic;
    ("COPY", -3, range(1, 2, 1), Forward, WRITE | DENYOOM, "6.2.0",
        "source destination [DB destination-db] [REPLACE]", "Copies a key")
    ("DEL", -2, range(1, -1, 1), Split(MergeKind::Sum), WRITE, "1.0.0",
        "key [key ...]", "Deletes keys")
    ("DUMP", 2, FIRST, Forward, READ, "2.6.0", "key", "Serialises a value")
    ("EXISTS", -2, range(1, -1, 1), Split(MergeKind::Sum), READ | FAST, "1.0.0",
        "key [key ...]", "Counts the keys that exist")
    ("EXPIRE", -3, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key seconds [NX|XX|GT|LT]", "Lets a key expire in seconds")
    ("EXPIREAT", -3, FIRST, Forward, WRITE | FAST, "1.2.0",
        "key unix-time-seconds [NX|XX|GT|LT]", "Lets a key expire at a second")
    ("EXPIRETIME", 2, FIRST, Forward, READ | FAST, "7.0.0",
        "key", "Tells the second at which a key expires")
    ("KEYS", 2, NONE, all(ResponsePolicy::Concat), READ, "1.0.0",
        "pattern", "Lists the keys that match a pattern")
    ("MIGRATE", -6, Keys::Migrate, Refuse(Refusal::Migration), WRITE, "2.6.0",
        "host port <key|\"\"> destination-db timeout [COPY] [REPLACE] [[AUTH password]|[AUTH2 \
         username password]] [KEYS key [key ...]]",
        "Moves keys to another server")
    ("MOVE", 3, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key db", "Moves a key to another database of its server")
    ("OBJECT", -2, NONE, Answer(Local::Help), NOFLAGS, "2.2.3",
        "", "Looks into how a value is kept", OBJECT)
    ("PERSIST", 2, FIRST, Forward, WRITE | FAST, "2.2.0", "key", "Lets a key never expire")
    ("PEXPIRE", -3, FIRST, Forward, WRITE | FAST, "2.6.0",
        "key milliseconds [NX|XX|GT|LT]", "Lets a key expire in milliseconds")
    ("PEXPIREAT", -3, FIRST, Forward, WRITE | FAST, "2.6.0",
        "key unix-time-milliseconds [NX|XX|GT|LT]", "Lets a key expire at a millisecond")
    ("PEXPIRETIME", 2, FIRST, Forward, READ | FAST, "7.0.0",
        "key", "Tells the millisecond at which a key expires")
    ("PTTL", 2, FIRST, Forward, READ | FAST, "2.6.0",
        "key", "Tells in how many milliseconds a key expires")
    ("RANDOMKEY", 1, NONE, all(ResponsePolicy::AnyNonNil), READ, "1.0.0", "", "Draws a random key")
    ("RENAME", 3, range(1, 2, 1), Forward, WRITE, "1.0.0", "key newkey", "Renames a key")
    ("RENAMENX", 3, range(1, 2, 1), Forward, WRITE | FAST, "1.0.0",
        "key newkey", "Renames a key if the new name is free")
    ("RESTORE", -4, FIRST, Forward, WRITE | DENYOOM, "2.6.0",
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        "Restores a serialised value")
    ("SCAN", -2, NONE, Scan, READ, "2.8.0",
        "cursor [MATCH pattern] [COUNT count] [TYPE type]", "Walks all keys step by step")
    ("SORT", -2, Keys::Sort, Forward, WRITE | DENYOOM, "1.0.0",
        "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] [STORE destination]",
        "Sorts a list, a set or a sorted set")
    ("SORT_RO", -2, Keys::Sort, Forward, READ, "7.0.0",
        "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]",
        "Sorts and never stores")
    ("TOUCH", -2, range(1, -1, 1), Split(MergeKind::Sum), READ | FAST, "3.2.1",
        "key [key ...]", "Marks keys as used")
    ("TTL", 2, FIRST, Forward, READ | FAST, "1.0.0",
        "key", "Tells in how many seconds a key expires")
    ("TYPE", 2, FIRST, Forward, READ | FAST, "1.0.0", "key", "Names the type of a value")
    ("UNLINK", -2, range(1, -1, 1), Split(MergeKind::Sum), WRITE | FAST, "4.0.0",
        "key [key ...]", "Deletes keys, freeing memory in the background")
    ("WAIT", 3, NONE, WaitReplicas(ResponsePolicy::AggMin), NOSCRIPT, "3.0.0",
        "numreplicas timeout", "Waits until replicas have what this client wrote")
    ("WAITAOF", 4, NONE, WaitReplicas(ResponsePolicy::LogicalAnd), BLOCKING, "7.2.0",
        "numlocal numreplicas timeout", "Waits until what this client wrote is on disk")
}

commands! { OBJECT in Group::Generic;
    ("OBJECT|ENCODING", 3, Keys::At(2), Forward, READ, "2.2.3",
        "key", "Names the encoding of a value")
    ("OBJECT|FREQ", 3, Keys::At(2), Forward, READ, "4.0.0",
        "key", "Tells how often a value is used")
    ("OBJECT|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "6.2.0", "", "Lists the subcommands")
    ("OBJECT|IDLETIME", 3, Keys::At(2), Forward, READ, "2.2.3",
        "key", "Tells how long a value was not used")
    ("OBJECT|REFCOUNT", 3, Keys::At(2), Forward, READ, "2.2.3",
        "key", "Counts the references to a value")
}
