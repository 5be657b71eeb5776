//! Time series of the module `TimeSeries`; part of Redis 8.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::TimeSeries;
    ("TS.ADD", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key timestamp value [RETENTION period] [ENCODING <COMPRESSED|UNCOMPRESSED>] [CHUNK_SIZE \
         size] [DUPLICATE_POLICY policy] [ON_DUPLICATE policy] [IGNORE max-time-diff \
         max-value-diff] [LABELS label value [label value ...]]",
        "Adds a sample")
    ("TS.ALTER", -2, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key [RETENTION period] [CHUNK_SIZE size] [DUPLICATE_POLICY policy] [IGNORE \
         max-time-diff max-value-diff] [LABELS label value [label value ...]]",
        "Changes a series")
    ("TS.CREATE", -2, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key [RETENTION period] [ENCODING <COMPRESSED|UNCOMPRESSED>] [CHUNK_SIZE size] \
         [DUPLICATE_POLICY policy] [IGNORE max-time-diff max-value-diff] [LABELS label value \
         [label value ...]]",
        "Creates a series")
    ("TS.CREATERULE", -6, range(1, 2, 1), Forward, WRITE | DENYOOM, "1.0.0",
        "source destination AGGREGATION aggregator bucket-duration [align-timestamp]",
        "Creates a compaction rule")
    ("TS.DECRBY", -3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key value [TIMESTAMP timestamp] [option ...]", "Adds a sample that is less than the last")
    ("TS.DEL", 4, FIRST, Forward, WRITE, "1.6.0",
        "key from_timestamp to_timestamp", "Deletes the samples of a time range")
    ("TS.DELETERULE", 3, range(1, 2, 1), Forward, WRITE, "1.0.0",
        "source destination", "Deletes a compaction rule")
    ("TS.GET", -2, FIRST, Forward, READ, "1.0.0", "key [LATEST]", "Reads the last sample")
    ("TS.INCRBY", -3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key value [TIMESTAMP timestamp] [option ...]",
        "Adds a sample that is greater than the last")
    ("TS.INFO", -2, FIRST, Forward, READ, "1.0.0", "key [DEBUG]", "Describes a series")
    ("TS.MADD", -4, range(1, -1, 3), Forward, WRITE | DENYOOM, "1.0.0",
        "key timestamp value [key timestamp value ...]", "Adds samples to many series")
    ("TS.MGET", -3, NONE, Refuse(Refusal::Labels), READ, "1.0.0",
        "[LATEST] [WITHLABELS|SELECTED_LABELS label ...] FILTER expression [expression ...]",
        "Reads the last samples of the series with given labels")
    ("TS.MRANGE", -4, NONE, Refuse(Refusal::Labels), READ, "1.0.0",
        "from_timestamp to_timestamp [option ...] FILTER expression [expression ...]",
        "Reads a time range of the series with given labels")
    ("TS.MREVRANGE", -4, NONE, Refuse(Refusal::Labels), READ, "1.4.0",
        "from_timestamp to_timestamp [option ...] FILTER expression [expression ...]",
        "Reads a time range of the series with given labels, newest first")
    ("TS.QUERYINDEX", -2, NONE, Refuse(Refusal::Labels), READ, "1.0.0",
        "expression [expression ...]", "Lists the series with given labels")
    ("TS.RANGE", -4, FIRST, Forward, READ, "1.0.0",
        "key from_timestamp to_timestamp [option ...]", "Reads the samples of a time range")
    ("TS.REVRANGE", -4, FIRST, Forward, READ, "1.4.0",
        "key from_timestamp to_timestamp [option ...]",
        "Reads the samples of a time range, newest first")
}
