//! The types of the tables, and the options: one table, from which the grammar, the usage and the messages are generated.

use clap::ValueHint;

/// One option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// The long form, without its hyphens.
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) value: Value,
    pub(crate) help: &'static str,
}

/// The kind of value that an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// No value.
    Flag,
    Number,
    File,
    Text,
    Name,
    /// A name; the option may be repeated.
    Names,
    /// A number with a unit of time.
    Time,
}

impl Value {
    /// The noun of a missing value, for messages.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Flag => "a value",
            Self::Number => "a number",
            Self::File => "a file name",
            Self::Text => "a string",
            Self::Name | Self::Names => "a name",
            Self::Time => "a time, as in 500ms, 5s or 2m",
        }
    }

    /// What a shell completes it with.
    pub(crate) fn hint(self) -> ValueHint {
        match self {
            Self::File => ValueHint::FilePath,
            _ => ValueHint::Other,
        }
    }

    /// The suffix of the long form in the usage.
    fn suffix(self) -> &'static str {
        match self {
            Self::Flag => "",
            Self::Number => "=N",
            Self::File | Self::Text | Self::Name | Self::Names | Self::Time => "=S",
        }
    }
}

/// The options, in the order of the usage.
pub(crate) const OPTIONS: [Opt; 22] = {
    use Value::{File, Flag, Number, Text};
    [
        HELP,
        opt("version", Some('V'), Flag, "show version and exit"),
        opt(
            "test-conf",
            Some('t'),
            Flag,
            "validate the configuration file and exit",
        ),
        opt("daemonize", Some('d'), Flag, "run as a daemon"),
        opt(
            "describe-stats",
            Some('D'),
            Flag,
            "print stats description and exit",
        ),
        opt(
            "verbose",
            Some('v'),
            Number,
            "set logging level (default: 5, min: 0, max: 11)",
        ),
        opt(
            "output",
            Some('o'),
            File,
            "set logging file (default: stderr)",
        ),
        opt(
            "log-format",
            None,
            Text,
            "set format of log lines, text or json (default: text)",
        ),
        opt(
            "conf-file",
            Some('c'),
            File,
            "set configuration file (default: conf/nutcracker.yml)",
        ),
        opt(
            "stats-port",
            Some('s'),
            Number,
            "set stats monitoring port (default: 22222)",
        ),
        opt(
            "stats-addr",
            Some('a'),
            Text,
            "set stats monitoring ip (default: 0.0.0.0)",
        ),
        opt(
            "stats-tls-cert",
            None,
            File,
            "set certificate of the stats port, which then speaks HTTPS (default: off)",
        ),
        opt(
            "stats-tls-key",
            None,
            File,
            "set private key of --stats-tls-cert",
        ),
        opt(
            "stats-interval",
            Some('i'),
            Number,
            "set stats aggregation interval in msec (default: 30000 msec)",
        ),
        opt("pid-file", Some('p'), File, "set pid file (default: off)"),
        opt(
            "mbuf-size",
            Some('m'),
            Number,
            "accepted for compatibility; ignored",
        ),
        opt(
            "workers",
            None,
            Number,
            "set number of worker threads (default: the cores available)",
        ),
        opt(
            "admin",
            None,
            File,
            "set unix socket for 'ringroad ctl' (default: off)",
        ),
        opt(
            "show-keys",
            None,
            Flag,
            "let the stats port show keys, arguments and client addresses too",
        ),
        opt(
            "watch",
            None,
            Flag,
            "reload the configuration file when it changes",
        ),
        opt(
            "against",
            None,
            File,
            "with -t: ask the proxy at this unix socket what a reload would change",
        ),
        opt(
            "take-over",
            None,
            File,
            "take over the listeners and clients of the proxy at this unix socket",
        ),
    ]
};

pub(super) const HELP: Opt = opt("help", Some('h'), Value::Flag, "this help");

/// The socket, as `ctl` has it.
pub(super) const ADMIN: Opt = opt(
    "admin",
    None,
    Value::File,
    "the proxy's socket (default: $RINGROAD_ADMIN, else /run/ringroad/ctl.sock)",
);

pub(super) const POOL: Opt = opt("pool", None, Value::Name, "the pool");

pub(super) const TO: Opt = opt(
    "to",
    None,
    Value::Name,
    "failover: the replica at this address, not any",
);
/// An option of `ctl`.
pub(super) const CHECK: Opt = opt(
    "check",
    None,
    Value::Flag,
    "reload: only report what would change",
);

pub(super) const SWAP: Opt = opt(
    "swap",
    None,
    Value::Names,
    "reload: let keys of this pool be looked for on other servers",
);

/// The length of an observation.
pub(super) const FOR: Opt = opt(
    "for",
    None,
    Value::Time,
    "hotkeys: count every request for this time; tap: end after it; at most 20s",
);

pub(super) const COUNT: Opt = opt(
    "count",
    None,
    Value::Number,
    "hotkeys, bigkeys, slowlog: so many entries (default: 20); tap: requests (default: 100)",
);

pub(super) const CLIENT: Opt = opt(
    "client",
    None,
    Value::Name,
    "tap: only clients with this address, with or without port",
);

pub(super) const COMMAND: Opt = opt("command", None, Value::Name, "tap: only this command");

pub(super) const KEY: Opt = opt(
    "key",
    None,
    Value::Name,
    "tap: only requests with a key that matches this pattern",
);

pub(super) const SERVER: Opt = opt(
    "server",
    None,
    Value::Name,
    "tap: only requests with a key of this server",
);

pub(super) const ONE_IN: Opt = opt(
    "one-in",
    None,
    Value::Number,
    "tap: only one request in so many",
);

pub(super) const JSON: Opt = opt("json", None, Value::Flag, "print JSON");

/// The pool, where one of a file is meant.
pub(super) const ONE_POOL: Opt = opt(
    "pool",
    None,
    Value::Name,
    "the pool (default: the only one)",
);

/// The limit of copies.
pub(super) const COPY_RATE: Opt = opt(
    "rate",
    None,
    Value::Number,
    "maximum keys per second of each server (default: 0: no limit)",
);

pub(super) const fn opt(
    name: &'static str,
    short: Option<char>,
    value: Value,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        short,
        value,
        help,
    }
}

impl Opt {
    pub(super) fn line(&self) -> String {
        format!("  {:22} : {}\n", self.forms(), self.help)
    }

    /// Both forms, as the usage shows them.
    pub(super) fn forms(&self) -> String {
        let short = match self.short {
            Some(short) => format!("-{short},"),
            None => String::new(),
        };
        format!("{short:3} --{}{}", self.name, self.value.suffix())
    }
}

/// A command besides the proxy itself.
#[derive(Debug)]
pub(crate) struct Subcommand {
    pub(crate) name: &'static str,
    /// The usage behind its name.
    pub(crate) synopsis: &'static str,
    pub(crate) about: &'static str,
    /// The options of [`OPTIONS`] that it has besides `--help`.
    pub(crate) shared: &'static [&'static str],
    pub(crate) own: &'static [Opt],
    /// The commands, one of which is required; all take its options too.
    pub(crate) commands: &'static [Self],
    /// The exit code for errors.
    pub(crate) trouble: u8,
}

impl Subcommand {
    pub(super) fn synopsis_line(&self) -> String {
        let line = format!("       ringroad {} {}", self.name, self.synopsis);
        format!("{}\n", line.trim_end())
    }

    pub(super) fn section(&self) -> String {
        let options: String = self.own.iter().map(Opt::line).collect();
        format!("{}: {}\n{options}", self.name, self.about)
    }
}
