//! Documents of the module JSON; part of Redis 8.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Json;
    ("JSON.ARRAPPEND", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key path value [value ...]", "Appends to an array")
    ("JSON.ARRINDEX", -4, FIRST, Forward, READ, "1.0.0",
        "key path value [start [stop]]", "Finds a value in an array")
    ("JSON.ARRINSERT", -5, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key path index value [value ...]", "Inserts into an array")
    ("JSON.ARRLEN", -2, FIRST, Forward, READ, "1.0.0", "key [path]", "Returns the length of an array")
    ("JSON.ARRPOP", -2, FIRST, Forward, WRITE, "1.0.0",
        "key [path [index]]", "Removes and returns a value of an array")
    ("JSON.ARRTRIM", 5, FIRST, Forward, WRITE, "1.0.0",
        "key path start stop", "Trims an array to a range")
    ("JSON.CLEAR", -2, FIRST, Forward, WRITE, "2.0.0",
        "key [path]", "Empties containers and sets numbers to 0")
    ("JSON.DEBUG", -2, NONE, Answer(Local::Help), NOFLAGS, "1.0.0",
        "", "Looks into how a document is kept", JSON_DEBUG)
    ("JSON.DEL", -2, FIRST, Forward, WRITE, "1.0.0", "key [path]", "Deletes a part of a document")
    ("JSON.FORGET", -2, FIRST, Forward, WRITE, "1.0.0",
        "key [path]", "Deletes a part of a document (other name of JSON.DEL)")
    ("JSON.GET", -2, FIRST, Forward, READ, "1.0.0",
        "key [INDENT indent] [NEWLINE newline] [SPACE space] [path ...]",
        "Reads parts of a document")
    ("JSON.MERGE", 4, FIRST, Forward, WRITE | DENYOOM, "2.6.0",
        "key path value", "Merges a value into a document")
    ("JSON.MGET", -3, range(1, -2, 1), Forward, READ, "1.0.0",
        "key [key ...] path", "Reads one path of many documents")
    ("JSON.MSET", -4, range(1, -1, 3), Forward, WRITE | DENYOOM, "2.6.0",
        "key path value [key path value ...]", "Writes parts of many documents")
    ("JSON.NUMINCRBY", 4, FIRST, Forward, WRITE, "1.0.0", "key path value", "Adds to numbers")
    ("JSON.NUMMULTBY", 4, FIRST, Forward, WRITE, "1.0.0", "key path value", "Multiplies numbers")
    ("JSON.OBJKEYS", -2, FIRST, Forward, READ, "1.0.0",
        "key [path]", "Lists the names in an object")
    ("JSON.OBJLEN", -2, FIRST, Forward, READ, "1.0.0",
        "key [path]", "Counts the names in an object")
    ("JSON.RESP", -2, FIRST, Forward, READ, "1.0.0",
        "key [path]", "Reads a part of a document as RESP")
    ("JSON.SET", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key path value [NX|XX] [FPHA type]", "Writes a part of a document")
    ("JSON.STRAPPEND", -3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key [path] value", "Appends to a string")
    ("JSON.STRLEN", -2, FIRST, Forward, READ, "1.0.0", "key [path]", "Returns the length of a string")
    ("JSON.TOGGLE", -2, FIRST, Forward, WRITE, "2.0.0",
        "key [path]", "Toggles a boolean")
    ("JSON.TYPE", -2, FIRST, Forward, READ, "1.0.0", "key [path]", "Returns the type of a value")
}

commands! { JSON_DEBUG in Group::Json;
    ("JSON.DEBUG|HELP", -2, NONE, Answer(Local::Help), NOFLAGS, "1.0.0",
        "", "Lists the subcommands")
    ("JSON.DEBUG|MEMORY", -3, Keys::At(2), Forward, READ, "1.0.0",
        "key [path]", "Returns the memory usage of a value")
}
