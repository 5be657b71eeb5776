//! Transactions.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Transactions;
    ("DISCARD", 1, NONE, Transaction(Verb::Discard), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "2.0.0",
        "", "Discards the commands queued since MULTI")
    ("EXEC", 1, NONE, Transaction(Verb::Exec), NOSCRIPT | SKIP_SLOWLOG | ANYTIME, "1.2.0",
        "", "Executes the commands queued since MULTI")
    ("MULTI", 1, NONE, Transaction(Verb::Multi), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "1.2.0",
        "", "Starts a transaction")
    ("UNWATCH", 1, NONE, Transaction(Verb::Unwatch), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "2.2.0",
        "", "Unwatches all keys")
    ("WATCH", -2, range(1, -1, 1), Transaction(Verb::Watch), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "2.2.0",
        "key [key ...]", "Makes EXEC fail if one of these keys changes")
}
