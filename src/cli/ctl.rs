//! The command line of `ringroad ctl`: from its words to a request.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path;
use std::path::PathBuf;

use clap::ArgMatches;

use crate::admin::api::Request;
use crate::admin::api::requests::observed::{EntriesOf, HotKeysOf, TapOf};
use crate::admin::api::requests::{
    ClientRef, DeleteUser, EventsAfter, Failover, InPool, KillClient, LevelStep, Reload,
    ServerChange, ServerRef, SetLogLevel, SetUser, Upgrade,
};
use crate::cli::grammar::ARGUMENTS;
use crate::cli::subcommand::{arguments, pool};
use crate::cli::values::{UsageError, number, text, time};
use crate::config::UserConfig;
use crate::log::LEVEL_MAX;

/// The options of `ringroad ctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CtlOptions {
    /// `--admin`.
    pub socket: Option<PathBuf>,
    /// `--json`.
    pub json: bool,
    /// The command.
    pub command: CtlCommand,
}

/// A command of `ringroad ctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CtlCommand {
    /// Send this request.
    Ask(Request),
    /// Send this file, to be compared with what runs.
    Diff(PathBuf),
}

/// Reads the command; `None` asks for the usage.
pub(super) fn read(matches: &ArgMatches) -> Result<Option<CtlOptions>, UsageError> {
    let Some((command, own)) = matches.subcommand() else {
        return Err(usage("ctl requires a command"));
    };
    if own.get_flag("help") {
        return Ok(None);
    }
    let socket = text(own, "admin").or_else(|| text(matches, "admin"));
    Ok(Some(CtlOptions {
        socket: socket.map(PathBuf::from),
        json: own.get_flag("json") || matches.get_flag("json"),
        command: match command {
            "diff" => CtlCommand::Diff(one_file(own)?),
            _ => CtlCommand::Ask(request(command, own)?),
        },
    }))
}

