//! Sets.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Sets;
    ("SADD", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key member [member ...]", "Adds members")
    ("SCARD", 2, FIRST, Forward, READ | FAST, "1.0.0", "key", "Counts the members")
    ("SDIFF", -2, range(1, -1, 1), Forward, READ, "1.0.0", "key [key ...]", "Returns the difference of sets")
    ("SDIFFSTORE", -3, range(1, -1, 1), Forward, WRITE | DENYOOM, "1.0.0",
        "destination key [key ...]", "Stores the difference of sets")
    ("SINTER", -2, range(1, -1, 1), Forward, READ, "1.0.0", "key [key ...]", "Returns the intersection of sets")
    ("SINTERCARD", -3, counted(1), Forward, READ, "7.0.0",
        "numkeys key [key ...] [LIMIT limit]", "Counts the intersection of sets")
    ("SINTERSTORE", -3, range(1, -1, 1), Forward, WRITE | DENYOOM, "1.0.0",
        "destination key [key ...]", "Stores the intersection of sets")
    ("SISMEMBER", 3, FIRST, Forward, READ | FAST, "1.0.0",
        "key member", "Checks whether a member is in the set")
    ("SMEMBERS", 2, FIRST, Forward, READ, "1.0.0", "key", "Lists the members")
    ("SMISMEMBER", -3, FIRST, Forward, READ | FAST, "6.2.0",
        "key member [member ...]", "Checks whether members are in the set")
    ("SMOVE", 4, range(1, 2, 1), Forward, WRITE | FAST, "1.0.0",
        "source destination member", "Moves a member to another set")
    ("SPOP", -2, FIRST, Forward, WRITE | FAST, "1.0.0", "key [count]", "Removes and returns random members")
    ("SRANDMEMBER", -2, FIRST, Forward, READ, "1.0.0", "key [count]", "Returns random members")
    ("SREM", -3, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key member [member ...]", "Removes members")
    ("SSCAN", -3, FIRST, Forward, READ, "2.8.0",
        "key cursor [MATCH pattern] [COUNT count]", "Iterates over the members")
    ("SUNION", -2, range(1, -1, 1), Forward, READ, "1.0.0", "key [key ...]", "Returns the union of sets")
    ("SUNIONSTORE", -3, range(1, -1, 1), Forward, WRITE | DENYOOM, "1.0.0",
        "destination key [key ...]", "Stores the union of sets")
}
