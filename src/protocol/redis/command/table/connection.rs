//! The connection of one client; answered by the proxy.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Connection;
    ("AUTH", -2, NONE, Answer(Local::Auth), FAST | NOSCRIPT | NO_AUTH | ALLOW_BUSY | ANYTIME, "1.0.0",
        "[username] password", "Authenticates with the password of the pool")
    ("CLIENT", -2, NONE, Answer(Local::Help), NOFLAGS, "2.4.0",
        "", "Manages client connections", CLIENT)
    ("ECHO", 2, NONE, Answer(Local::Echo), FAST | ANYTIME, "1.0.0",
        "message", "Returns its argument")
    ("HELLO", -1, NONE, Answer(Local::Hello), FAST | NOSCRIPT | NO_AUTH | ALLOW_BUSY | ANYTIME, "6.0.0",
        "[protover [AUTH username password] [SETNAME name]]",
        "Negotiates RESP2 or RESP3; may authenticate and set the name")
    ("PING", -1, NONE, Answer(Local::Ping), FAST, "1.0.0",
        "[message]", "Answers PONG, or its argument")
    ("QUIT", -1, NONE, Answer(Local::Quit), FAST | NOSCRIPT | NO_AUTH | ALLOW_BUSY | ANYTIME, "1.0.0",
        "", "Closes the connection")
    ("RESET", 1, NONE, Answer(Local::Reset), FAST | NOSCRIPT | NO_AUTH | ALLOW_BUSY | ANYTIME, "6.2.0",
        "", "Resets the state of the connection and returns to RESP2")
    ("SELECT", 2, NONE, Answer(Local::Select), FAST | ANYTIME, "1.0.0",
        "index", "Selects a database")
}

commands! { CLIENT in Group::Connection;
    ("CLIENT|CACHING", 3, NONE, Answer(Local::ClientCaching), NOSCRIPT | ANYTIME, "6.0.0",
        "<YES|NO>", "Answers that tracking is off")
    ("CLIENT|CAPA", -3, NONE, Refuse(Refusal::SharedConnection), NOSCRIPT | ALLOW_BUSY | ANYTIME, "8.0.0",
        "capability [capability ...]", "Announces the capabilities of this client (Valkey)")
    ("CLIENT|GETNAME", 2, NONE, Answer(Local::ClientGetName), NOSCRIPT | ANYTIME, "2.6.9",
        "", "Returns the name of this connection")
    ("CLIENT|GETREDIR", 2, NONE, Answer(Local::ClientGetRedir), NOSCRIPT | ANYTIME, "6.0.0",
        "", "Answers that tracking is off")
    ("CLIENT|HELP", 2, NONE, Answer(Local::Help), ANYTIME, "5.0.0", "", "Lists the subcommands")
    ("CLIENT|ID", 2, NONE, Answer(Local::ClientId), NOSCRIPT | ANYTIME, "5.0.0",
        "", "Returns the ID of this connection")
    ("CLIENT|IMPORT-SOURCE", 3, NONE, Refuse(Refusal::SharedConnection), NOSCRIPT | ANYTIME, "8.1.0",
        "<ON|OFF>", "Marks this connection as an import source (Valkey)")
    ("CLIENT|INFO", 2, NONE, Answer(Local::ClientInfo), NOSCRIPT | ANYTIME, "6.2.0",
        "", "Describes this connection")
    ("CLIENT|KILL", -3, NONE, Answer(Local::ClientKill), ADMIN | NOSCRIPT | ANYTIME, "2.4.0",
        "<ip:port|<ID client-id|TYPE <NORMAL|MASTER|SLAVE|REPLICA|PUBSUB>|USER username|ADDR \
         ip:port|LADDR ip:port|SKIPME <YES|NO>|MAXAGE seconds>>", "Ends connections of clients of the pool")
    ("CLIENT|LIST", -2, NONE, Answer(Local::ClientList), ADMIN | NOSCRIPT | ANYTIME, "2.4.0",
        "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id [client-id ...]]",
        "Describes the clients of the pool")
    ("CLIENT|MAINT_NOTIFICATIONS", -3, NONE, Refuse(Refusal::Push), NOSCRIPT | ANYTIME, "8.0.0",
        "<ON|OFF> [option ...]", "Requests maintenance notifications of a managed server")
    ("CLIENT|NO-EVICT", 3, NONE, Answer(Local::ClientNoEvict), ADMIN | NOSCRIPT | ANYTIME, "7.0.0",
        "<ON|OFF>", "Answers OK: the proxy evicts no client for memory")
    ("CLIENT|NO-TOUCH", 3, NONE, Answer(Local::ClientNoTouch), NOSCRIPT | ALLOW_BUSY | ANYTIME, "7.2.0",
        "<ON|OFF>", "Accepts OFF")
    ("CLIENT|PAUSE", -3, NONE, Refuse(Refusal::OtherClients), ADMIN | NOSCRIPT | ANYTIME, "2.9.50",
        "timeout [WRITE|ALL]", "Pauses all clients")
    ("CLIENT|REPLY", 3, NONE, Answer(Local::ClientReply), NOSCRIPT | ANYTIME, "3.2.0",
        "<ON|OFF|SKIP>", "Turns the replies of this connection on or off")
    ("CLIENT|SETINFO", 4, NONE, Answer(Local::ClientSetInfo), NOSCRIPT | ANYTIME, "7.2.0",
        "<LIB-NAME library|LIB-VER version>", "Sets the name and version of the client library")
    ("CLIENT|SETNAME", 3, NONE, Answer(Local::ClientSetName), NOSCRIPT | ANYTIME, "2.6.9",
        "connection-name", "Sets the name of this connection")
    ("CLIENT|TRACKING", -3, NONE, Answer(Local::ClientTracking), NOSCRIPT | ANYTIME, "6.0.0",
        "<ON|OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] \
         [OPTOUT] [NOLOOP]",
        "Accepts OFF")
    ("CLIENT|TRACKINGINFO", 2, NONE, Answer(Local::ClientTrackingInfo), NOSCRIPT | ANYTIME, "6.2.0",
        "", "Answers that tracking is off")
    ("CLIENT|UNBLOCK", -3, NONE, Answer(Local::ClientUnblock), ADMIN | NOSCRIPT | ANYTIME, "5.0.0",
        "client-id [TIMEOUT|ERROR]", "Unblocks another client")
    ("CLIENT|UNPAUSE", 2, NONE, Answer(Local::ClientUnpause), ADMIN | NOSCRIPT | ANYTIME, "6.2.0",
        "", "Answers OK: nothing is ever paused")
}
