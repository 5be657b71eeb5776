//! The commands of `reshard`, and its usage.

use crate::cli::options::{
    COPY_RATE as RATE, HELP, JSON, ONE_POOL as POOL, Opt, Subcommand, Value, opt,
};

/// The commands of `reshard`.
pub(crate) static RESHARD: [Subcommand; 8] = [
    command(
        "plan",
        "-c file --to file [--by way] [--pool name] [--rate N] [--hold ms] [--allow addr] [--big-keys] [--json]",
        "show what a move to the placement of another file would do, and what prevents it",
        &["conf-file"],
        &[TO, BY, POOL, RATE, HOLD, ALLOW, BIG_KEYS, JSON],
    ),
    command(
        "start",
        "-c file --to file [--by way] [--pool name] [--rate N] [--hold ms] [--allow addr] [--yes] [--json]",
        "move the keys",
        &["conf-file"],
        &[TO, BY, POOL, RATE, HOLD, ALLOW, YES, JSON],
    ),
    command(
        "run",
        "-c file [--pool name] [--rate N] [--hold ms] [--allow addr] [--yes] [--json]",
        "go on with a move, from any machine",
        &["conf-file"],
        &[POOL, RATE, HOLD, ALLOW, YES, JSON],
    ),
    command(
        "status",
        "-c file [--pool name] [--watch] [--json]",
        "show how far a move is",
        &["conf-file"],
        &[POOL, WATCH, JSON],
    ),
    command(
        "pause",
        "-c file [--pool name] [--json]",
        "have the coordinator, wherever it runs, begin no hold and copy nothing",
        &["conf-file"],
        &[POOL, JSON],
    ),
    command(
        "resume",
        "-c file [--pool name] [--json]",
        "have it go on",
        &["conf-file"],
        &[POOL, JSON],
    ),
    command(
        "abort",
        "-c file [--pool name] [--rate N] [--json]",
        "take a move back of which no key has moved",
        &["conf-file"],
        &[POOL, RATE, JSON],
    ),
    command(
        "finish",
        "-c file [--pool name] [--rate N] [--allow addr] [--forget] [--yes] [--json]",
        "do what is left when all buckets have moved: save the copies, unlink the originals",
        &["conf-file"],
        &[POOL, RATE, ALLOW, FORGET, YES, JSON],
    ),
];

const TO: Opt = opt(
    "to",
    None,
    Value::File,
    "the file with the placement after the move",
);

const BY: Opt = opt(
    "by",
    None,
    Value::Name,
    "'replication' if only addresses of servers change: a new server replicates an old one, and takes its place; default: 'copy'",
);

const HOLD: Opt = opt(
    "hold",
    None,
    Value::Number,
    "the longest time in msec for which requests wait (default: 100 msec)",
);

const ALLOW: Opt = opt(
    "allow",
    None,
    Value::Names,
    "an address whose connections write no keys of the pool; may be repeated",
);

const YES: Opt = opt(
    "yes",
    None,
    Value::Flag,
    "do not ask, and accept servers that save nothing",
);

const BIG_KEYS: Opt = opt(
    "big-keys",
    None,
    Value::Flag,
    "look at all keys for big ones, not at a sample",
);

const FORGET: Opt = opt(
    "forget",
    None,
    Value::Flag,
    "then remove the marks, by which proxies with an old file know better",
);

const WATCH: Opt = opt(
    "watch",
    None,
    Value::Flag,
    "show it every second until it ends",
);

const fn command(
    name: &'static str,
    synopsis: &'static str,
    about: &'static str,
    shared: &'static [&'static str],
    own: &'static [Opt],
) -> Subcommand {
    Subcommand {
        name,
        synopsis,
        about,
        shared,
        own,
        commands: &[],
        trouble: 2,
    }
}

/// The usage of `ringroad reshard`.
pub fn reshard_usage() -> String {
    let synopses = RESHARD.iter().map(|command| {
        let (name, synopsis) = (command.name, command.synopsis);
        format!("       ringroad reshard {name} {synopsis}\n")
    });
    let synopses: String = synopses.collect();
    let synopses = synopses.replacen("      ", "Usage:", 1);
    let line = |left: &str, help: &str| format!("  {left:18} : {help}\n");
    let commands = RESHARD
        .iter()
        .map(|command| line(command.name, command.about));
    let commands: String = commands.collect();
    let file = "  -c, --conf-file=S  : the file from which the move starts; for the others, any that a proxy runs with\n";
    let options = [
        &HELP, &TO, &BY, &POOL, &RATE, &HOLD, &ALLOW, &BIG_KEYS, &YES, &WATCH, &FORGET, &JSON,
    ];
    let options = options.map(|opt| line(opt.forms().trim_end(), opt.help));
    let options = options.concat();
    format!("{synopses}\nCommands:\n{commands}\nOptions:\n{file}{options}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_names_each_command_and_each_option() {
        let usage = reshard_usage();
        for command in &RESHARD {
            assert!(usage.contains(&format!("ringroad reshard {} -c", command.name)));
            for option in command.own {
                assert!(usage.contains(&option.line_of_usage()), "{}", option.name);
                let word = format!("--{}", option.name);
                assert!(command.synopsis.contains(&word), "{}: {word}", command.name);
            }
        }
    }

    impl Opt {
        fn line_of_usage(&self) -> String {
            format!(" : {}\n", self.help)
        }
    }
}
