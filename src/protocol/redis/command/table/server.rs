//! What Redis files under its server; mostly answered by the proxy.

use super::prelude::*;

commands! { pub(super) ROWS in Group::Server;
    ("ASKING", 1, NONE, Answer(Local::ClusterDisabled), FAST, "3.0.0",
        "", "Answers that there is no cluster")
    ("CLUSTER", -2, NONE, Answer(Local::ClusterDisabled), NOFLAGS, "3.0.0",
        "subcommand [arg ...]", "Answers that there is no cluster")
    ("COMMAND", -1, NONE, Answer(Local::CommandAll), NOFLAGS, "2.8.13",
        "", "Describes the commands that are offered", COMMAND)
    ("CONFIG", -2, NONE, Answer(Local::Help), NOFLAGS, "2.0.0", "", "Shows a few settings", CONFIG)
    ("INFO", -1, NONE, Answer(Local::Info), NOFLAGS, "1.0.0", "[section ...]", "Describes the proxy")
    ("LOLWUT", -1, NONE, Keyless, READ | FAST, "5.0.0",
        "[VERSION version]", "Draws a picture at the placeholder's server")
    ("MEMORY", -2, NONE, Answer(Local::Help), NOFLAGS, "4.0.0", "", "Measures memory", MEMORY)
    ("READONLY", 1, NONE, Answer(Local::ClusterDisabled), FAST, "3.0.0",
        "", "Answers that there is no cluster")
    ("READWRITE", 1, NONE, Answer(Local::ClusterDisabled), FAST, "3.0.0",
        "", "Answers that there is no cluster")
}

commands! { COMMAND in Group::Server;
    ("COMMAND|COUNT", 2, NONE, Answer(Local::CommandCount), NOFLAGS, "2.8.13",
        "", "Counts the commands that are offered")
    ("COMMAND|DOCS", -2, NONE, Answer(Local::CommandDocs), NOFLAGS, "7.0.0",
        "[name ...]", "Documents the commands that are offered")
    ("COMMAND|GETKEYS", -4, NONE, Answer(Local::CommandGetKeys), NOFLAGS, "2.8.13",
        "name [arg ...]", "Finds the keys of a request")
    ("COMMAND|HELP", 2, NONE, Answer(Local::Help), NOFLAGS, "5.0.0", "", "Lists the subcommands")
    ("COMMAND|INFO", -2, NONE, Answer(Local::CommandInfo), NOFLAGS, "2.8.13",
        "[name ...]", "Describes commands by name")
    ("COMMAND|LIST", -2, NONE, Answer(Local::CommandList), NOFLAGS, "7.0.0",
        "[FILTERBY ACLCAT category|PATTERN pattern]",
        "Lists the names of the commands that are offered")
    ("COMMAND|GETKEYSANDFLAGS", -4, refused KeyFlags)
}

commands! { CONFIG in Group::Server;
    ("CONFIG|GET", -3, NONE, Answer(Local::ConfigGet), NOFLAGS, "2.0.0",
        "parameter [parameter ...]", "Reads the few settings that clients ask for")
    ("CONFIG|HELP", 2, NONE, Answer(Local::Help), NOFLAGS, "5.0.0", "", "Lists the subcommands")
    ("CONFIG|RESETSTAT", 2, refused Configuration)
    ("CONFIG|REWRITE", 2, refused Configuration)
    ("CONFIG|SET", -4, refused Configuration)
}

commands! { MEMORY in Group::Server;
    ("MEMORY|HELP", 2, NONE, Answer(Local::Help), NOFLAGS, "4.0.0", "", "Lists the subcommands")
    ("MEMORY|USAGE", -3, Keys::At(2), Forward, READ, "4.0.0",
        "key [SAMPLES count]", "Measures the memory of a key")
    ("MEMORY|DOCTOR", 2, refused Administration)
    ("MEMORY|MALLOC-STATS", 2, refused Administration)
    ("MEMORY|PURGE", 2, refused Administration)
    ("MEMORY|STATS", 2, refused Administration)
}
