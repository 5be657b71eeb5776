//! The grammar of the options, built from their table, and its errors in nutcracker's words.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, ValueHint};

use crate::cli::options::{OPTIONS, Opt, Subcommand, Value};
use crate::cli::table;
use crate::cli::table::SUBCOMMANDS;
use crate::cli::values::{UsageError, shown};
use crate::config::nearest;

/// The name of all arguments of a subcommand that are no options.
pub(super) const ARGUMENTS: &str = "arguments";

/// Splits the arguments, the first of which is the program, into options and values.
pub(super) fn matches(args: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, UsageError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let name = args.get(1).map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    grammar()
        .try_get_matches_from(args)
        .map_err(|error| UsageError::new(describe(&error, &name)).of_subcommand(&name))
}

/// The grammar of the whole command line.
pub(super) fn grammar() -> clap::Command {
    strict(clap::Command::new("ringroad"))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args(OPTIONS.iter().map(arg))
        .subcommands(SUBCOMMANDS.iter().map(subcommand))
}

fn subcommand(subcommand: &Subcommand) -> clap::Command {
    let shared = ["help"].iter().chain(subcommand.shared);
    let shared = shared.filter_map(|name| table::named(name));
    let args = shared.chain(subcommand.own).map(arg);
    let command = strict(clap::Command::new(subcommand.name)).about(subcommand.about);
    if subcommand.commands.is_empty() {
        let hint = match subcommand.name {
            "diff" => ValueHint::FilePath,
            _ => ValueHint::Other,
        };
        let arguments = Arg::new(ARGUMENTS)
            .action(ArgAction::Append)
            .value_hint(hint)
            .value_parser(clap::value_parser!(OsString));
        let arguments = match subcommand.name {
            // A rule may begin with '-'.
            "setuser" => arguments
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
            _ => arguments,
        };
        return command.args(args).arg(arguments);
    }
    command
        .disable_help_subcommand(true)
        .args(args)
        .subcommands(subcommand.commands.iter().map(|command| {
            // Its options may also follow the command.
            self::subcommand(command).args(subcommand.own.iter().map(arg))
        }))
}

fn strict(command: clap::Command) -> clap::Command {
    command
        .disable_help_flag(true)
        .infer_long_args(true)
        .args_override_self(true)
}

fn arg(opt: &Opt) -> Arg {
    let arg = Arg::new(opt.name).long(opt.name).help(opt.help);
    let arg = match opt.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match opt.value {
        Value::Flag => arg.action(ArgAction::SetTrue),
        // Values may start with a hyphen, as with getopt; each is checked later.
        value => arg
            .action(match value {
                Value::Names => ArgAction::Append,
                _ => ArgAction::Set,
            })
            .value_hint(value.hint())
            .allow_hyphen_values(true)
            .value_parser(clap::value_parser!(OsString)),
    }
}

/// One line about an error. `first` is the first argument.
fn describe(error: &clap::Error, first: &str) -> String {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => name.as_str(),
        _ => "",
    };
    // Clap shows the option with its value; a short option may be the equals sign itself.
    let ends = if named.starts_with("--") {
        [' ', '=']
    } else {
        [' ', ' ']
    };
    let named = named.split(ends).next().unwrap_or_default();
    let long = named.trim_start_matches('-');
    match error.kind() {
        ErrorKind::UnknownArgument if named.starts_with("--") => {
            format!("unrecognized option '{}'", named.escape_default())
        }
        ErrorKind::UnknownArgument if named.starts_with('-') => {
            format!("invalid option -- '{}'", long.escape_default())
        }
        ErrorKind::UnknownArgument => {
            format!("unexpected argument '{}'", named.escape_default())
        }
        ErrorKind::InvalidValue => {
            let known = table::named(long).map(|opt| opt.value);
            format!(
                "option {} requires {}",
                shown(long),
                known.unwrap_or(Value::Flag).noun()
            )
        }
        ErrorKind::TooManyValues => format!("option {} takes no value", shown(long)),
        ErrorKind::InvalidSubcommand => match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(word)) => unexpected(word, first),
            _ => "unexpected argument".to_owned(),
        },
        kind => format!("invalid arguments: {kind}"),
    }
}

/// One line about a word where a command is expected, or nothing.
fn unexpected(word: &str, first: &str) -> String {
    let mut with_commands = SUBCOMMANDS.iter().filter(|sub| !sub.commands.is_empty());
    let Some(subcommand) = with_commands.find(|sub| sub.name == first) else {
        return format!("unexpected argument '{}'", word.escape_default());
    };
    let names = subcommand.commands.iter().map(|command| command.name);
    let hint = nearest(word, names).map(|name| format!("; did you mean '{name}'?"));
    let hint = hint.unwrap_or_default();
    format!("unknown command '{}'{hint}", word.escape_default())
}
