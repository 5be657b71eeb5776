//! Sorted sets.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::SortedSets;
    ("BZMPOP", -5, counted(2), Block, WRITE | BLOCKING, "7.0.0",
        "timeout numkeys key [key ...] <MIN|MAX> [COUNT count]",
        "Takes members from the first sorted set that has any, waiting for them")
    ("BZPOPMAX", -3, range(1, -2, 1), Block, WRITE | FAST | NOSCRIPT | BLOCKING, "5.0.0",
        "key [key ...] timeout", "Takes the member with the highest score, waiting for it")
    ("BZPOPMIN", -3, range(1, -2, 1), Block, WRITE | FAST | NOSCRIPT | BLOCKING, "5.0.0",
        "key [key ...] timeout", "Takes the member with the lowest score, waiting for it")
    ("ZADD", -4, FIRST, Forward, WRITE | DENYOOM | FAST, "1.2.0",
        "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]",
        "Adds members with scores")
    ("ZCARD", 2, FIRST, Forward, READ | FAST, "1.2.0", "key", "Counts the members")
    ("ZCOUNT", 4, FIRST, Forward, READ | FAST, "2.0.0",
        "key min max", "Counts the members in a range of scores")
    ("ZDIFF", -3, counted(1), Forward, READ, "6.2.0",
        "numkeys key [key ...] [WITHSCORES]", "Subtracts sorted sets")
    ("ZDIFFSTORE", -4, counted_into(2), Forward, WRITE | DENYOOM, "6.2.0",
        "destination numkeys key [key ...]", "Subtracts sorted sets and stores the result")
    ("ZINCRBY", 4, FIRST, Forward, WRITE | DENYOOM | FAST, "1.2.0",
        "key increment member", "Adds to a score")
    ("ZINTER", -3, counted(1), Forward, READ, "6.2.0",
        "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "Intersects sorted sets")
    ("ZINTERCARD", -3, counted(1), Forward, READ, "7.0.0",
        "numkeys key [key ...] [LIMIT limit]", "Counts the intersection of sorted sets")
    ("ZINTERSTORE", -4, counted_into(2), Forward, WRITE | DENYOOM, "2.0.0",
        "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        "Intersects sorted sets and stores the result")
    ("ZLEXCOUNT", 4, FIRST, Forward, READ | FAST, "2.8.9",
        "key min max", "Counts the members in a range of names")
    ("ZMPOP", -4, counted(1), Forward, WRITE, "7.0.0",
        "numkeys key [key ...] <MIN|MAX> [COUNT count]",
        "Takes members from the first sorted set that has any")
    ("ZMSCORE", -3, FIRST, Forward, READ | FAST, "6.2.0",
        "key member [member ...]", "Reads many scores")
    ("ZPOPMAX", -2, FIRST, Forward, WRITE | FAST, "5.0.0",
        "key [count]", "Takes the members with the highest scores")
    ("ZPOPMIN", -2, FIRST, Forward, WRITE | FAST, "5.0.0",
        "key [count]", "Takes the members with the lowest scores")
    ("ZRANDMEMBER", -2, FIRST, Forward, READ, "6.2.0",
        "key [count [WITHSCORES]]", "Draws random members")
    ("ZRANGE", -4, FIRST, Forward, READ, "1.2.0",
        "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        "Reads a range of members")
    ("ZRANGEBYLEX", -4, FIRST, Forward, READ, "2.8.9",
        "key min max [LIMIT offset count]", "Reads the members in a range of names")
    ("ZRANGEBYSCORE", -4, FIRST, Forward, READ, "1.0.5",
        "key min max [WITHSCORES] [LIMIT offset count]", "Reads the members in a range of scores")
    ("ZRANGESTORE", -5, range(1, 2, 1), Forward, WRITE | DENYOOM, "6.2.0",
        "dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]", "Stores a range of members")
    ("ZRANK", -3, FIRST, Forward, READ | FAST, "2.0.0", "key member", "Tells the rank of a member")
    ("ZREM", -3, FIRST, Forward, WRITE | FAST, "1.2.0",
        "key member [member ...]", "Removes members")
    ("ZREMRANGEBYLEX", 4, FIRST, Forward, WRITE, "2.8.9",
        "key min max", "Removes the members in a range of names")
    ("ZREMRANGEBYRANK", 4, FIRST, Forward, WRITE, "2.0.0",
        "key start stop", "Removes the members in a range of ranks")
    ("ZREMRANGEBYSCORE", 4, FIRST, Forward, WRITE, "1.2.0",
        "key min max", "Removes the members in a range of scores")
    ("ZREVRANGE", -4, FIRST, Forward, READ, "1.2.0",
        "key start stop [WITHSCORES]", "Reads a range of members from the highest down")
    ("ZREVRANGEBYLEX", -4, FIRST, Forward, READ, "2.8.9",
        "key max min [LIMIT offset count]", "Reads a range of names from the highest down")
    ("ZREVRANGEBYSCORE", -4, FIRST, Forward, READ, "2.2.0",
        "key max min [WITHSCORES] [LIMIT offset count]",
        "Reads a range of scores from the highest down")
    ("ZREVRANK", -3, FIRST, Forward, READ | FAST, "2.0.0",
        "key member", "Tells the rank of a member from the highest down")
    ("ZSCAN", -3, FIRST, Forward, READ, "2.8.0",
        "key cursor [MATCH pattern] [COUNT count]", "Walks the members step by step")
    ("ZSCORE", 3, FIRST, Forward, READ | FAST, "1.2.0", "key member", "Reads a score")
    ("ZUNION", -3, counted(1), Forward, READ, "6.2.0",
        "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "Unites sorted sets")
    ("ZUNIONSTORE", -4, counted_into(2), Forward, WRITE | DENYOOM, "2.0.0",
        "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        "Unites sorted sets and stores the result")
}
