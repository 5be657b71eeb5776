//! The connection of one client; answered by the proxy.

use super::prelude::*;

commands! { pub(super) ROWS in Group::Connection;
    ("AUTH", -2, NONE, Answer(Local::Auth), FAST, "1.0.0",
        "[username] password", "Gives the password of the pool")
    ("CLIENT", -2, NONE, Answer(Local::Help), NOFLAGS, "2.4.0",
        "", "Concerns the connection of this client", CLIENT)
    ("ECHO", 2, NONE, Answer(Local::Echo), FAST, "1.0.0", "message", "Returns its argument")
    ("HELLO", -1, NONE, Answer(Local::Hello), FAST, "6.0.0",
        "[protover [AUTH username password] [SETNAME name]]",
        "Agrees on RESP2 or RESP3, with password and name")
    ("PING", -1, NONE, Answer(Local::Ping), FAST, "1.0.0",
        "[message]", "Answers PONG, or its argument")
    ("QUIT", -1, NONE, Answer(Local::Quit), FAST, "1.0.0", "", "Closes the connection")
    ("RESET", 1, NONE, Answer(Local::Reset), FAST, "6.2.0",
        "", "Forgets all that this connection was told, and returns to RESP2")
    ("SELECT", 2, NONE, Answer(Local::Select), FAST, "1.0.0",
        "index", "Chooses a database")
}

commands! { CLIENT in Group::Connection;
    ("CLIENT|GETNAME", 2, NONE, Answer(Local::ClientGetName), NOFLAGS, "2.6.9",
        "", "Tells the name of this connection")
    ("CLIENT|HELP", 2, NONE, Answer(Local::Help), NOFLAGS, "5.0.0", "", "Lists the subcommands")
    ("CLIENT|ID", 2, NONE, Answer(Local::ClientId), NOFLAGS, "5.0.0",
        "", "Tells the number of this connection")
    ("CLIENT|INFO", 2, NONE, Answer(Local::ClientInfo), NOFLAGS, "6.2.0",
        "", "Describes this connection")
    ("CLIENT|NO-EVICT", 3, NONE, Answer(Local::ClientNoEvict), NOFLAGS, "7.0.0",
        "<ON|OFF>", "Answers OK: the proxy evicts no client for memory")
    ("CLIENT|SETINFO", 4, NONE, Answer(Local::ClientSetInfo), NOFLAGS, "7.2.0",
        "<LIB-NAME library|LIB-VER version>", "Tells the name and version of the client library")
    ("CLIENT|SETNAME", 3, NONE, Answer(Local::ClientSetName), NOFLAGS, "2.6.9",
        "connection-name", "Names this connection")
    ("CLIENT|KILL", -3, refused OtherClients)
    ("CLIENT|LIST", -2, refused OtherClients)
    ("CLIENT|PAUSE", -3, refused OtherClients)
    ("CLIENT|UNBLOCK", -3, refused OtherClients)
    ("CLIENT|UNPAUSE", 2, refused OtherClients)
    ("CLIENT|CACHING", 3, refused SharedConnection)
    ("CLIENT|GETREDIR", 2, refused SharedConnection)
    ("CLIENT|NO-TOUCH", 3, refused SharedConnection)
    ("CLIENT|REPLY", 3, refused SharedConnection)
    ("CLIENT|TRACKING", -3, refused SharedConnection)
    ("CLIENT|TRACKINGINFO", 2, refused SharedConnection)
    ("CLIENT|MAINT_NOTIFICATIONS", -3, refused Push)
}
