//! Estimates of the number of distinct elements.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::HyperLogLogs;
    ("PFADD", -2, FIRST, Forward, WRITE | DENYOOM | FAST, "2.8.9",
        "key [element ...]", "Adds elements to a HyperLogLog")
    ("PFCOUNT", -2, range(1, -1, 1), Forward, READ, "2.8.9",
        "key [key ...]", "Estimates how many distinct elements were added")
    ("PFDEBUG", 3, Keys::At(2), Refuse(Refusal::Internal), WRITE | DENYOOM | ADMIN, "2.8.9",
        "subcommand key", "Inspects a HyperLogLog")
    ("PFMERGE", -2, range(1, -1, 1), Forward, WRITE | DENYOOM, "2.8.9",
        "destkey sourcekey [sourcekey ...]", "Merges HyperLogLogs")
    ("PFSELFTEST", 1, NONE, Refuse(Refusal::Internal), ADMIN, "2.8.9",
        "", "Tests the server's HyperLogLog implementation")
}
