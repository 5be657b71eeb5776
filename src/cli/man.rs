//! `ringroad man`: the manual page, generated from the tables of the command line.

use crate::admin::api::Operation;
use crate::cli::options::{OPTIONS, Opt, Subcommand, Value};
use crate::cli::table;
use crate::cli::table::{SUBCOMMANDS, SYNOPSIS};

const NAME: &str =
    "ringroad - a proxy through which clients use many Redis or memcached servers as one";

const DESCRIPTION: &str = "\
ringroad listens for unmodified clients and spreads their keys over the servers of a pool. It stores no data. It reads the \
configuration file of Twemproxy (nutcracker), takes its options, and maps each key to the same server.";

/// Signals and their effects.
const SIGNALS: [(&str, &str); 6] = [
    (
        "TERM",
        "answer the requests in flight, within ten seconds, and exit with 0; a second one exits at once",
    ),
    ("INT", "exit at once with 1"),
    (
        "HUP",
        "reopen the log file, then apply the configuration file, whole or not at all",
    ),
    ("USR1", "reopen the log file"),
    ("TTIN", "log more, by one level"),
    ("TTOU", "log less, by one level"),
];

/// Exit codes and their meanings.
const CODES: [(&str, &str); 4] = [
    ("0", "success"),
    (
        "1",
        "of the proxy: an invalid option or file, or a failed start; of a subcommand: see there",
    ),
    ("2", "of a subcommand: an error"),
    ("3", "no proxy answers at the admin socket"),
];

const ENVIRONMENT: [(&str, &str); 1] = [(
    "RINGROAD_ADMIN",
    "the admin socket that ringroad ctl asks, unless --admin is given",
)];

const FILES: [(&str, &str); 3] = [
    (
        "/etc/ringroad/ringroad.yml",
        "the configuration file of the packaged service",
    ),
    (
        "/run/ringroad/ctl.sock",
        "the admin socket of the packaged service",
    ),
    (
        "/usr/share/doc/ringroad/",
        "every directive, command and metric, and how to operate the proxy",
    ),
];

/// The page, in the format of man(7).
#[must_use]
pub fn man() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut usage = SYNOPSIS.replace("Usage:", "      ");
    usage.extend(SUBCOMMANDS.iter().map(Subcommand::synopsis_line));
    let options: String = OPTIONS.iter().map(option).collect();
    let subcommands: String = SUBCOMMANDS.iter().map(subcommand).collect();
    let sections = [
        ("NAME", escaped(NAME)),
        ("SYNOPSIS", preformatted(&usage)),
        ("DESCRIPTION", escaped(DESCRIPTION)),
        ("OPTIONS", options),
        ("SUBCOMMANDS", subcommands),
        ("SIGNALS", list(&SIGNALS)),
        ("EXIT STATUS", list(&CODES)),
        ("ENVIRONMENT", list(&ENVIRONMENT)),
        ("FILES", list(&FILES)),
    ];
    let sections = sections.map(|(title, body)| format!(".SH {title}\n{}\n", body.trim_end()));
    format!(
        ".TH RINGROAD 1 \"\" \"ringroad {version}\" \"Ringroad\"\n{}",
        sections.concat()
    )
}

fn subcommand(subcommand: &Subcommand) -> String {
    let shared = subcommand
        .shared
        .iter()
        .filter_map(|name| table::named(name));
    let mut own: Vec<&Opt> = subcommand.own.iter().collect();
    for opt in subcommand.commands.iter().flat_map(|command| command.own) {
        if !own.iter().any(|known| known.name == opt.name) {
            own.push(opt);
        }
    }
    let commands: String = if subcommand.name == "ctl" {
        let endpoints = Operation::ALL.iter().map(|operation| operation.endpoint());
        let commands = endpoints.map(|endpoint| item(endpoint.command, endpoint.help));
        commands.collect()
    } else {
        let commands = subcommand.commands.iter().map(|command| {
            let words = format!("{} {}", command.name, command.synopsis);
            item(&words, command.about)
        });
        commands.collect()
    };
    let options: String = shared.chain(own).map(option).collect();
    format!(
        ".SS ringroad {}\n{}.\n{commands}{options}",
        escaped(subcommand.name),
        escaped(subcommand.about)
    )
}

fn option(opt: &Opt) -> String {
    let value = match opt.value {
        Value::Flag => "",
        Value::Number => "=\\fIN\\fR",
        Value::File => "=\\fIfile\\fR",
        Value::Text => "=\\fItext\\fR",
        Value::Name | Value::Names => "=\\fIname\\fR",
        Value::Time => "=\\fItime\\fR",
    };
    let short = opt.short.map(|short| format!("\\fB\\-{short}\\fR, "));
    let long = escaped(opt.name);
    format!(
        ".TP\n{}\\fB\\-\\-{long}\\fR{value}\n{}\n",
        short.unwrap_or_default(),
        escaped(opt.help)
    )
}

fn list(items: &[(&str, &str)]) -> String {
    items.iter().map(|(name, text)| item(name, text)).collect()
}

fn item(name: &str, text: &str) -> String {
    format!(".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(text))
}

fn preformatted(text: &str) -> String {
    let lines = text.lines().map(|line| line.strip_prefix("       "));
    let lines = lines.map(|line| escaped(line.unwrap_or_default()) + "\n");
    format!(".nf\n{}.fi\n", lines.collect::<String>())
}

/// A text that has no meaning for roff but itself. No text of the tables has several lines.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.strip_prefix(['.', '\'']) {
        Some(_) => format!("\\&{text}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_every_option_and_every_command() {
        let page = man();
        let has = |part: &str| assert!(page.contains(part), "no {part} in:\n{page}");
        let option = |opt: &Opt| has(&format!("\\fB\\-\\-{}\\fR", escaped(opt.name)));
        OPTIONS.iter().for_each(option);
        for subcommand in &SUBCOMMANDS {
            has(&format!(".SS ringroad {}\n", subcommand.name));
            has(&format!("ringroad {} ", subcommand.name));
            let commands = subcommand.commands.iter();
            commands
                .clone()
                .flat_map(|command| command.own)
                .chain(subcommand.own)
                .for_each(option);
            for command in commands {
                has(&format!("\n\\fB{}", command.name));
            }
        }
        for line in page.lines() {
            let is_request = line.starts_with('.');
            let known = [".TH ", ".SH ", ".SS ", ".TP", ".nf", ".fi"];
            assert!(!is_request || known.iter().any(|name| line.starts_with(name)));
            assert!(!line.replace("\\-", "").contains("--"), "{line}");
        }
    }

    #[test]
    fn text_keeps_its_meaning() {
        assert_eq!(escaped("a -b \\c"), "a \\-b \\ec");
        assert_eq!(escaped(".TH"), "\\&.TH");
        assert_eq!(escaped("'quoted'"), "\\&'quoted'");
    }
}
