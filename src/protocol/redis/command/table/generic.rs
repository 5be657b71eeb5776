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
        "key seconds [NX|XX|GT|LT]", "Sets the time to live of a key in seconds")
    ("EXPIREAT", -3, FIRST, Forward, WRITE | FAST, "1.2.0",
        "key unix-time-seconds [NX|XX|GT|LT]", "Sets the expiry of a key as a Unix time in seconds")
    ("EXPIRETIME", 2, FIRST, Forward, READ | FAST, "7.0.0",
        "key", "Returns the expiry of a key as a Unix time in seconds")
    ("KEYS", 2, NONE, all(ResponsePolicy::Concat), READ, "1.0.0",
        "pattern", "Lists the keys that match a pattern")
    ("MIGRATE", -6, Keys::Migrate, Refuse(Refusal::Migration), WRITE, "2.6.0",
        "host port <key|\"\"> destination-db timeout [COPY] [REPLACE] [[AUTH password]|[AUTH2 \
         username password]] [KEYS key [key ...]]",
        "Moves keys to another server")
    ("MOVE", 3, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key db", "Moves a key to another database of its server")
    ("OBJECT", -2, NONE, Answer(Local::Help), NOFLAGS, "2.2.3",
        "", "Inspects how a value is stored", OBJECT)
    ("PERSIST", 2, FIRST, Forward, WRITE | FAST, "2.2.0", "key", "Removes the expiry of a key")
    ("PEXPIRE", -3, FIRST, Forward, WRITE | FAST, "2.6.0",
        "key milliseconds [NX|XX|GT|LT]", "Sets the time to live of a key in milliseconds")
    ("PEXPIREAT", -3, FIRST, Forward, WRITE | FAST, "2.6.0",
        "key unix-time-milliseconds [NX|XX|GT|LT]", "Sets the expiry of a key as a Unix time in milliseconds")
    ("PEXPIRETIME", 2, FIRST, Forward, READ | FAST, "7.0.0",
        "key", "Returns the expiry of a key as a Unix time in milliseconds")
    ("PTTL", 2, FIRST, Forward, READ | FAST, "2.6.0",
        "key", "Returns the time to live of a key in milliseconds")
    ("RANDOMKEY", 1, NONE, all(ResponsePolicy::AnyNonNil), READ, "1.0.0", "", "Returns a random key")
    ("RENAME", 3, range(1, 2, 1), Forward, WRITE, "1.0.0", "key newkey", "Renames a key")
    ("RENAMENX", 3, range(1, 2, 1), Forward, WRITE | FAST, "1.0.0",
        "key newkey", "Renames a key if the new name does not exist")
    ("RESTORE", -4, FIRST, Forward, WRITE | DENYOOM, "2.6.0",
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        "Restores a serialised value")
    ("SCAN", -2, NONE, Scan, READ, "2.8.0",
        "cursor [MATCH pattern] [COUNT count] [TYPE type]", "Iterates over all keys")
    ("SORT", -2, Keys::Sort, Forward, WRITE | DENYOOM, "1.0.0",
        "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] [STORE destination]",
        "Sorts a list, a set or a sorted set")
    ("SORT_RO", -2, Keys::Sort, Forward, READ, "7.0.0",
        "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]",
        "Sorts without storing the result")
    ("TOUCH", -2, range(1, -1, 1), Split(MergeKind::Sum), READ | FAST, "3.2.1",
        "key [key ...]", "Marks keys as used")
    ("TTL", 2, FIRST, Forward, READ | FAST, "1.0.0",
        "key", "Returns the time to live of a key in seconds")
    ("TYPE", 2, FIRST, Forward, READ | FAST, "1.0.0", "key", "Returns the type of a value")
    ("UNLINK", -2, range(1, -1, 1), Split(MergeKind::Sum), WRITE | FAST, "4.0.0",
        "key [key ...]", "Deletes keys, freeing memory in the background")
    ("WAIT", 3, NONE, WaitReplicas(ResponsePolicy::AggMin), NOSCRIPT, "3.0.0",
        "numreplicas timeout", "Waits until replicas have acknowledged the writes of this client")
    ("WAITAOF", 4, NONE, WaitReplicas(ResponsePolicy::LogicalAnd), BLOCKING, "7.2.0",
        "numlocal numreplicas timeout", "Waits until the writes of this client are on disk")
}

commands! { OBJECT in Group::Generic;
    ("OBJECT|ENCODING", 3, Keys::At(2), Forward, READ, "2.2.3",
        "key", "Returns the encoding of a value")
    ("OBJECT|FREQ", 3, Keys::At(2), Forward, READ, "4.0.0",
        "key", "Returns the access frequency of a value")
    ("OBJECT|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "6.2.0", "", "Lists the subcommands")
    ("OBJECT|IDLETIME", 3, Keys::At(2), Forward, READ, "2.2.3",
        "key", "Returns the time since a value was last used")
    ("OBJECT|REFCOUNT", 3, Keys::At(2), Forward, READ, "2.2.3",
        "key", "Counts the references to a value")
}
