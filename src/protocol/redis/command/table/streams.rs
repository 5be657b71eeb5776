//! Streams.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Streams;
    ("XACK", -4, FIRST, Forward, WRITE | FAST, "5.0.0",
        "key group id [id ...]", "Acknowledges entries for a group")
    ("XACKDEL", -6, FIRST, Forward, WRITE | FAST, "8.2.0",
        "key group [KEEPREF|DELREF|ACKED] IDS numids id [id ...]",
        "Acknowledges entries and deletes them")
    ("XADD", -5, FIRST, Forward, WRITE | DENYOOM | FAST, "5.0.0",
        "key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [IDMPAUTO producer|IDMP producer id] \
         [<MAXLEN|MINID> [=|~] threshold [LIMIT count]] <*|id> field value [field value ...]",
        "Appends an entry")
    ("XAUTOCLAIM", -6, FIRST, Forward, WRITE | FAST, "6.2.0",
        "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        "Claims entries that have been pending too long for a consumer")
    ("XCFGSET", -2, FIRST, Forward, WRITE | FAST, "8.6.0",
        "key [IDMP-DURATION duration] [IDMP-MAXSIZE maxsize]", "Configures a stream")
    ("XCLAIM", -6, FIRST, Forward, WRITE | FAST, "5.0.0",
        "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] \
         [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]",
        "Claims pending entries for a consumer")
    ("XDEL", -3, FIRST, Forward, WRITE | FAST, "5.0.0", "key id [id ...]", "Deletes entries")
    ("XDELEX", -5, FIRST, Forward, WRITE | FAST, "8.2.0",
        "key [KEEPREF|DELREF|ACKED] IDS numids id [id ...]",
        "Deletes entries, respecting the groups that reference them")
    ("XGROUP", -2, NONE, Answer(Local::Help), NOFLAGS, "5.0.0",
        "", "Keeps the groups of a stream", XGROUP)
    ("XINFO", -2, NONE, Answer(Local::Help), NOFLAGS, "5.0.0", "", "Describes a stream", XINFO)
    ("XLEN", 2, FIRST, Forward, READ | FAST, "5.0.0", "key", "Counts the entries")
    ("XNACK", -6, FIRST, Forward, WRITE | FAST, "8.8.0",
        "key group <SILENT|FAIL|FATAL> IDS numids id [id ...]", "Returns entries to their group")
    ("XPENDING", -3, FIRST, Forward, READ, "5.0.0",
        "key group [[IDLE min-idle-time] start end count [consumer]]",
        "Lists pending entries")
    ("XRANGE", -4, FIRST, Forward, READ, "5.0.0",
        "key start end [COUNT count]", "Reads a range of entries")
    ("XREAD", -4, Keys::Streams, Block, READ | BLOCKING, "5.0.0",
        "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        "Reads new entries of streams")
    ("XREADGROUP", -7, Keys::Streams, Block, WRITE | BLOCKING, "5.0.0",
        "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        "Reads new entries for a consumer")
    ("XREVRANGE", -4, FIRST, Forward, READ, "5.0.0",
        "key end start [COUNT count]", "Reads a range of entries, newest first")
    ("XSETID", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "5.0.0",
        "key last-id [ENTRIESADDED entries_added] [MAXDELETEDID max_deleted_entry_id]",
        "Sets the last ID of a stream")
    ("XTRIM", -4, FIRST, Forward, WRITE, "5.0.0",
        "key <MAXLEN|MINID> [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]",
        "Trims old entries")
}

commands! { XGROUP in Group::Streams;
    ("XGROUP|CREATE", -5, Keys::At(2), Forward, WRITE | DENYOOM, "5.0.0",
        "key groupname <id|$> [MKSTREAM] [ENTRIESREAD entries_read]", "Creates a group")
    ("XGROUP|CREATECONSUMER", 5, Keys::At(2), Forward, WRITE | DENYOOM, "6.2.0",
        "key groupname consumername", "Creates a consumer")
    ("XGROUP|DELCONSUMER", 5, Keys::At(2), Forward, WRITE, "5.0.0",
        "key groupname consumername", "Deletes a consumer")
    ("XGROUP|DESTROY", 4, Keys::At(2), Forward, WRITE, "5.0.0", "key groupname", "Deletes a group")
    ("XGROUP|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0", "", "Lists the subcommands")
    ("XGROUP|SETID", -5, Keys::At(2), Forward, WRITE, "5.0.0",
        "key groupname <id|$> [ENTRIESREAD entries_read]", "Sets the last delivered ID of a group")
}

commands! { XINFO in Group::Streams;
    ("XINFO|CONSUMERS", 4, Keys::At(2), Forward, READ, "5.0.0",
        "key groupname", "Describes the consumers of a group")
    ("XINFO|GROUPS", 3, Keys::At(2), Forward, READ, "5.0.0", "key", "Describes the groups")
    ("XINFO|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0", "", "Lists the subcommands")
    ("XINFO|STREAM", -3, Keys::At(2), Forward, READ, "5.0.0",
        "key [FULL [COUNT count]]", "Describes the stream itself")
}
