//! The requests: `phrases.txt`, and one for every command that is not in it.

use std::collections::BTreeSet;

use ringroad::protocol::redis::command::{Command, Policy, differences};

use super::alike::Mark;

/// Requests that are sent one after another.
#[derive(Debug, Clone)]
pub(super) struct Phrase {
    /// The line of the file.
    pub line: String,
    pub steps: Vec<Step>,
}

/// One request of a phrase.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The template of a request, for [`super::Generator::fill`].
    pub template: String,
    /// The comparison of the replies.
    pub mark: Mark,
    /// The number of replies.
    pub replies: usize,
}

/// The phrases of the file, and for every other offered command the shortest request that fits: commands of later
/// versions and of modules, which this server does not know, must be reported as such.
pub(super) fn all() -> Vec<Phrase> {
    let mut phrases = written();
    let seen: BTreeSet<&str> = names(&phrases).chain(differing()).collect();
    for row in offered().filter(|row| !seen.contains(row.name)) {
        if is_later(row) && matches!(row.policy, Policy::Local(_)) {
            continue;
        }
        let given = row.name.split('|').count();
        let more = usize::from(row.arity.unsigned_abs()) - given;
        let request = format!("{}{}", row.name.replace('|', " "), " 1".repeat(more));
        phrases.push(Phrase::read(&request));
    }
    phrases
}

/// The phrases of the file.
pub(super) fn written() -> Vec<Phrase> {
    let lines = include_str!("phrases.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Phrase::read).collect()
}

/// The rows of the table that the phrases use.
pub(super) fn names(phrases: &[Phrase]) -> impl Iterator<Item = &'static str> {
    let steps = phrases.iter().flat_map(|phrase| &phrase.steps);
    steps.filter_map(|step| Some(row(&step.template)?.name))
}

/// The rows of the table with listed differences. One of them represents all HELP subcommands.
pub(super) fn differing() -> impl Iterator<Item = &'static str> {
    let requests = differences::ALL
        .iter()
        .flat_map(|difference| difference.requests);
    let listed = requests.filter_map(|request| Some(row(request)?.name));
    let names = offered().map(|row| row.name);
    listed.chain(names.filter(|name| name.ends_with("|HELP")))
}

/// The rows of the commands that clients may use, except those that need a subcommand, and MONITOR, whose lines have times and
/// addresses (`tests/it/observe/monitor.rs` compares them).
pub(super) fn offered() -> impl Iterator<Item = &'static Command> {
    let rows = Command::all().flat_map(|row| std::iter::once(row).chain(row.subcommands));
    rows.filter(|row| row.name != "MONITOR")
        .filter(|row| row.is_offered() && (row.subcommands.is_empty() || row.accepts(1)))
}

/// The row of the command of a request, whatever its arity.
pub(super) fn row(request: &str) -> Option<&'static Command> {
    let mut words = request.split(' ');
    let command = Command::lookup(words.next()?.as_bytes())?;
    let own = words
        .next()
        .and_then(|name| command.subcommand(name.as_bytes()));
    Some(own.unwrap_or(command))
}

/// Returns true if Redis 7.0 does not have it.
pub(super) fn is_later(row: &Command) -> bool {
    let mut parts = row
        .since
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let since = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    row.name.contains('.') || since > (7, 0)
}

impl Phrase {
    /// Returns true if the client must reconnect after it.
    pub(super) fn ends_connection(&self) -> bool {
        self.line.starts_with("RESET") || self.line.starts_with("QUIT")
    }

    fn read(line: &str) -> Self {
        let (mut is_silent, mut skips) = (false, false);
        let mut steps = Vec::new();
        for part in line.split(" ; ") {
            let (mark, template) = Mark::read(part);
            let mut replies = replies(template);
            match template {
                "CLIENT REPLY OFF" => is_silent = true,
                "CLIENT REPLY ON" => is_silent = false,
                _ => {}
            }
            if is_silent || skips {
                replies = 0;
            }
            skips = template == "CLIENT REPLY SKIP";
            if skips {
                replies = 0;
            }
            steps.push(Step {
                template: template.to_owned(),
                mark,
                replies,
            });
        }
        Self {
            line: line.to_owned(),
            steps,
        }
    }
}

/// Subscriptions are confirmed one by one.
fn replies(template: &str) -> usize {
    let mut words = template.split(' ');
    let name = words.next().unwrap_or_default();
    if name.ends_with("SUBSCRIBE") {
        words.count().max(1)
    } else {
        1
    }
}
