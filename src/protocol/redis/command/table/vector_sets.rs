//! Vector sets.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::VectorSets;
    ("VADD", -5, FIRST, Forward, WRITE | DENYOOM, "8.0.0",
        "key [REDUCE dim] <FP32|VALUES num> vector element [CAS] [NOQUANT|Q8|BIN] [EF \
         build-exploration-factor] [SETATTR attributes] [M numlinks]",
        "Adds an element with its vector")
    ("VCARD", 2, FIRST, Forward, READ | FAST, "8.0.0", "key", "Counts the elements")
    ("VDIM", 2, FIRST, Forward, READ | FAST, "8.0.0", "key", "Returns the dimensions of the vectors")
    ("VEMB", -3, FIRST, Forward, READ | FAST, "8.0.0",
        "key element [RAW]", "Reads the vector of an element")
    ("VGETATTR", 3, FIRST, Forward, READ | FAST, "8.0.0",
        "key element", "Reads the attributes of an element")
    ("VINFO", 2, FIRST, Forward, READ | FAST, "8.0.0", "key", "Describes a vector set")
    ("VISMEMBER", 3, FIRST, Forward, READ | FAST, "8.2.0",
        "key element", "Checks whether an element is in the set")
    ("VLINKS", -3, FIRST, Forward, READ | FAST, "8.0.0",
        "key element [WITHSCORES]", "Lists the neighbours of an element")
    ("VRANDMEMBER", -2, FIRST, Forward, READ, "8.0.0", "key [count]", "Returns random elements")
    ("VRANGE", -4, FIRST, Forward, READ, "8.4.0",
        "key start end [count]", "Reads a range of elements")
    ("VREM", 3, FIRST, Forward, WRITE, "8.0.0", "key element", "Removes an element")
    ("VSETATTR", 4, FIRST, Forward, WRITE | FAST, "8.0.0",
        "key element attributes", "Writes the attributes of an element")
    ("VSIM", -4, FIRST, Forward, READ, "8.0.0",
        "key <ELE element|FP32 vector|VALUES num vector> [WITHSCORES] [WITHATTRIBS] [COUNT num] \
         [EPSILON delta] [EF search-exploration-factor] [FILTER expression] [FILTER-EF \
         max-filtering-effort] [TRUTH] [NOTHREAD]",
        "Finds similar elements")
}
