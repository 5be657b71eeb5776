//! Strings.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Strings;
    ("APPEND", 3, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key value", "Appends to a value")
    ("DECR", 2, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0", "key", "Subtracts one from a number")
    ("DECRBY", 3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key decrement", "Subtracts an amount from a number")
    ("DELEX", -2, FIRST, Forward, WRITE | FAST, "8.4.0",
        "key [IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]", "Deletes a key under a condition")
    ("DELIFEQ", 3, FIRST, Forward, WRITE | FAST, "9.0.0",
        "key value", "Deletes a key if it has this value (Valkey)")
    ("DIGEST", 2, FIRST, Forward, READ | FAST, "8.4.0", "key", "Returns the digest of a value")
    ("GET", 2, FIRST, Forward, READ | FAST, "1.0.0", "key", "Reads a value")
    ("GETDEL", 2, FIRST, Forward, WRITE | FAST, "6.2.0", "key", "Reads a value and deletes its key")
    ("GETEX", -2, FIRST, Forward, WRITE | FAST, "6.2.0",
        "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT \
         unix-time-milliseconds|PERSIST]",
        "Reads a value and sets when it expires")
    ("GETRANGE", 4, FIRST, Forward, READ, "2.4.0", "key start end", "Reads a part of a value")
    ("GETSET", 3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key value", "Replaces a value and returns the old one")
    ("INCR", 2, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0", "key", "Adds one to a number")
    ("INCRBY", 3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key increment", "Adds an amount to a number")
    ("INCRBYFLOAT", 3, FIRST, Forward, WRITE | DENYOOM | FAST, "2.6.0",
        "key increment", "Adds a fraction to a number")
    ("INCREX", -2, FIRST, Forward, WRITE | DENYOOM | FAST, "8.8.0",
        "key [option ...]", "Adds to a number within bounds and sets when it expires")
    ("LCS", -3, range(1, 2, 1), Forward, READ, "7.0.0",
        "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]",
        "Finds the longest common subsequence of two values")
    ("MGET", -2, range(1, -1, 1), Split(MergeKind::Values), READ | FAST, "1.0.0",
        "key [key ...]", "Reads many values")
    ("MSET", -3, range(1, -1, 2), Split(MergeKind::Ok), WRITE | DENYOOM, "1.0.1",
        "key value [key value ...]", "Writes many values")
    ("MSETEX", -4, Keys::Counted { into: false, count: 1, step: 2 }, Forward, WRITE | DENYOOM, "8.4.0",
        "numkeys key value [key value ...] [NX|XX] [EX seconds|PX milliseconds|EXAT \
         unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        "Writes many values that expire")
    ("MSETNX", -3, range(1, -1, 2), Forward, WRITE | DENYOOM, "1.0.1",
        "key value [key value ...]", "Writes values if none of their keys exists")
    ("PSETEX", 4, FIRST, Forward, WRITE | DENYOOM, "2.6.0",
        "key milliseconds value", "Writes a value that expires in milliseconds")
    ("SET", -3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key value [NX|XX|IFEQ value|IFNE value|IFDEQ digest|IFDNE digest] [GET] [EX seconds|PX \
         milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        "Writes a value")
    ("SETEX", 4, FIRST, Forward, WRITE | DENYOOM, "2.0.0",
        "key seconds value", "Writes a value that expires in seconds")
    ("SETNX", 3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key value", "Writes a value if its key does not exist")
    ("SETRANGE", 4, FIRST, Forward, WRITE | DENYOOM, "2.2.0",
        "key offset value", "Overwrites a part of a value")
    ("STRLEN", 2, FIRST, Forward, READ | FAST, "2.2.0", "key", "Returns the length of a value")
    ("SUBSTR", 4, FIRST, Forward, READ, "1.0.0",
        "key start end", "Reads a part of a value (old name of GETRANGE)")
}
