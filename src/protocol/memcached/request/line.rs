//! Parses the line of a request: the command, the key, the length of the data, and errors.

use crate::protocol::memcached::command::{AllServers, Command, Local, Meta, Policy};
use crate::protocol::memcached::expect::Noreply;
use crate::protocol::memcached::request::meta;
use crate::protocol::memcached::request::tokens;
use crate::protocol::memcached::request::tokens::Words;
use crate::protocol::memcached::request::types::{
    DATA_BYTES, Form, KEY_BYTES, KEYS_MOST, Refusal, Request, ScanError,
};
use crate::protocol::{Limits, Span};

/// The parsed line.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) request: Request,
    /// Bytes of the data that follow, if the command has data.
    pub(crate) data: Option<u64>,
}

/// The arguments that memcached accepts for `stats`.
const STATS_TOPICS: [&[u8]; 12] = [
    b"cachedump",
    b"conns",
    b"detail",
    b"extstore",
    b"items",
    b"proxy",
    b"reset",
    b"settings",
    b"sizes",
    b"sizes_disable",
    b"sizes_enable",
    b"slabs",
];

/// The parser of a line.
struct Reader<'l> {
    words: Words<'l>,
    request: Request,
    /// The first error.
    problem: Option<Refusal>,
    data: Option<u64>,
}

/// Parses `line`, without its line feed.
pub(crate) fn read(line: &[u8], limits: &Limits) -> Result<Read, ScanError> {
    let trimmed = trim(line);
    let mut reader = Reader {
        words: Words::new(trimmed),
        request: Request::default(),
        problem: None,
        data: None,
    };
    reader.read(limits)?;
    let mut request = reader.request;
    request.form = match reader.problem {
        Some(refusal) => Form::Refused(refusal),
        None if reader.words.is_loose() || trimmed.len() == line.len() => Form::Shorthand,
        None => Form::Plain,
    };
    Ok(Read {
        request,
        data: reader.data,
    })
}

