//! The subcommands: one table, from which the grammar, the usage and the messages are generated.

use crate::admin::api::Operation;
use crate::cli::options::{
    ADMIN, CHECK, CLIENT, COMMAND, COPY_RATE, COUNT, FOR, HELP, JSON, KEY, ONE_IN, ONE_POOL,
    OPTIONS, Opt, POOL, SERVER, SWAP, Subcommand, TO, Value, opt,
};
use crate::cli::reshard_table::RESHARD;

/// The first lines of the usage. They group the options as nutcracker does.
pub(super) const SYNOPSIS: &str = "\
Usage: ringroad [-hVdDt] [-v verbosity level] [-o output file] [-c conf file]
                [-s stats port] [-a stats addr] [-i stats interval]
                [--stats-tls-cert cert file] [--stats-tls-key key file]
                [-p pid file] [-m mbuf size] [--workers N] [--admin socket]
                [--show-keys] [--watch] [--against socket] [--take-over socket]
                [--log-format text|json]
";

/// The subcommands, in the order of the usage.
pub(crate) static SUBCOMMANDS: [Subcommand; 8] = [
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
        commands: &[],
        trouble: 1,
    },
    Subcommand {
        name: "diff",
        synopsis: "[--json] [--] old new",
        about: "print what a change of the configuration file would do; exit 1 if the files differ, 2 on errors",
        shared: &[],
        own: &[JSON],
        commands: &[],
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
            ONE_POOL,
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
        commands: &[],
        trouble: 2,
    },
    Subcommand {
        name: "copy",
        synopsis: "--from file [--from-pool name] --to file [--to-pool name] [--once]\n                     \
                   [--rate N] [--into-data] [--yes] [--json]",
        about: "copy the keys of a pool to the servers of another one while clients use them, and follow their changes \
                until SIGINT or SIGTERM; exit 1 if something is left to copy, 2 on errors",
        shared: &[],
        own: &[
            opt(
                "from",
                None,
                Value::File,
                "the file with the pool whose keys are copied",
            ),
            opt(
                "from-pool",
                None,
                Value::Name,
                "that pool (default: the only one)",
            ),
            opt(
                "to",
                None,
                Value::File,
                "the file with the pool whose servers get them",
            ),
            opt(
                "to-pool",
                None,
                Value::Name,
                "that pool (default: the only one)",
            ),
            opt(
                "once",
                None,
                Value::Flag,
                "end when all keys and changes are copied",
            ),
            COPY_RATE,
            opt(
                "into-data",
                None,
                Value::Flag,
                "the servers may have keys; those of the same name are replaced",
            ),
            opt("yes", None, Value::Flag, "do not ask"),
            JSON,
        ],
        commands: &[],
        trouble: 2,
    },
    Subcommand {
        name: "reshard",
        synopsis: "command",
        about: "move the keys of a pool to other servers, or to another placement, while clients use them ('ringroad reshard \
                -h' lists the commands); exit 1 if something prevents it or it was stopped, 2 on errors",
        shared: &[],
        own: &[],
        commands: &RESHARD,
        trouble: 2,
    },
    Subcommand {
        name: "ctl",
        synopsis: "[--admin socket] [--json] command",
        about: "ask or change a running proxy ('ringroad ctl -h' lists the commands); exit 1 if it refuses, 2 on \
                errors, 3 if none answers",
        shared: &[],
        own: &[ADMIN, JSON],
        commands: &CTL,
        trouble: 2,
    },
    Subcommand {
        name: "man",
        synopsis: "",
        about: "print the manual page, as in 'ringroad man | man -l -'",
        shared: &[],
        own: &[],
        commands: &[],
        trouble: 1,
    },
    Subcommand {
        name: "completions",
        synopsis: "bash|zsh|fish",
        about: "print completions for a shell",
        shared: &[],
        own: &[],
        commands: &[],
        trouble: 1,
    },
];

