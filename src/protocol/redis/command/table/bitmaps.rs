//! Bitmaps: strings, bit by bit.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Bitmaps;
    ("BITCOUNT", -2, FIRST, Forward, READ, "2.6.0", "key [start end [BYTE|BIT]]", "Counts set bits")
    ("BITFIELD", -2, FIRST, Forward, WRITE | DENYOOM, "3.2.0",
        "key [GET encoding offset] [OVERFLOW WRAP|SAT|FAIL] [SET encoding offset value] [INCRBY \
         encoding offset increment]",
        "Reads and writes integers of any width")
    ("BITFIELD_RO", -2, FIRST, Forward, READ | FAST, "6.0.0",
        "key [GET encoding offset [GET encoding offset ...]]", "Reads integers of any width")
    ("BITOP", -4, range(2, -1, 1), Forward, WRITE | DENYOOM, "2.6.0",
        "<AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE> destkey key [key ...]",
        "Stores a bitwise combination of values")
    ("BITPOS", -3, FIRST, Forward, READ, "2.8.7",
        "key bit [start [end [BYTE|BIT]]]", "Finds the first set or clear bit")
    ("GETBIT", 3, FIRST, Forward, READ | FAST, "2.2.0", "key offset", "Reads a bit")
    ("SETBIT", 4, FIRST, Forward, WRITE | DENYOOM, "2.2.0", "key offset value", "Writes a bit")
}