/// Returns a line without its end.
pub(crate) fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Reader<'_> {
    fn read(&mut self, limits: &Limits) -> Result<(), ScanError> {
        if memchr::memchr2(0, b'\r', self.words.line()).is_some() {
            self.note(Refusal::Control);
        }
        let Some(name) = self.words.next() else {
            self.note(Refusal::Unknown);
            return Ok(());
        };
        let Some(command) = Command::lookup(name.of(self.words.line())) else {
            let last = self.words.by_ref().last();
            if last.is_some_and(|word| word.of(self.words.line()).starts_with(b"HTTP/")) {
                return Err(ScanError::Http);
            }
            self.note(Refusal::Unknown);
            return Ok(());
        };
        self.request.command = Some(command);
        match command.policy {
            Policy::Retrieve => self.read_keys(limits),
            Policy::RetrieveTouch => {
                self.read_number(tokens::exptime, Refusal::Exptime);
                self.read_keys(limits);
            }
            Policy::Store => self.read_store(false)?,
            Policy::Cas => self.read_store(true)?,
            Policy::Delta => {
                self.read_key();
                self.read_number(tokens::decimal, Refusal::Delta);
                self.read_end();
            }
            Policy::Delete => {
                self.read_key();
                self.read_delete_end();
            }
            Policy::Touch => {
                self.read_key();
                self.read_number(tokens::exptime, Refusal::Exptime);
                self.read_end();
            }
            Policy::Meta(which) => {
                self.read_key();
                if which == Meta::Set {
                    self.read_length()?;
                }
                let problem = meta::read_flags(&mut self.words, &mut self.request, which);
                if let Some(problem) = problem {
                    self.note(problem);
                }
            }
            Policy::AllServers(which) => self.read_all_servers(which),
            Policy::Local(Local::Stats) => {
                if let Some(topic) = self.words.next() {
                    let is_known = STATS_TOPICS.contains(&topic.of(self.words.line()));
                    self.note(if is_known {
                        Refusal::StatsArgument
                    } else {
                        Refusal::Unknown
                    });
                }
            }
            // As memcached: further arguments are ignored.
            Policy::Local(Local::Quit | Local::Noop) => {}
            Policy::Refused => self.note(Refusal::Unsupported),
        }
        Ok(())
    }

    /// Keeps the first error; parsing goes on, for the line may have the length of the data.
    fn note(&mut self, problem: Refusal) {
        self.problem.get_or_insert(problem);
    }

    fn read_key(&mut self) {
        match self.words.next() {
            None => self.note(Refusal::Incomplete),
            Some(key) => {
                self.request.key = key;
                if key.len() > KEY_BYTES {
                    self.note(Refusal::LongKey);
                }
            }
        }
    }

    fn read_keys(&mut self, limits: &Limits) {
        self.read_key();
        // The name is an argument, and so is the first key.
        let mut arguments = 2_usize;
        while let Some(key) = self.words.next() {
            arguments += 1;
            if key.len() > KEY_BYTES {
                self.note(Refusal::LongKey);
            }
        }
        self.request.has_more_keys = arguments > 2;
        if arguments > limits.arguments.min(KEYS_MOST) {
            self.note(Refusal::ManyKeys);
        }
    }

    /// Reads a required argument. `noreply` in its place still suppresses the reply.
    fn read_number<T>(&mut self, parse: impl Fn(&[u8]) -> Option<T>, refusal: Refusal) {
        let Some(word) = self.words.next() else {
            return self.note(Refusal::Incomplete);
        };
        let word_bytes = word.of(self.words.line());
        if parse(word_bytes).is_none() {
            let is_last = self.words.clone().next().is_none();
            if is_last && self.is_noreply(word) {
                self.suppress_reply(word);
                return self.note(Refusal::Incomplete);
            }
            self.note(refusal);
        }
    }

    fn read_store(&mut self, has_unique: bool) -> Result<(), ScanError> {
        self.read_key();
        self.read_number(flags, Refusal::Flags);
        self.read_number(tokens::exptime, Refusal::StoreExptime);
        self.read_length()?;
        if has_unique {
            self.read_number(tokens::decimal, Refusal::Unique);
        }
        self.read_end();
        Ok(())
    }

    fn read_length(&mut self) -> Result<(), ScanError> {
        let word = self.words.next().ok_or(ScanError::NoLength)?;
        let word = word.of(self.words.line());
        let length = tokens::decimal(word).ok_or(ScanError::BadLength)?;
        if length > DATA_BYTES {
            return Err(ScanError::HugeLength);
        }
        self.data = Some(length);
        Ok(())
    }

    /// Reads the optional `noreply` after the arguments.
    fn read_end(&mut self) {
        let mut words = 0;
        while let Some(word) = self.words.next() {
            words += 1;
            // Only the last word counts; in a valid request it is the only one.
            self.request.noreply = Noreply::None;
            if self.is_noreply(word) {
                self.suppress_reply(word);
            } else {
                self.note(Refusal::ManyArguments);
            }
        }
        if words > 1 {
            self.note(Refusal::ManyArguments);
        }
    }

    /// memcached accepts a `0` after the key: once it was a time.
    fn read_delete_end(&mut self) {
        let mut ahead = self.words.clone();
        match ahead.next() {
            Some(word) if self.is_noreply(word) => {}
            Some(word) => {
                if word.of(self.words.line()) != b"0" {
                    self.note(Refusal::Delete);
                }
                self.words = ahead;
            }
            None => {}
        }
        self.read_end();
    }

    fn read_all_servers(&mut self, which: AllServers) {
        match which {
            // As memcached: further arguments are ignored.
            AllServers::Version => return self.words.by_ref().for_each(drop),
            AllServers::FlushAll => {
                let mut ahead = self.words.clone();
                if ahead.next().is_some_and(|word| !self.is_noreply(word)) {
                    self.read_number(tokens::exptime, Refusal::Exptime);
                }
            }
            AllServers::Verbosity => self.read_number(flags, Refusal::Level),
            AllServers::CacheMemlimit => self.read_number(flags, Refusal::Megabytes),
        }
        self.read_end();
    }

    fn is_noreply(&self, word: Span) -> bool {
        word.of(self.words.line()) == b"noreply"
            && self.request.command.is_some_and(Command::takes_noreply)
    }

    /// Suppresses the reply, and strips the word from what servers get, with the space before it.
    fn suppress_reply(&mut self, word: Span) {
        self.request.noreply = Noreply::All;
        self.request.strip(word);
    }
}

/// Parses a number of 32 bits without a sign.
fn flags(word: &[u8]) -> Option<u32> {
    u32::try_from(tokens::decimal(word)?).ok()
}