/// The commands of `ctl`.
static CTL: [Subcommand; 27] = [
    ctl("status", Operation::Status, &[]),
    ctl("overview", Operation::Overview, &[POOL]),
    ctl("events", Operation::Events, &[POOL]),
    ctl("ring", Operation::Rings, &[POOL]),
    ctl("pools", Operation::Pools, &[]),
    ctl("servers", Operation::Servers, &[POOL]),
    ctl("clients", Operation::Clients, &[POOL]),
    ctl("users", Operation::Users, &[POOL]),
    ctl("setuser", Operation::SetUser, &[]),
    ctl("deluser", Operation::DeleteUser, &[]),
    ctl("topology", Operation::Topology, &[POOL]),
    ctl("moves", Operation::Moves, &[POOL]),
    ctl("commands", Operation::Commands, &[POOL]),
    ctl("refusals", Operation::Refusals, &[POOL]),
    ctl("hotkeys", Operation::HotKeys, &[POOL, FOR, COUNT]),
    ctl("bigkeys", Operation::BigKeys, &[POOL, COUNT]),
    ctl("slowlog", Operation::SlowLog, &[POOL, COUNT]),
    ctl(
        "tap",
        Operation::Tap,
        &[POOL, FOR, COUNT, CLIENT, COMMAND, KEY, SERVER, ONE_IN],
    ),
    ctl("drain", Operation::Drain, &[POOL]),
    ctl("eject", Operation::Eject, &[POOL]),
    ctl("admit", Operation::Admit, &[POOL]),
    ctl("failover", Operation::Failover, &[POOL, TO]),
    ctl("reload", Operation::Reload, &[CHECK, SWAP]),
    ctl("diff", Operation::Diff, &[]),
    ctl("loglevel", Operation::LogLevel, &[]),
    ctl("upgrade", Operation::Upgrade, &[]),
    ctl("stop", Operation::Stop, &[]),
];

const fn ctl(name: &'static str, operation: Operation, own: &'static [Opt]) -> Subcommand {
    Subcommand {
        name,
        synopsis: operation.endpoint().command,
        about: operation.endpoint().help,
        shared: &[],
        own,
        commands: &[],
        trouble: 2,
    }
}

/// Returns the option of this long name, of the proxy or of a subcommand.
pub(crate) fn named(name: &str) -> Option<&'static Opt> {
    let own = SUBCOMMANDS
        .iter()
        .chain(&CTL)
        .chain(&RESHARD)
        .flat_map(|subcommand| subcommand.own);
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

/// The usage of `ringroad ctl`.
pub fn ctl_usage() -> String {
    let line = |left: &str, help: &str| format!("  {left:34} : {help}\n");
    let command = |operation: &Operation| {
        let endpoint = operation.endpoint();
        line(endpoint.command, endpoint.help)
    };
    let commands: String = Operation::ALL.iter().map(command).collect();
    let options = [
        &HELP, &ADMIN, &JSON, &POOL, &FOR, &COUNT, &CLIENT, &COMMAND, &KEY, &SERVER, &ONE_IN, &TO,
        &CHECK, &SWAP,
    ];
    let options = options.map(|opt| line(&opt.forms(), opt.help)).concat();
    format!(
        "Usage: ringroad ctl [--admin socket] [--json] command\n\nCommands:\n{commands}\nOptions:\n{options}"
    )
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
                (None, Value::Flag) => SYNOPSIS.contains(&format!("[--{}]", opt.name)),
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
            "      --workers=N        : set number of worker threads (default: the cores available)\n",
            "      --watch            : reload the configuration file when it changes\n",
            "      --against=S        : with -t: ask the proxy at this unix socket what a reload would change\n",
            "      --take-over=S      : take over the listeners and clients of the proxy at this unix socket\n\nroute: ",
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

    #[test]
    fn commands_of_ctl_are_those_of_the_api() {
        let of_api = Operation::ALL.iter().filter_map(|operation| {
            let command = operation.endpoint().command;
            command.split(' ').next()
        });
        let mut of_api: Vec<_> = of_api.collect();
        of_api.dedup();
        assert_eq!(of_api, CTL.each_ref().map(|command| command.name));
    }
}
