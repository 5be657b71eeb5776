//! Sorted sets.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::SortedSets;
    ("BZMPOP", -5, counted(2), Block, WRITE | BLOCKING, "7.0.0",
        "timeout numkeys key [key ...] <MIN|MAX> [COUNT count]",
        "Removes and returns members of the first sorted set that has any; blocks until one has")
    ("BZPOPMAX", -3, range(1, -2, 1), Block, WRITE | FAST | NOSCRIPT | BLOCKING, "5.0.0",
        "key [key ...] timeout", "Removes and returns the member with the highest score; blocks until there is one")
    ("BZPOPMIN", -3, range(1, -2, 1), Block, WRITE | FAST | NOSCRIPT | BLOCKING, "5.0.0",
        "key [key ...] timeout", "Removes and returns the member with the lowest score; blocks until there is one")
    ("ZADD", -4, FIRST, Forward, WRITE | DENYOOM | FAST, "1.2.0",
        "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]",
        "Adds members with scores")
    ("ZCARD", 2, FIRST, Forward, READ | FAST, "1.2.0", "key", "Counts the members")
    ("ZCOUNT", 4, FIRST, Forward, READ | FAST, "2.0.0",
        "key min max", "Counts the members in a range of scores")
    ("ZDIFF", -3, counted(1), Forward, READ, "6.2.0",
        "numkeys key [key ...] [WITHSCORES]", "Returns the difference of sorted sets")
    ("ZDIFFSTORE", -4, counted_into(2), Forward, WRITE | DENYOOM, "6.2.0",
        "destination numkeys key [key ...]", "Stores the difference of sorted sets")
    ("ZINCRBY", 4, FIRST, Forward, WRITE | DENYOOM | FAST, "1.2.0",
        "key increment member", "Adds to a score")
    ("ZINTER", -3, counted(1), Forward, READ, "6.2.0",
        "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "Returns the intersection of sorted sets")
    ("ZINTERCARD", -3, counted(1), Forward, READ, "7.0.0",
        "numkeys key [key ...] [LIMIT limit]", "Counts the intersection of sorted sets")
    ("ZINTERSTORE", -4, counted_into(2), Forward, WRITE | DENYOOM, "2.0.0",
        "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        "Stores the intersection of sorted sets")
    ("ZLEXCOUNT", 4, FIRST, Forward, READ | FAST, "2.8.9",
        "key min max", "Counts the members in a lexicographical range")
    ("ZMPOP", -4, counted(1), Forward, WRITE, "7.0.0",
        "numkeys key [key ...] <MIN|MAX> [COUNT count]",
        "Removes and returns members of the first sorted set that has any")
    ("ZMSCORE", -3, FIRST, Forward, READ | FAST, "6.2.0",
        "key member [member ...]", "Reads many scores")
    ("ZPOPMAX", -2, FIRST, Forward, WRITE | FAST, "5.0.0",
        "key [count]", "Removes and returns the members with the highest scores")
    ("ZPOPMIN", -2, FIRST, Forward, WRITE | FAST, "5.0.0",
        "key [count]", "Removes and returns the members with the lowest scores")
    ("ZRANDMEMBER", -2, FIRST, Forward, READ, "6.2.0",
        "key [count [WITHSCORES]]", "Returns random members")
    ("ZRANGE", -4, FIRST, Forward, READ, "1.2.0",
        "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        "Reads a range of members")
    ("ZRANGEBYLEX", -4, FIRST, Forward, READ, "2.8.9",
        "key min max [LIMIT offset count]", "Reads the members in a lexicographical range")
    ("ZRANGEBYSCORE", -4, FIRST, Forward, READ, "1.0.5",
        "key min max [WITHSCORES] [LIMIT offset count]", "Reads the members in a range of scores")
    ("ZRANGESTORE", -5, range(1, 2, 1), Forward, WRITE | DENYOOM, "6.2.0",
        "dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]", "Stores a range of members")
    ("ZRANK", -3, FIRST, Forward, READ | FAST, "2.0.0", "key member", "Returns the rank of a member")
    ("ZREM", -3, FIRST, Forward, WRITE | FAST, "1.2.0",
        "key member [member ...]", "Removes members")
    ("ZREMRANGEBYLEX", 4, FIRST, Forward, WRITE, "2.8.9",
        "key min max", "Removes the members in a lexicographical range")
    ("ZREMRANGEBYRANK", 4, FIRST, Forward, WRITE, "2.0.0",
        "key start stop", "Removes the members in a range of ranks")
    ("ZREMRANGEBYSCORE", 4, FIRST, Forward, WRITE, "1.2.0",
        "key min max", "Removes the members in a range of scores")
    ("ZREVRANGE", -4, FIRST, Forward, READ, "1.2.0",
        "key start stop [WITHSCORES]", "Reads a range of members, highest first")
    ("ZREVRANGEBYLEX", -4, FIRST, Forward, READ, "2.8.9",
        "key max min [LIMIT offset count]", "Reads the members in a lexicographical range, highest first")
    ("ZREVRANGEBYSCORE", -4, FIRST, Forward, READ, "2.2.0",
        "key max min [WITHSCORES] [LIMIT offset count]",
        "Reads the members in a range of scores, highest first")
    ("ZREVRANK", -3, FIRST, Forward, READ | FAST, "2.0.0",
        "key member", "Returns the rank of a member, highest score first")
    ("ZSCAN", -3, FIRST, Forward, READ, "2.8.0",
        "key cursor [MATCH pattern] [COUNT count]", "Iterates over the members")
    ("ZSCORE", 3, FIRST, Forward, READ | FAST, "1.2.0", "key member", "Reads a score")
    ("ZUNION", -3, counted(1), Forward, READ, "6.2.0",
        "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "Returns the union of sorted sets")
    ("ZUNIONSTORE", -4, counted_into(2), Forward, WRITE | DENYOOM, "2.0.0",
        "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        "Stores the union of sorted sets")
}
