//! Arrays, a preview in Redis 8.8.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Arrays;
    ("ARCOUNT", 2, FIRST, Forward, READ | FAST, "8.8.0", "key", "Counts the elements")
    ("ARDEL", -3, FIRST, Forward, WRITE | FAST, "8.8.0", "key index [index ...]", "Deletes elements")
    ("ARDELRANGE", -4, FIRST, Forward, WRITE, "8.8.0",
        "key start end [start end ...]", "Deletes ranges of elements")
    ("ARGET", 3, FIRST, Forward, READ | FAST, "8.8.0", "key index", "Reads an element")
    ("ARGETRANGE", 4, FIRST, Forward, READ, "8.8.0", "key start end", "Reads a range of elements")
    ("ARGREP", -6, FIRST, Forward, READ, "8.8.0",
        "key start end <EXACT string|MATCH string|GLOB pattern|RE pattern> [option ...]",
        "Finds elements by their text")
    ("ARINFO", -2, FIRST, Forward, READ, "8.8.0", "key [FULL]", "Describes an array")
    ("ARINSERT", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "8.8.0",
        "key value [value ...]", "Appends elements")
    ("ARLASTITEMS", -3, FIRST, Forward, READ, "8.8.0",
        "key count [REV]", "Reads the most recently added elements")
    ("ARLEN", 2, FIRST, Forward, READ | FAST, "8.8.0", "key", "Returns the highest index plus one")
    ("ARMGET", -3, FIRST, Forward, READ | FAST, "8.8.0", "key index [index ...]", "Reads many elements")
    ("ARMSET", -4, FIRST, Forward, WRITE | DENYOOM | FAST, "8.8.0",
        "key index value [index value ...]", "Writes many elements")
    ("ARNEXT", 2, FIRST, Forward, READ | FAST, "8.8.0", "key", "Returns where ARINSERT adds")
    ("AROP", -5, FIRST, Forward, READ, "8.8.0",
        "key start end <SUM|MIN|MAX|AND|OR|XOR|MATCH value|USED>", "Aggregates a range of elements")
    ("ARRING", -4, FIRST, Forward, WRITE | DENYOOM, "8.8.0",
        "key size value [value ...]", "Adds elements to a ring of a given size")
    ("ARSCAN", -4, FIRST, Forward, READ, "8.8.0",
        "key start end [LIMIT limit]", "Iterates over the elements of a range")
    ("ARSEEK", 3, FIRST, Forward, WRITE | FAST, "8.8.0", "key index", "Sets where ARINSERT adds")
    ("ARSET", -4, FIRST, Forward, WRITE | DENYOOM | FAST, "8.8.0",
        "key index value [value ...]", "Writes elements from an index on")
}
