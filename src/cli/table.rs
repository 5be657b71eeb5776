//! The options: one table, from which the grammar, the usage and the messages are generated.

/// The first lines of the usage. They group the options as nutcracker does.
const SYNOPSIS: &str = "\
Usage: ringroad [-hVdDt] [-v verbosity level] [-o output file] [-c conf file]
                [-s stats port] [-a stats addr] [-i stats interval]
                [-p pid file] [-m mbuf size] [--workers N]
";

/// One option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// The long form, without its hyphens.
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) value: Value,
    help: &'static str,
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
}

impl Value {
    /// The noun of a missing value, for messages.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Flag => "a value",
            Self::Number => "a number",
            Self::File => "a file name",
            Self::Text => "a string",
            Self::Name => "a name",
        }
    }

    /// The suffix of the long form in the usage.
    fn suffix(self) -> &'static str {
        match self {
            Self::Flag => "",
            Self::Number => "=N",
            Self::File | Self::Text | Self::Name => "=S",
        }
    }
}

/// The options, in the order of the usage.
pub(crate) const OPTIONS: [Opt; 14] = {
    use Value::{File, Flag, Number, Text};
    [
        opt("help", Some('h'), Flag, "this help"),
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
    ]
};

/// A command besides the proxy itself.
#[derive(Debug)]
pub(crate) struct Subcommand {
    pub(crate) name: &'static str,
    /// The usage behind its name.
    synopsis: &'static str,
    about: &'static str,
    /// The options of [`OPTIONS`] that it has besides `--help`.
    pub(crate) shared: &'static [&'static str],
    pub(crate) own: &'static [Opt],
    /// The exit code for errors.
    pub(crate) trouble: u8,
}

/// The subcommands, in the order of the usage.
pub(crate) static SUBCOMMANDS: [Subcommand; 3] = [
    Subcommand {
        name: "route",
        synopsis: "[-c conf file] [--pool name] [--] key...",
        about: "print the server of each key",
        shared: &["conf-file"],
        own: &[opt(
            "pool",
            None,
            Value::Name,
            "only this pool (default: every pool)",
        )],
        trouble: 1,
    },
    Subcommand {
        name: "diff",
        synopsis: "[--json] [--] old new",
        about: "print what a change of the configuration file would do; exit 1 if the files differ, 2 on errors",
        shared: &[],
        own: &[JSON],
        trouble: 2,
    },
    Subcommand {
        name: "verify",
        synopsis: "[-c conf file] [--pool name] [--fix [--drop-only-copies] [--yes]]\n                       \
                   [--rate N] [--list] [--json]",
        about: "find the keys that are on other servers than those on which the file looks for them; exit 1 if \
                there are any, 2 on errors",
        shared: &["conf-file"],
        own: &[
            opt(
                "pool",
                None,
                Value::Name,
                "the pool (default: the only one)",
            ),
            opt(
                "fix",
                None,
                Value::Flag,
                "unlink those that the right server has too, after asking",
            ),
            opt(
                "drop-only-copies",
                None,
                Value::Flag,
                "with --fix: unlink the others too; they are lost",
            ),
            opt("yes", None, Value::Flag, "with --fix: do not ask"),
            opt(
                "rate",
                None,
                Value::Number,
                "maximum keys per second (default: 100000; 0: no limit)",
            ),
            opt("list", None, Value::Flag, "print each of them"),
            JSON,
        ],
        trouble: 2,
    },
];

const JSON: Opt = opt("json", None, Value::Flag, "print JSON");

const fn opt(name: &'static str, short: Option<char>, value: Value, help: &'static str) -> Opt {
    Opt {
        name,
        short,
        value,
        help,
    }
}

/// Returns the option of this long name, of the proxy or of a subcommand.
pub(crate) fn named(name: &str) -> Option<&'static Opt> {
    let own = SUBCOMMANDS.iter().flat_map(|subcommand| subcommand.own);
    OPTIONS.iter().chain(own).find(|opt| opt.name == name)
}

/// The usage.
pub fn usage() -> String {
    let synopses: String = SUBCOMMANDS.iter().map(Subcommand::synopsis_line).collect();
    let options: String = OPTIONS.iter().map(Opt::line).collect();
    let subcommands: Vec<_> = SUBCOMMANDS.iter().map(Subcommand::section).collect();
    format!(
        "{SYNOPSIS}{synopses}\nOptions:\n{options}\n{}",
        subcommands.join("\n")
    )
}

impl Subcommand {
    fn synopsis_line(&self) -> String {
        format!("       ringroad {} {}\n", self.name, self.synopsis)
    }

    fn section(&self) -> String {
        let options: String = self.own.iter().map(Opt::line).collect();
        format!("{}: {}\n{options}", self.name, self.about)
    }
}

impl Opt {
    fn line(&self) -> String {
        let short = match self.short {
            Some(short) => format!("-{short},"),
            None => String::new(),
        };
        let long = format!("--{}{}", self.name, self.value.suffix());
        format!("  {short:3} {long:18} : {}\n", self.help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_synopsis_names_every_option() {
        let flags: String = SYNOPSIS
            .split_once("[-")
            .and_then(|(_, rest)| rest.split_once(']'))
            .map(|(flags, _)| flags.to_owned())
            .unwrap();
        for opt in &OPTIONS {
            let is_named = match (opt.short, opt.value) {
                (Some(short), Value::Flag) => flags.contains(short),
                (Some(short), _) => SYNOPSIS.contains(&format!("[-{short} ")),
                (None, _) => SYNOPSIS.contains(&format!("[--{} ", opt.name)),
            };
            assert!(is_named, "{}", opt.name);
        }
        for subcommand in &SUBCOMMANDS {
            let shared = subcommand.shared.iter().filter_map(|name| named(name));
            for opt in shared.chain(subcommand.own) {
                let name = match opt.short {
                    Some(short) => format!("-{short}"),
                    None => format!("--{}", opt.name),
                };
                let words = subcommand.synopsis.split(['[', ']', ' ', '\n']);
                let is_named = words.into_iter().any(|word| word == name);
                assert!(is_named, "{}: {}", subcommand.name, opt.name);
            }
        }
    }

    #[test]
    fn the_usage_has_one_line_for_each_option() {
        let usage = usage();
        let lines = [
            "  -h, --help             : this help\n",
            "  -i, --stats-interval=N : set stats aggregation interval in msec (default: 30000 msec)\n",
            "      --workers=N        : set number of worker threads (default: the cores available)\n\nroute: ",
            "key\n      --pool=S           : only this pool (default: every pool)\n\ndiff: ",
            "errors\n      --json             : print JSON\n\nverify: ",
        ];
        for line in lines {
            assert!(usage.contains(line), "{line:?} is not in:\n{usage}");
        }
        let own = SUBCOMMANDS.iter().map(|subcommand| subcommand.own.len());
        assert_eq!(
            usage.matches(" : ").count(),
            OPTIONS.len() + own.sum::<usize>()
        );
    }
}
