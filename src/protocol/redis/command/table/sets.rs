//! Sets.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Sets;
    ("SADD", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key member [member ...]", "Adds members")
    ("SCARD", 2, FIRST, Forward, READ | FAST, "1.0.0", "key", "Counts the members")
    ("SDIFF", -2, range(1, -1, 1), Forward, READ, "1.0.0", "key [key ...]", "Subtracts sets")
    ("SDIFFSTORE", -3, range(1, -1, 1), Forward, WRITE | DENYOOM, "1.0.0",
        "destination key [key ...]", "Subtracts sets and stores the result")
    ("SINTER", -2, range(1, -1, 1), Forward, READ, "1.0.0", "key [key ...]", "Intersects sets")
    ("SINTERCARD", -3, counted(1), Forward, READ, "7.0.0",
        "numkeys key [key ...] [LIMIT limit]", "Counts the intersection of sets")
    ("SINTERSTORE", -3, range(1, -1, 1), Forward, WRITE | DENYOOM, "1.0.0",
        "destination key [key ...]", "Intersects sets and stores the result")
    ("SISMEMBER", 3, FIRST, Forward, READ | FAST, "1.0.0",
        "key member", "Tells whether a member is in")
    ("SMEMBERS", 2, FIRST, Forward, READ, "1.0.0", "key", "Lists the members")
    ("SMISMEMBER", -3, FIRST, Forward, READ | FAST, "6.2.0",
        "key member [member ...]", "Tells of many members whether they are in")
    ("SMOVE", 4, range(1, 2, 1), Forward, WRITE | FAST, "1.0.0",
        "source destination member", "Moves a member to another set")
    ("SPOP", -2, FIRST, Forward, WRITE | FAST, "1.0.0", "key [count]", "Takes random members")
    ("SRANDMEMBER", -2, FIRST, Forward, READ, "1.0.0", "key [count]", "Draws random members")
    ("SREM", -3, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key member [member ...]", "Removes members")
    ("SSCAN", -3, FIRST, Forward, READ, "2.8.0",
        "key cursor [MATCH pattern] [COUNT count]", "Walks the members step by step")
    ("SUNION", -2, range(1, -1, 1), Forward, READ, "1.0.0", "key [key ...]", "Unites sets")
    ("SUNIONSTORE", -3, range(1, -1, 1), Forward, WRITE | DENYOOM, "1.0.0",
        "destination key [key ...]", "Unites sets and stores the result")
}
