//! The argument tree of a usage line, as in `COMMAND DOCS`.
//!
//! The notation is that of Redis's documentation: `[...]` is optional, `<...>` contains alternatives, `|` separates two
//! of them, `...` repeats the preceding one, and a word in upper case is literal.

use crate::protocol::redis::local::reply_writer::Reply;

/// One argument, or a group of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Argument<'u> {
    /// The token in front of it.
    token: Option<&'u str>,
    kind: Kind<'u>,
    is_optional: bool,
    repeats: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind<'u> {
    /// A value of the client's choice.
    Value(&'u str),
    /// Only the token.
    Token,
    /// One of these.
    OneOf(Vec<Argument<'u>>),
    /// All of these.
    Block(Vec<Argument<'u>>),
}

/// The arguments of `usage`.
pub(crate) fn parse(usage: &str) -> Vec<Argument<'_>> {
    let mut arguments: Vec<Argument<'_>> = Vec::new();
    let mut words = split(usage, ' ').into_iter().peekable();
    while let Some(word) = words.next() {
        if let Some(inner) = word.strip_prefix('[').and_then(|w| w.strip_suffix(']')) {
            if let Some(repeated) = inner.strip_suffix(" ...")
                && let Some(len) = tail_len(&arguments, repeated)
            {
                repeat(&mut arguments, len);
                continue;
            }
            let mut argument = one(inner.strip_suffix(" ...").unwrap_or(inner));
            argument.is_optional = true;
            argument.repeats |= inner.ends_with(" ...");
            arguments.push(argument);
        } else if is_token(word) {
            let operand = words.next_if(|next| !is_token(next) && !next.starts_with('['));
            let mut argument = operand.map_or_else(token, one);
            argument.token = Some(word);
            arguments.push(argument);
        } else {
            arguments.push(one(word));
        }
    }
    arguments
}

/// Writes an argument, as `redis-cli` shows it in its hints.
pub(crate) fn write(argument: &Argument<'_>, reply: &mut Reply<'_>) {
    let flags = [
        ("optional", argument.is_optional),
        ("multiple", argument.repeats),
    ];
    let flags: Vec<&str> = flags
        .iter()
        .filter_map(|(flag, is_set)| is_set.then_some(*flag))
        .collect();
    let (kind, inner): (_, &[Argument<'_>]) = match &argument.kind {
        Kind::Value(name) if *name == "key" => ("key", &[]),
        Kind::Value(_) => ("string", &[]),
        Kind::Token => ("pure-token", &[]),
        Kind::OneOf(inner) => ("oneof", inner),
        Kind::Block(inner) => ("block", inner),
    };
    let fields = 2
        + usize::from(argument.token.is_some())
        + usize::from(!flags.is_empty())
        + usize::from(!inner.is_empty());
    reply.map(fields);
    reply.bulk("name");
    reply.bulk(name(argument));
    reply.bulk("type");
    reply.bulk(kind);
    if let Some(token) = argument.token {
        reply.bulk("token");
        reply.bulk(token);
    }
    if !flags.is_empty() {
        reply.bulk("flags");
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    if !inner.is_empty() {
        reply.bulk("arguments");
        reply.array(inner.len());
        for argument in inner {
            write(argument, reply);
        }
    }
}

/// The name of an argument: that of its value, or its token.
fn name(argument: &Argument<'_>) -> String {
    match (&argument.kind, argument.token) {
        (Kind::Value(name), _) => (*name).to_owned(),
        (_, Some(token)) => token.to_ascii_lowercase(),
        (Kind::OneOf(inner) | Kind::Block(inner), None) => {
            let names: Vec<String> = inner.iter().map(name).collect();
            names.join("-")
        }
        (Kind::Token, None) => String::new(),
    }
}

/// Parses the text between two spaces, or within brackets.
fn one(text: &str) -> Argument<'_> {
    let inner = text
        .strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'));
    let text = inner.unwrap_or(text);
    let alternatives = split(text, '|');
    if alternatives.len() > 1 {
        return group(Kind::OneOf(alternatives.into_iter().map(one).collect()));
    }
    let is_word = split(text, ' ').len() < 2 && !(text.starts_with('[') && text.ends_with(']'));
    if is_word {
        return if is_token(text) {
            Argument {
                token: Some(text),
                ..token()
            }
        } else {
            group(Kind::Value(text))
        };
    }
    let mut arguments = parse(text);
    if arguments.len() == 1
        && let Some(only) = arguments.pop()
    {
        return only;
    }
    group(Kind::Block(arguments))
}

const fn group(kind: Kind<'_>) -> Argument<'_> {
    Argument {
        token: None,
        kind,
        is_optional: false,
        repeats: false,
    }
}

const fn token<'u>() -> Argument<'u> {
    group(Kind::Token)
}

/// Returns true if the word is literal.
fn is_token(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase() || "=~*$".contains(first))
        && !word.contains(|c: char| c.is_ascii_lowercase() || c == '|')
}

/// The number of last arguments that `text` repeats.
fn tail_len(arguments: &[Argument<'_>], text: &str) -> Option<usize> {
    let repeated = parse(text);
    let tail = arguments.len().checked_sub(repeated.len())?;
    (arguments.get(tail..)? == repeated.as_slice()).then_some(repeated.len())
}

/// Makes the last `len` arguments one that repeats.
fn repeat(arguments: &mut Vec<Argument<'_>>, len: usize) {
    let mut tail = arguments.split_off(arguments.len().saturating_sub(len));
    let mut all = match tail.pop() {
        Some(only) if tail.is_empty() => only,
        Some(last) => {
            tail.push(last);
            group(Kind::Block(tail))
        }
        None => return,
    };
    all.repeats = true;
    arguments.push(all);
}

/// Splits at separators outside brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '[' | '<' => depth += 1,
            ']' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == separator && depth == 0
    })
    .filter(|part| !part.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::command::Command;

    /// The tree in one line: `name`, `TOKEN name`, `(one|of)`, `{all of}`; `?` after an optional argument, `+` after
    /// one that repeats.
    fn shown(arguments: &[Argument<'_>], separator: &str) -> String {
        let shown = arguments.iter().map(|argument| {
            let body = match &argument.kind {
                Kind::Value(name) => (*name).to_owned(),
                Kind::Token => String::new(),
                Kind::OneOf(inner) => format!("({})", shown(inner, "|")),
                Kind::Block(inner) => format!("{{{}}}", shown(inner, " ")),
            };
            let token = argument.token.unwrap_or_default();
            let gap = if token.is_empty() || body.is_empty() {
                ""
            } else {
                " "
            };
            let optional = if argument.is_optional { "?" } else { "" };
            let repeats = if argument.repeats { "+" } else { "" };
            format!("{token}{gap}{body}{optional}{repeats}")
        });
        shown.collect::<Vec<_>>().join(separator)
    }

    #[test]
    fn unclosed_brackets_are_part_of_a_word() {
        for usage in [
            "<a", "[a", "a|<b", "<a|<b c>", "[<a b]", "]", "[]", "<>", "[ ...]",
        ] {
            parse(usage);
        }
        for row in Command::all().flat_map(|row| std::iter::once(row).chain(row.subcommands)) {
            let values = shown(&parse(row.usage), " ");
            assert_eq!(
                parse(row.usage).is_empty(),
                row.usage.is_empty(),
                "{values}"
            );
        }
    }

    #[test]
    fn usage_lines_become_trees() {
        for (usage, expected) in [
            ("", ""),
            ("key", "key"),
            ("key [key ...]", "key+"),
            ("key value [key value ...]", "{key value}+"),
            (
                "numkeys key [key ...] <LEFT|RIGHT> [COUNT count]",
                "numkeys key+ (LEFT|RIGHT) COUNT count?",
            ),
            (
                "key [NX|XX] [EX seconds|PERSIST]",
                "key (NX|XX)? (EX seconds|PERSIST)?",
            ),
            ("script numkeys [key ...]", "script numkeys key?+"),
            ("key [LIMIT offset count]", "key {LIMIT offset count}?"),
            ("[GET pattern [GET pattern ...]]", "GET pattern?+"),
            (
                "<FROMMEMBER member|FROMLONLAT longitude latitude>",
                "(FROMMEMBER member|{FROMLONLAT longitude latitude})",
            ),
            ("key <*|id>", "key (*|id)"),
            ("section [start [end]]", "section {start end?}?"),
        ] {
            assert_eq!(shown(&parse(usage), " "), expected, "{usage}");
        }
    }
}
