//! The log: lines to stderr or to a file, at a level that signals change.
//!
//! `main` calls [`init`] once; the signal handler calls [`reopen`], [`raise`] and [`lower`] on SIGHUP, SIGTTIN and
//! SIGTTOU, the admin socket [`level`] and [`set_level`]. Levels are nutcracker's, 0 to 11. A disabled event costs one load of tracing's static level.
//!
//! A line that cannot be written at once is dropped and counted; the next line that can be written reports the number
//! of dropped lines.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt as line, reload};

use crate::file;

/// The most verbose level.
pub const LEVEL_MAX: u8 = 11;

/// The maximum length; longer lines are cut. A pipe that is ready takes this many bytes at once (`PIPE_BUF`), so a
/// write never blocks.
const LINE_MAX_BYTES: usize = 4096;

/// How long the text of an exit waits for an unread pipe.
const EXIT_TEXT_WITHIN: Duration = Duration::from_secs(1);

static LOG: OnceLock<Log> = OnceLock::new();

/// Starts the log of the process at that level, in that file or (`None`) on stderr. A FIFO that nobody reads holds the
/// first lines for its reader.
pub fn init(level: u8, output: Option<&Path>) -> Result<(), LogError> {
    let (log, subscriber) = Log::new(level, output)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    LOG.set(log).map_err(|_| LogError::Twice)?;
    // The default hook would wait for an unread stderr.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

/// Writes the last text of the process to stderr. A process that has a log served clients, perhaps for months: it does
/// not wait for a reader that is gone.
pub fn write_exit_text(text: &str) {
    let mut stderr = io::stderr().lock();
    for piece in text.as_bytes().chunks(LINE_MAX_BYTES) {
        let may_wait = LOG.get().is_none();
        if !may_wait && !file::is_ready(&stderr, PollFlags::OUT, EXIT_TEXT_WITHIN) {
            return;
        }
        // Stderr may be closed; then the text has no recipient.
        let _ = stderr.write_all(piece);
    }
}

/// Reopens the log file, so that a rotated one is released; stderr stays as it is. On an error the old one stays.
pub fn reopen() -> io::Result<()> {
    LOG.get().map_or(Ok(()), |log| log.sink.reopen())
}

/// Makes the log one level more verbose; returns the new level.
pub fn raise() -> u8 {
    LOG.get()
        .map_or(0, |log| log.step(|level| level.saturating_add(1)))
}

/// Makes the log one level less verbose; returns the new level.
pub fn lower() -> u8 {
    LOG.get()
        .map_or(0, |log| log.step(|level| level.saturating_sub(1)))
}

/// The current level.
pub fn level() -> u8 {
    LOG.get().map_or(0, Log::level)
}

/// Sets the level, at most to [`LEVEL_MAX`]; returns the new one.
pub fn set_level(level: u8) -> u8 {
    LOG.get().map_or(0, |log| log.step(|_| level))
}

/// The kind of the least important lines that a level shows: `off`, `error`, `warn`, `info`, `debug` or `trace`.
#[must_use]
pub fn shown_at(level: u8) -> String {
    filter_of(level).to_string()
}

/// An error of the log's initialization.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file could not be opened.
    #[error("opening log file '{}' failed: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The process has a log already.
    #[error("the log was started twice")]
    Twice,
}

#[derive(Debug)]
struct Log {
    level: Mutex<u8>,
    filter: reload::Handle<LevelFilter, Registry>,
    sink: Sink,
}

impl Log {
    fn new(level: u8, output: Option<&Path>) -> Result<(Self, impl Subscriber + use<>), LogError> {
        let sink = Sink::open(output)?;
        let level = level.min(LEVEL_MAX);
        let (filter, handle) = reload::Layer::new(filter_of(level));
        let lines = line::layer()
            .event_format(LineFormat)
            .with_writer(sink.clone())
            .log_internal_errors(false);
        let log = Self {
            level: Mutex::new(level),
            filter: handle,
            sink,
        };
        Ok((log, Registry::default().with(filter).with(lines)))
    }

    fn level(&self) -> u8 {
        *self.lock_level()
    }

    fn step(&self, change: impl FnOnce(u8) -> u8) -> u8 {
        let mut level = self.lock_level();
        *level = change(*level).min(LEVEL_MAX);
        // This fails only after the subscriber is gone.
        let _ = self.filter.reload(filter_of(*level));
        *level
    }

