//! Transactions.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Transactions;
    ("DISCARD", 1, NONE, Transaction(Verb::Discard), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "2.0.0",
        "", "Drops what was queued since MULTI")
    ("EXEC", 1, NONE, Transaction(Verb::Exec), NOSCRIPT | SKIP_SLOWLOG | ANYTIME, "1.2.0",
        "", "Carries out what was queued since MULTI")
    ("MULTI", 1, NONE, Transaction(Verb::Multi), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "1.2.0",
        "", "Begins to queue requests")
    ("UNWATCH", 1, NONE, Transaction(Verb::Unwatch), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "2.2.0",
        "", "Forgets the watched keys")
    ("WATCH", -2, range(1, -1, 1), Transaction(Verb::Watch), FAST | NOSCRIPT | ALLOW_BUSY | ANYTIME, "2.2.0",
        "key [key ...]", "Lets EXEC fail if these keys change before it")
}
