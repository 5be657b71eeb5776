//! Scripts and functions.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Scripting;
    ("EVAL", -3, counted(2), Forward, NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "2.6.0",
        "script numkeys key [key ...] [arg ...]", "Runs a script")
    ("EVALSHA", -3, counted(2), Forward, NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "2.6.0",
        "sha1 numkeys key [key ...] [arg ...]", "Runs a cached script by its SHA1")
    ("EVALSHA_RO", -3, counted(2), Forward, READ | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "sha1 numkeys key [key ...] [arg ...]", "Runs a cached read-only script")
    ("EVAL_RO", -3, counted(2), Forward, READ | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "script numkeys key [key ...] [arg ...]", "Runs a read-only script")
    ("FCALL", -3, counted(2), Forward, NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "function numkeys key [key ...] [arg ...]", "Calls a function that the server has loaded")
    ("FCALL_RO", -3, counted(2), Forward, READ | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "function numkeys key [key ...] [arg ...]", "Calls a read-only function")
    ("FUNCTION", -2, NONE, Answer(Local::Help), NOFLAGS, "7.0.0",
        "", "Manages function libraries", FUNCTION)
    ("SCRIPT", -2, NONE, Answer(Local::Help), NOFLAGS, "2.6.0",
        "", "Manages cached scripts", SCRIPT)
}

commands! { FUNCTION in Group::Scripting;
    ("FUNCTION|DELETE", 3, NONE, all(ResponsePolicy::AllSucceeded), WRITE | NOSCRIPT, "7.0.0",
        "library-name", "Deletes a library")
    ("FUNCTION|DUMP", 2, NONE, all(ResponsePolicy::Dump), NOSCRIPT, "7.0.0",
        "", "Serialises all libraries")
    ("FUNCTION|FLUSH", -2, NONE, all(ResponsePolicy::AllSucceeded), WRITE | NOSCRIPT, "7.0.0",
        "[ASYNC|SYNC]", "Deletes all libraries")
    ("FUNCTION|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "7.0.0",
        "", "Lists the subcommands")
    ("FUNCTION|KILL", 2, NONE, all(ResponsePolicy::OneSucceeded), NOSCRIPT | ALLOW_BUSY, "7.0.0",
        "", "Kills a running function")
    ("FUNCTION|LIST", -2, NONE, all(ResponsePolicy::Libraries), NOSCRIPT, "7.0.0",
        "[LIBRARYNAME library-name-pattern] [WITHCODE]", "Lists the libraries")
    ("FUNCTION|LOAD", -3, NONE, all(ResponsePolicy::AllEqual), WRITE | DENYOOM | NOSCRIPT, "7.0.0",
        "[REPLACE] function-code", "Loads a library")
    ("FUNCTION|RESTORE", -3, NONE, all(ResponsePolicy::AllSucceeded), WRITE | DENYOOM | NOSCRIPT, "7.0.0",
        "serialized-value [FLUSH|APPEND|REPLACE]", "Restores serialised libraries")
    ("FUNCTION|STATS", 2, NONE, all(ResponsePolicy::BusyOrAny), NOSCRIPT | ALLOW_BUSY, "7.0.0",
        "", "Returns the running function and the number of loaded ones")
}

commands! { SCRIPT in Group::Scripting;
    ("SCRIPT|DEBUG", 3, NONE, Refuse(Refusal::SharedConnection), NOSCRIPT, "3.2.0",
        "<YES|SYNC|NO>", "Sets the debugging mode of EVAL")
    ("SCRIPT|EXISTS", -3, NONE, all(ResponsePolicy::LogicalAnd), NOSCRIPT, "2.6.0",
        "sha1 [sha1 ...]", "Checks which scripts are cached")
    ("SCRIPT|FLUSH", -2, NONE, all(ResponsePolicy::AllSucceeded), NOSCRIPT, "2.6.0",
        "[ASYNC|SYNC]", "Removes all scripts from the cache")
    ("SCRIPT|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0",
        "", "Lists the subcommands")
    ("SCRIPT|KILL", 2, NONE, all(ResponsePolicy::OneSucceeded), NOSCRIPT | ALLOW_BUSY, "2.6.0",
        "", "Kills a running script")
    ("SCRIPT|LOAD", 3, NONE, all(ResponsePolicy::Script), NOSCRIPT | STALE, "2.6.0",
        "script", "Loads a script into the cache")
    ("SCRIPT|SHOW", 3, NONE, Refuse(Refusal::Administration), NOSCRIPT | STALE, "8.0.0",
        "sha1", "Shows a script by its SHA1 (Valkey)")
}
