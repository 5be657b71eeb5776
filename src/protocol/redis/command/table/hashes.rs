//! Hashes.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Hashes;
    ("HDEL", -3, FIRST, Forward, WRITE | FAST, "2.0.0", "key field [field ...]", "Deletes fields")
    ("HEXISTS", 3, FIRST, Forward, READ | FAST, "2.0.0",
        "key field", "Checks whether a field exists")
    ("HEXPIRE", -6, FIRST, Forward, WRITE | DENYOOM | FAST, "7.4.0",
        "key seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets the time to live of fields in seconds")
    ("HEXPIREAT", -6, FIRST, Forward, WRITE | DENYOOM | FAST, "7.4.0",
        "key unix-time-seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets the expiry of fields as a Unix time in seconds")
    ("HEXPIRETIME", -5, FIRST, Forward, READ | FAST, "7.4.0",
        "key FIELDS numfields field [field ...]", "Returns the expiry of fields as a Unix time in seconds")
    ("HGET", 3, FIRST, Forward, READ | FAST, "2.0.0", "key field", "Reads a field")
    ("HGETALL", 2, FIRST, Forward, READ, "2.0.0", "key", "Reads all fields and values")
    ("HGETDEL", -5, FIRST, Forward, WRITE | FAST, "8.0.0",
        "key FIELDS numfields field [field ...]", "Reads fields and deletes them")
    ("HGETEX", -5, FIRST, Forward, WRITE | FAST, "8.0.0",
        "key [EX seconds|PX milliseconds|EXAT seconds|PXAT milliseconds|PERSIST] FIELDS numfields \
         field [field ...]",
        "Reads fields and sets when they expire")
    ("HINCRBY", 4, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key field increment", "Adds an amount to a field")
    ("HINCRBYFLOAT", 4, FIRST, Forward, WRITE | DENYOOM | FAST, "2.6.0",
        "key field increment", "Adds a fraction to a field")
    ("HKEYS", 2, FIRST, Forward, READ, "2.0.0", "key", "Lists the fields")
    ("HLEN", 2, FIRST, Forward, READ | FAST, "2.0.0", "key", "Counts the fields")
    ("HMGET", -3, FIRST, Forward, READ | FAST, "2.0.0",
        "key field [field ...]", "Reads many fields")
    ("HMSET", -4, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key field value [field value ...]", "Writes many fields (old name of HSET)")
    ("HPERSIST", -5, FIRST, Forward, WRITE | FAST, "7.4.0",
        "key FIELDS numfields field [field ...]", "Removes the expiry of fields")
    ("HPEXPIRE", -6, FIRST, Forward, WRITE | DENYOOM | FAST, "7.4.0",
        "key milliseconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets the time to live of fields in milliseconds")
    ("HPEXPIREAT", -6, FIRST, Forward, WRITE | DENYOOM | FAST, "7.4.0",
        "key unix-time-milliseconds [NX|XX|GT|LT] FIELDS numfields field [field ...]",
        "Sets the expiry of fields as a Unix time in milliseconds")
    ("HPEXPIRETIME", -5, FIRST, Forward, READ | FAST, "7.4.0",
        "key FIELDS numfields field [field ...]", "Returns the expiry of fields as a Unix time in milliseconds")
    ("HPTTL", -5, FIRST, Forward, READ | FAST, "7.4.0",
        "key FIELDS numfields field [field ...]", "Returns the time to live of fields in milliseconds")
    ("HRANDFIELD", -2, FIRST, Forward, READ, "6.2.0",
        "key [count [WITHVALUES]]", "Returns random fields")
    ("HSCAN", -3, FIRST, Forward, READ, "2.8.0",
        "key cursor [MATCH pattern] [COUNT count]", "Iterates over the fields")
    ("HSET", -4, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key field value [field value ...]", "Writes fields")
    ("HSETEX", -6, FIRST, Forward, WRITE | DENYOOM | FAST, "8.0.0",
        "key [FNX|FXX] [EX seconds|PX milliseconds|EXAT seconds|PXAT milliseconds|KEEPTTL] FIELDS \
         numfields field value [field value ...]",
        "Writes fields and sets when they expire")
    ("HSETNX", 4, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key field value", "Writes a field if it does not exist")
    ("HSTRLEN", 3, FIRST, Forward, READ | FAST, "3.2.0",
        "key field", "Returns the length of the value of a field")
    ("HTTL", -5, FIRST, Forward, READ | FAST, "7.4.0",
        "key FIELDS numfields field [field ...]", "Returns the time to live of fields in seconds")
    ("HVALS", 2, FIRST, Forward, READ, "2.0.0", "key", "Lists the values")
}
