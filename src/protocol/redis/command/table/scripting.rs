//! Scripts and functions.

use super::prelude::*;

commands! { pub(super) ROWS in Group::Scripting;
    ("EVAL", -3, counted(2), Forward, NOFLAGS, "2.6.0",
        "script numkeys key [key ...] [arg ...]", "Runs a script")
    ("EVALSHA", -3, counted(2), Forward, NOFLAGS, "2.6.0",
        "sha1 numkeys key [key ...] [arg ...]", "Runs a script that the server knows by its SHA1")
    ("EVALSHA_RO", -3, counted(2), Forward, READ, "7.0.0",
        "sha1 numkeys key [key ...] [arg ...]", "Runs a known script that only reads")
    ("EVAL_RO", -3, counted(2), Forward, READ, "7.0.0",
        "script numkeys key [key ...] [arg ...]", "Runs a script that only reads")
    ("FCALL", -3, counted(2), Forward, NOFLAGS, "7.0.0",
        "function numkeys key [key ...] [arg ...]", "Calls a function that the server has loaded")
    ("FCALL_RO", -3, counted(2), Forward, READ, "7.0.0",
        "function numkeys key [key ...] [arg ...]", "Calls a function that only reads")
}