    fn lock_level(&self) -> MutexGuard<'_, u8> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nutcracker shows errors from 1, warnings from 4 and notices from 5.
fn filter_of(level: u8) -> LevelFilter {
    match level {
        0 => LevelFilter::OFF,
        1..=3 => LevelFilter::ERROR,
        4 => LevelFilter::WARN,
        5 => LevelFilter::INFO,
        6..=7 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

/// The destination of lines. Clones share one file.
#[derive(Debug, Clone)]
struct Sink(Arc<Mutex<Target>>);

#[derive(Debug)]
struct Target {
    /// `None` for stderr.
    path: Option<PathBuf>,
    file: File,
    dropped: u64,
}

impl Sink {
    fn open(output: Option<&Path>) -> Result<Self, LogError> {
        let opened = output.map_or_else(own_stderr, file::append_to_unread);
        let file = opened.map_err(|error| LogError::Open {
            path: output.map_or_else(|| PathBuf::from("stderr"), Path::to_owned),
            error,
        })?;
        let target = Target {
            path: output.map(Path::to_owned),
            file,
            dropped: 0,
        };
        Ok(Self(Arc::new(Mutex::new(target))))
    }

    fn reopen(&self) -> io::Result<()> {
        let mut target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &target.path {
            target.file = file::append_to(path)?;
        }
        Ok(())
    }
}

/// Opens stderr once more if it is a pipe or a terminal, so that writes do not wait even if another process that shares
/// it fills it; its own flags belong to all of these processes.
fn own_stderr() -> io::Result<File> {
    let shared = io::stderr().as_fd().try_clone_to_owned().map(File::from)?;
    let kind = shared.metadata()?.file_type();
    if kind.is_fifo() || kind.is_char_device() {
        // This fails without a permission, or without a reader.
        if let Ok(own) = file::append_to(Path::new("/proc/self/fd/2")) {
            return Ok(own);
        }
    }
    Ok(shared)
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Sink {
    /// Writes one whole line and always reports success: an error of the log must not stop the program.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target {
    fn write(&mut self, line: &[u8]) {
        if self.dropped > 0 {
            let note = format!(
                "[{}] WARN log: {} lines were dropped\n",
                now(),
                self.dropped
            );
            if !self.put(note.as_bytes()) {
                self.dropped = self.dropped.saturating_add(1);
                return;
            }
            self.dropped = 0;
        }
        let written = match line.get(..LINE_MAX_BYTES) {
            Some(head) => {
                let mut cut = head.to_vec();
                cut.pop();
                cut.push(b'\n');
                self.put(&cut)
            }
            None => self.put(line),
        };
        self.dropped = self.dropped.saturating_add(u64::from(!written));
    }

    fn put(&mut self, bytes: &[u8]) -> bool {
        let is_ready = file::is_ready(&self.file, PollFlags::OUT, Duration::ZERO);
        is_ready && self.file.write_all(bytes).is_ok()
    }
}

/// `[YYYY-MM-DD HH:MM:SS.mmm] LEVEL target: message key=value`.
struct LineFormat;

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        write!(out, "[{}] {} {}:", now(), meta.level(), meta.target())?;
        let mut fields = Fields {
            message: String::new(),
            rest: String::new(),
        };
        event.record(&mut fields);
        writeln!(out, "{}{}", fields.message, fields.rest)
    }
}

fn now() -> impl fmt::Display {
    chrono::Local::now().format("%Y-%m-%d %H:%M:%S%.3f")
}

/// The message first, whatever its position among the fields.
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        // Writing to a `String` cannot fail; a value whose own `Debug` fails is cut there.
        let _ = if field.name() == "message" {
            write!(Escaping(&mut self.message), " {value:?}")
        } else {
            write!(Escaping(&mut self.rest), " {}={value:?}", field.name())
        };
    }
}

/// Escapes control characters, so that bytes of a peer can neither start a new line nor control a terminal.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_control() {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_in(dir: &tempfile::TempDir, level: u8) -> (Log, impl Subscriber + use<>, PathBuf) {
        let path = dir.path().join("log");
        let (log, subscriber) = Log::new(level, Some(&path)).unwrap();
        (log, subscriber, path)
    }

    #[test]
    fn log_line_has_all_parts_and_no_control_characters() {
        let dir = tempfile::tempdir().unwrap();
        let (_log, subscriber, path) = log_in(&dir, 5);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "pool", server = "a\nb", n = 3, "gone\r\n[x] \u{1b}[31mforged");
            tracing::debug!("unseen");
        });
        let text = std::fs::read_to_string(path).unwrap();
        let (time, rest) = text.split_at(26);
        let digits = time.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(digits, "[0000-00-00 00:00:00.000] ");
        assert_eq!(
            rest,
            "WARN pool: gone\\r\\n[x] \\u{1b}[31mforged server=a\\nb n=3\n"
        );
    }

    #[test]
    fn log_levels_match_nutcracker() {
        let shown = |level| {
            let dir = tempfile::tempdir().unwrap();
            let (_log, subscriber, path) = log_in(&dir, level);
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!("");
                tracing::warn!("");
                tracing::info!("");
                tracing::debug!("");
                tracing::trace!("");
            });
            std::fs::read_to_string(path).unwrap().lines().count()
        };
        let counts: Vec<_> = (0..=12).map(shown).collect();
        assert_eq!(counts, [0, 1, 1, 1, 2, 3, 4, 4, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn log_level_changes_at_run_time_within_its_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let (log, subscriber, path) = log_in(&dir, 5);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            assert_eq!(log.step(|level| level + 1), 6);
            tracing::debug!("raised");
            assert_eq!(log.step(|level| level - 1), 5);
            tracing::debug!("lowered");
        });
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.ends_with("raised\n") && text.lines().count() == 1,
            "{text}"
        );
        assert_eq!(log.step(|_| 99), LEVEL_MAX);
        assert_eq!(log.level(), LEVEL_MAX);
    }

    #[test]
    fn reopened_log_releases_the_rotated_file() {
        let dir = tempfile::tempdir().unwrap();
        let (log, subscriber, path) = log_in(&dir, 5);
        let rotated = dir.path().join("log.1");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            std::fs::rename(&path, &rotated).unwrap();
            tracing::info!("two");
            log.sink.reopen().unwrap();
            tracing::info!("three");
        });
        assert_eq!(std::fs::read_to_string(rotated).unwrap().lines().count(), 2);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
    }

    #[test]
    fn full_pipe_drops_and_counts_lines() {
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut target = Target {
            path: None,
            file,
            dropped: 0,
        };
        while target.dropped < 3 {
            target.write(&[b'x'; 5000]);
        }
        let mut taken = vec![0; 2 * LINE_MAX_BYTES];
        io::Read::read_exact(&mut reader, &mut taken).unwrap();
        assert_eq!(memchr::memchr_iter(b'\n', &taken).count(), 2);
        target.write(b"after\n");
        drop(target);
        let mut rest = String::new();
        io::Read::read_to_string(&mut reader, &mut rest).unwrap();
        assert!(rest.ends_with("WARN log: 3 lines were dropped\nafter\n"));
    }
}
