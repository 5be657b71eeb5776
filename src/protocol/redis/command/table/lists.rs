//! Lists.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Lists;
    ("BLMOVE", 6, range(1, 2, 1), Block, WRITE | DENYOOM | NOSCRIPT | BLOCKING, "6.2.0",
        "source destination <LEFT|RIGHT> <LEFT|RIGHT> timeout",
        "Moves an element; blocks until there is one")
    ("BLMPOP", -5, counted(2), Block, WRITE | BLOCKING, "7.0.0",
        "timeout numkeys key [key ...] <LEFT|RIGHT> [COUNT count]",
        "Removes and returns elements of the first list that has any; blocks until one has")
    ("BLPOP", -3, range(1, -2, 1), Block, WRITE | NOSCRIPT | BLOCKING, "2.0.0",
        "key [key ...] timeout", "Removes and returns the first element; blocks until there is one")
    ("BRPOP", -3, range(1, -2, 1), Block, WRITE | NOSCRIPT | BLOCKING, "2.0.0",
        "key [key ...] timeout", "Removes and returns the last element; blocks until there is one")
    ("BRPOPLPUSH", 4, range(1, 2, 1), Block, WRITE | DENYOOM | NOSCRIPT | BLOCKING, "2.2.0",
        "source destination timeout", "Moves the last element of a list to the head of another; blocks until there is one")
    ("LINDEX", 3, FIRST, Forward, READ, "1.0.0", "key index", "Reads the element at a position")
    ("LINSERT", 5, FIRST, Forward, WRITE | DENYOOM, "2.2.0",
        "key <BEFORE|AFTER> pivot element", "Inserts before or after an element")
    ("LLEN", 2, FIRST, Forward, READ | FAST, "1.0.0", "key", "Counts the elements")
    ("LMOVE", 5, range(1, 2, 1), Forward, WRITE | DENYOOM, "6.2.0",
        "source destination <LEFT|RIGHT> <LEFT|RIGHT>", "Moves an element from an end of a list to an end of another")
    ("LMPOP", -4, counted(1), Forward, WRITE, "7.0.0",
        "numkeys key [key ...] <LEFT|RIGHT> [COUNT count]",
        "Removes and returns elements of the first list that has any")
    ("LPOP", -2, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key [count]", "Removes and returns the first elements")
    ("LPOS", -3, FIRST, Forward, READ, "6.0.6",
        "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        "Finds the position of an element")
    ("LPUSH", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key element [element ...]", "Adds elements at the head")
    ("LPUSHX", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "2.2.0",
        "key element [element ...]", "Adds elements at the head of a list that exists")
    ("LRANGE", 4, FIRST, Forward, READ, "1.0.0", "key start stop", "Reads a range of elements")
    ("LREM", 4, FIRST, Forward, WRITE, "1.0.0",
        "key count element", "Removes elements equal to a value")
    ("LSET", 4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key index element", "Replaces the element at a position")
    ("LTRIM", 4, FIRST, Forward, WRITE, "1.0.0", "key start stop", "Trims a list to a range of elements")
    ("RPOP", -2, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key [count]", "Removes and returns the last elements")
    ("RPOPLPUSH", 3, range(1, 2, 1), Forward, WRITE | DENYOOM, "1.2.0",
        "source destination", "Moves the last element of a list to the head of another")
    ("RPUSH", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "1.0.0",
        "key element [element ...]", "Adds elements at the tail")
    ("RPUSHX", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "2.2.0",
        "key element [element ...]", "Adds elements at the tail of a list that exists")
}