fn request(command: &str, own: &ArgMatches) -> Result<Request, UsageError> {
    let words = many(own, ARGUMENTS)?;
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Ok(match (command, words.as_slice()) {
        ("status", []) => Request::Status,
        ("overview", pool) => Request::Overview(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("events", pool) => Request::Events(EventsAfter {
            pool: one_pool(own, pool)?,
            after: None,
        }),
        ("ring", pool) => Request::Rings(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("pools", []) => Request::Pools,
        ("servers", pool) => Request::Servers(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("clients", [pool @ .., "kill", client]) => Request::KillClient(KillClient {
            pool: one_pool(own, pool)?,
            client: client_ref(client)?,
        }),
        ("clients", [.., "kill"]) => return Err(usage("kill requires a client's id or address")),
        ("clients", [pool @ .., "list"] | pool) => Request::Clients(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("users", pool) => Request::Users(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("setuser", [pool, user, rules @ ..]) => Request::SetUser(set_user(pool, user, rules)?),
        ("deluser", [pool, user]) => Request::DeleteUser(DeleteUser {
            pool: (*pool).to_owned(),
            user: (*user).to_owned(),
        }),
        ("setuser" | "deluser", [] | [_]) => {
            return Err(usage(format!("{command} requires a pool and a user")));
        }
        ("topology", pool) => Request::Topology(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("moves", pool) => Request::Moves(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("commands", pool) => Request::Commands(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("refusals", pool) => Request::Refusals(InPool {
            pool: one_pool(own, pool)?,
        }),
        ("hotkeys", pool) => Request::HotKeys(HotKeysOf {
            pool: one_pool(own, pool)?,
            for_ms: millis(own, "for")?,
            count: count(own)?,
        }),
        ("bigkeys", pool) => Request::BigKeys(entries_of(own, pool)?),
        ("slowlog", pool) => Request::SlowLog(entries_of(own, pool)?),
        ("tap", pool) => Request::Tap(tap_of(own, pool)?),
        ("drain", words) => change_server(ServerChange::Drain, command, own, words)?,
        ("eject", words) => change_server(ServerChange::Eject, command, own, words)?,
        ("admit", words) => change_server(ServerChange::Admit, command, own, words)?,
        ("failover", words) => Request::Failover(Failover {
            server: server_ref(command, own, words)?,
            to: replica(own)?,
        }),
        ("reload", []) => Request::Reload(Reload {
            check: own.get_flag("check"),
            swap: many(own, "swap")?,
        }),
        ("loglevel", []) => Request::LogLevel,
        ("loglevel", [level]) => Request::SetLogLevel(log_level(level)?),
        ("upgrade", []) => Request::Upgrade(Upgrade::default()),
        ("upgrade", [binary]) => Request::Upgrade(Upgrade {
            binary: Some(absolute(binary)?),
        }),
        ("stop", []) => Request::Stop,
        (_, words) => {
            let word = words.last().unwrap_or(&command);
            return Err(usage(format!("unexpected argument '{word}'")));
        }
    })
}

/// The path from the root: the proxy may have another working directory.
fn absolute(path: &str) -> Result<String, UsageError> {
    let path = path::absolute(path).map_err(|error| usage(error.to_string()))?;
    Ok(path.display().to_string())
}

fn one_file(own: &ArgMatches) -> Result<PathBuf, UsageError> {
    let mut files = arguments(own);
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file.into()),
        (None, _) => Err(usage("diff requires a file")),
        (_, Some(word)) => {
            let word = word.to_string_lossy();
            Err(usage(format!("unexpected argument '{word}'")))
        }
    }
}

/// The request for these rules. A password may be in a file or in the environment, where other users do not see it, and
/// only its hash is sent.
fn set_user(pool: &str, user: &str, rules: &[&str]) -> Result<SetUser, UsageError> {
    let is_word = |word: &&str| !word.is_empty() && !word.contains(char::is_whitespace);
    if ![user].iter().chain(rules).all(is_word) {
        let text = "a user's name and each of its rules are words without spaces, and not empty";
        return Err(usage(text));
    }
    let line = [&[user], rules].concat().join(" ");
    let here = env::current_dir().unwrap_or_default();
    let user = UserConfig::parse(&line, &here).map_err(usage)?;
    Ok(SetUser {
        pool: pool.to_owned(),
        user: user.name,
        rules: user.rules,
    })
}

fn change_server(
    change: ServerChange,
    command: &str,
    own: &ArgMatches,
    words: &[&str],
) -> Result<Request, UsageError> {
    let server = server_ref(command, own, words)?;
    Ok(Request::ChangeServer(change, server))
}

fn server_ref(command: &str, own: &ArgMatches, words: &[&str]) -> Result<ServerRef, UsageError> {
    let server = match words {
        [server] => (*server).to_owned(),
        [] => return Err(usage(format!("{command} requires the name of a server"))),
        [.., word] => return Err(usage(format!("unexpected argument '{word}'"))),
    };
    let pool = one_pool(own, &[])?;
    Ok(ServerRef { server, pool })
}

/// The replica of `--to`.
fn replica(own: &ArgMatches) -> Result<Option<SocketAddr>, UsageError> {
    let Some(word) = text(own, "to") else {
        return Ok(None);
    };
    let word = word.to_string_lossy();
    let address = word.parse().map_err(|_| {
        usage(format!(
            "'{word}' is no address of a replica, as in 10.0.0.5:6379"
        ))
    });
    address.map(Some)
}

fn entries_of(own: &ArgMatches, words: &[&str]) -> Result<EntriesOf, UsageError> {
    Ok(EntriesOf {
        pool: one_pool(own, words)?,
        count: count(own)?,
    })
}

fn tap_of(own: &ArgMatches, words: &[&str]) -> Result<TapOf, UsageError> {
    let word = |name| text(own, name).map(|word| word.to_string_lossy().into_owned());
    Ok(TapOf {
        pool: one_pool(own, words)?.ok_or_else(|| usage("tap requires the name of a pool"))?,
        for_ms: millis(own, "for")?,
        count: count(own)?,
        client: word("client"),
        command: word("command"),
        key: word("key"),
        server: word("server"),
        one_in: number(own, "one-in")?,
    })
}

fn count(own: &ArgMatches) -> Result<Option<usize>, UsageError> {
    let count = number(own, "count")?;
    Ok(count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
}

fn millis(own: &ArgMatches, name: &str) -> Result<Option<u64>, UsageError> {
    let time = time(own, name)?;
    Ok(time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// All values of an argument that the command may have.
fn many(own: &ArgMatches, name: &str) -> Result<Vec<String>, UsageError> {
    let words = own.try_get_many::<OsString>(name).ok().flatten();
    let text = |word: &OsString| {
        let word = word.clone().into_string();
        word.map_err(|word| usage(format!("'{}' is not UTF-8", word.to_string_lossy())))
    };
    words.into_iter().flatten().map(text).collect()
}

/// The pool of `--pool` or of these words.
fn one_pool(own: &ArgMatches, words: &[&str]) -> Result<Option<String>, UsageError> {
    let given = pool(own);
    match (given, words) {
        (given, []) => Ok(given),
        (None, [pool]) => Ok(Some((*pool).to_owned())),
        (_, [.., word]) => Err(usage(format!("unexpected argument '{word}'"))),
    }
}

fn client_ref(word: &str) -> Result<ClientRef, UsageError> {
    if word.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Ok(ClientRef::Address(word.to_owned()));
    }
    let id = word.parse();
    id.map(ClientRef::Id)
        .map_err(|_| usage(format!("'{word}' is no id of a client")))
}

fn log_level(word: &str) -> Result<SetLogLevel, UsageError> {
    match word {
        "up" => Ok(SetLogLevel::Step(LevelStep::Up)),
        "down" => Ok(SetLogLevel::Step(LevelStep::Down)),
        _ => match word.parse() {
            Ok(level @ 0..=LEVEL_MAX) => Ok(SetLogLevel::To(level)),
            _ => Err(usage(format!(
                "log level '{word}' is not 0 to {LEVEL_MAX}, up or down"
            ))),
        },
    }
}

fn usage(text: impl Into<String>) -> UsageError {
    UsageError::new(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::Operation;
    use crate::cli::grammar::matches;

    fn command(words: &str) -> CtlCommand {
        let args = ["ringroad", "ctl"].into_iter().chain(words.split(' '));
        let matches = matches(args.map(OsString::from)).unwrap();
        let options = read(matches.subcommand_matches("ctl").unwrap());
        let options = options.unwrap_or_else(|error| panic!("{words}: {error}"));
        options.unwrap().command
    }

    fn parsed(words: &str) -> Request {
        match command(words) {
            CtlCommand::Ask(request) => request,
            CtlCommand::Diff(file) => panic!("{words}: {}", file.display()),
        }
    }

    #[test]
    fn each_command_of_the_table_can_be_given() {
        for operation in Operation::ALL {
            let row = operation.endpoint().command;
            let brief = row.replace("[POOL] ", "").replace("[list]", "list");
            let words = brief.replace("[POOL]", "p");
            let words = words.replace("ID|ADDR", "7").replace("N|up|down", "up");
            let words = words.replace("--to ADDR", "--to 10.0.0.5:6379");
            let words = words
                .replace("POOL USER RULE...", "p u on")
                .replace("POOL USER", "p u")
                .replace("TIME", "5s")
                .replace("--count N", "--count 3");
            let words = words.replace(['[', ']'], "").replace("...", "");
            let operation_of = match command(&words) {
                CtlCommand::Ask(request) => request.operation(),
                CtlCommand::Diff(_) => Operation::Diff,
            };
            assert_eq!(operation_of, *operation, "{words}");
        }
    }

    #[test]
    fn client_is_named_by_id_or_address() {
        let kill = |words| match parsed(words) {
            Request::KillClient(KillClient { pool, client }) => (pool, client),
            other => panic!("{other:?}"),
        };
        let address = |text: &str| ClientRef::Address(text.to_owned());
        assert_eq!(kill("clients kill 7"), (None, ClientRef::Id(7)));
        assert_eq!(
            kill("clients list kill 7"),
            (Some("list".to_owned()), ClientRef::Id(7))
        );
        assert_eq!(
            kill("clients --pool=kill kill [::1]:7"),
            (Some("kill".to_owned()), address("[::1]:7"))
        );
        assert_eq!(kill("clients kill /s:0"), (None, address("/s:0")));
    }
}
