//! Scripts and functions.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Scripting;
    ("EVAL", -3, counted(2), Forward, NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "2.6.0",
        "script numkeys key [key ...] [arg ...]", "Runs a script")
    ("EVALSHA", -3, counted(2), Forward, NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "2.6.0",
        "sha1 numkeys key [key ...] [arg ...]", "Runs a script that the server knows by its SHA1")
    ("EVALSHA_RO", -3, counted(2), Forward, READ | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "sha1 numkeys key [key ...] [arg ...]", "Runs a known script that only reads")
    ("EVAL_RO", -3, counted(2), Forward, READ | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "script numkeys key [key ...] [arg ...]", "Runs a script that only reads")
    ("FCALL", -3, counted(2), Forward, NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "function numkeys key [key ...] [arg ...]", "Calls a function that the server has loaded")
    ("FCALL_RO", -3, counted(2), Forward, READ | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS, "7.0.0",
        "function numkeys key [key ...] [arg ...]", "Calls a function that only reads")
    ("FUNCTION", -2, NONE, Answer(Local::Help), NOFLAGS, "7.0.0",
        "", "Keeps the libraries of functions", FUNCTION)
    ("SCRIPT", -2, NONE, Answer(Local::Help), NOFLAGS, "2.6.0",
        "", "Keeps the scripts of a server", SCRIPT)
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
        "", "Ends a function that runs for too long")
    ("FUNCTION|LIST", -2, NONE, all(ResponsePolicy::Libraries), NOSCRIPT, "7.0.0",
        "[LIBRARYNAME library-name-pattern] [WITHCODE]", "Lists the libraries")
    ("FUNCTION|LOAD", -3, NONE, all(ResponsePolicy::AllEqual), WRITE | DENYOOM | NOSCRIPT, "7.0.0",
        "[REPLACE] function-code", "Loads a library")
    ("FUNCTION|RESTORE", -3, NONE, all(ResponsePolicy::AllSucceeded), WRITE | DENYOOM | NOSCRIPT, "7.0.0",
        "serialized-value [FLUSH|APPEND|REPLACE]", "Restores serialised libraries")
    ("FUNCTION|STATS", 2, NONE, all(ResponsePolicy::BusyOrAny), NOSCRIPT | ALLOW_BUSY, "7.0.0",
        "", "Tells what runs and how much is loaded")
}

commands! { SCRIPT in Group::Scripting;
    ("SCRIPT|DEBUG", 3, NONE, Refuse(Refusal::SharedConnection), NOSCRIPT, "3.2.0",
        "<YES|SYNC|NO>", "Chooses how EVAL is debugged")
    ("SCRIPT|EXISTS", -3, NONE, all(ResponsePolicy::LogicalAnd), NOSCRIPT, "2.6.0",
        "sha1 [sha1 ...]", "Tells which scripts are known")
    ("SCRIPT|FLUSH", -2, NONE, all(ResponsePolicy::AllSucceeded), NOSCRIPT, "2.6.0",
        "[ASYNC|SYNC]", "Forgets all scripts")
    ("SCRIPT|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0",
        "", "Lists the subcommands")
    ("SCRIPT|KILL", 2, NONE, all(ResponsePolicy::OneSucceeded), NOSCRIPT | ALLOW_BUSY, "2.6.0",
        "", "Ends a script that runs for too long")
    ("SCRIPT|LOAD", 3, NONE, all(ResponsePolicy::Script), NOSCRIPT | STALE, "2.6.0",
        "script", "Makes a script known")
    ("SCRIPT|SHOW", 3, NONE, Refuse(Refusal::Administration), NOSCRIPT | STALE, "8.0.0",
        "sha1", "Shows a script by its SHA1 (Valkey)")
}
