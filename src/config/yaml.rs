//! Parsing of YAML into a tree that keeps every scalar as written, with its position.
//!
//! Twemproxy compares scalars as text and never applies YAML's types, so `redis_auth: 0x10` is those four bytes.
//! Anchors, aliases, tags and further documents, which could surprise in a configuration file, are rejected. The
//! parser bounds the depth, and without aliases the tree is never larger than the text.

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::problem::{ConfigError, Position};

/// The maximum nesting. The schema needs three levels; more are read only to be reported well.
const DEPTH_MAX: usize = 16;

/// A value and its position.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) at: Position,
    pub(super) shape: Shape,
    /// A comment follows an unquoted text on its line.
    pub(super) comment_follows: bool,
}

#[derive(Debug)]
pub(super) enum Shape {
    /// The text of a scalar after unquoting; empty if nothing was written.
    Text(String),
    List(Vec<Tree>),
    /// Keys and values in the order of the file.
    Map(Vec<(Tree, Tree)>),
    /// Something that has been reported already.
    Refused,
}

impl Shape {
    /// Its noun, for a message.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Text(text) if text.is_empty() => "nothing",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Refused => "something else",
        }
    }
}

/// Reads one document, or reports why it is none. Errors that leave a tree are pushed to `errors`.
pub(super) fn read(text: &str, errors: &mut Vec<ConfigError>) -> Option<Tree> {
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let events = Parser::new_from_str_with_options(text, options);
    match (Reader {
        text,
        events,
        errors: &mut *errors,
    })
    .stream()
    {
        Ok(tree) => tree,
        Err(error) => {
            errors.push(ConfigError::new(
                Some(at(error.marker())),
                syntax_text(&error),
            ));
            None
        }
    }
}

struct Reader<'p, I> {
    text: &'p str,
    events: I,
    errors: &'p mut Vec<ConfigError>,
}

impl<'i, I: Iterator<Item = Result<(Event<'i>, Span), ScanError>>> Reader<'_, I> {
    fn stream(&mut self) -> Result<Option<Tree>, ScanError> {
        let mut first = None;
        let mut documents = 0_usize;
        while let Some(next) = self.events.next() {
            let (event, span) = next?;
            match event {
                Event::DocumentStart(..) => documents += 1,
                event if event.is_node() => {
                    let tree = self.tree(&event, &span)?;
                    if documents == 1 {
                        first = Some(tree);
                    } else if documents == 2 {
                        let text = "a second YAML document; put all pools into one";
                        self.errors.push(ConfigError::new(Some(tree.at), text));
                    }
                }
                _ => {}
            }
        }
        Ok(first)
    }

    /// The tree that starts with this event. Recurses at most `DEPTH_MAX` deep: the parser refuses more.
    fn tree(&mut self, event: &Event<'_>, span: &Span) -> Result<Tree, ScanError> {
        let place = at(&span.start);
        if event.anchor_id().is_some_and(|id| id > 0) && !event.is_alias() {
            self.refuse(
                place,
                "anchors (&) are not supported; write the value where it is used",
            );
        }
        if event.tag().is_some() {
            self.refuse(place, "tags (!) are not supported; values are read as text");
        }
        let shape = match event {
            Event::Scalar(_, ScalarStyle::Plain, ..) if span.start == span.end => {
                Shape::Text(String::new())
            }
            Event::Scalar(text, ..) => Shape::Text(text.clone().into_owned()),
            Event::SequenceStart(..) => Shape::List(self.list()?),
            Event::MappingStart(..) => Shape::Map(self.map()?),
            _ => {
                self.refuse(place, "aliases (*) are not supported; write the value out");
                Shape::Refused
            }
        };
        let is_plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
        let comment_follows = is_plain && self.is_commented(&span.end);
        Ok(Tree {
            at: place,
            shape,
            comment_follows,
        })
    }

    /// Returns true if a comment follows on the line.
    fn is_commented(&self, end: &Marker) -> bool {
        let rest = end.byte_offset().and_then(|at| self.text.get(at..));
        rest.is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with('#'))
    }

    fn list(&mut self) -> Result<Vec<Tree>, ScanError> {
        let mut list = Vec::new();
        while let Some(tree) = self.next_tree()? {
            list.push(tree);
        }
        Ok(list)
    }

    fn map(&mut self) -> Result<Vec<(Tree, Tree)>, ScanError> {
        let mut map = Vec::new();
        while let Some(key) = self.next_tree()? {
            let Some(value) = self.next_tree()? else {
                break;
            };
            map.push((key, value));
        }
        Ok(map)
    }

    /// The next tree of a collection; `None` at its end.
    fn next_tree(&mut self) -> Result<Option<Tree>, ScanError> {
        while let Some(next) = self.events.next() {
            let (event, span) = next?;
            match event {
                Event::SequenceEnd | Event::MappingEnd => return Ok(None),
                event if event.is_node() => return self.tree(&event, &span).map(Some),
                _ => {}
            }
        }
        Ok(None)
    }

    fn refuse(&mut self, at: Position, text: &str) {
        self.errors.push(ConfigError::new(Some(at), text));
    }
}

fn at(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

fn syntax_text(error: &ScanError) -> String {
    use granit_parser::ErrorKind;
    let hint = match error.kind() {
        ErrorKind::InvalidQuotedScalarIndent => "; is a quote left open on an earlier line?",
        ErrorKind::InvalidColonPlacement => "; is a '[' or '{' left open on an earlier line?",
        ErrorKind::MappingValueNotAllowed => {
            "; check the indentation and the line before, and quote a value that contains ': '"
        }
        ErrorKind::SimpleKeyExpected => "; write 'directive: value'",
        _ => "",
    };
    format!("invalid YAML: {}{hint}", error.info())
}
