//! The log: lines to stderr or to a file, as text or JSON, at a level that signals change.
//!
//! `main` calls [`init`] once; the signal handler calls [`reopen`], [`raise`] and [`lower`] on SIGHUP, SIGTTIN and
//! SIGTTOU, the admin socket [`level`] and [`set_level`], the control thread [`report_suppressed`]. Levels are
//! nutcracker's, 0 to 11. A disabled event costs one load of tracing's static level.
//!
//! The log neither waits nor grows: a line that cannot be written at once is dropped and counted, and of many lines of
//! one kind most are suppressed and counted.

mod format;
mod last_line;
mod limit;
mod record;
mod sink;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use tokio::sync::Notify;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use crate::file;
use crate::log::limit::Limiter;
use crate::log::record::{LINE_MAX_BYTES, Record};
use crate::log::sink::Sink;

pub use format::LogFormat;
pub use last_line::LastLine;
pub use sink::LogError;

/// The most verbose level.
pub const LEVEL_MAX: u8 = 11;

/// How long the text of an exit waits for an unread pipe.
const EXIT_TEXT_WITHIN: Duration = Duration::from_secs(1);

static LOG: OnceLock<Log> = OnceLock::new();

/// Starts the log of the process at that level, in that file or (`None`) on stderr. A FIFO that nobody reads holds the
/// first lines for its reader.
pub fn init(level: u8, format: LogFormat, output: Option<&Path>) -> Result<(), LogError> {
    let (log, subscriber) = Log::new(level, format, output)?;
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
    LOG.get().map_or(Ok(()), |log| log.lines.sink.reopen())
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

/// Reports the lines that were suppressed once their time is over, for ever: a flood that ends is told although no other
/// line follows.
pub async fn report_suppressed() {
    let Some(log) = LOG.get() else {
        return std::future::pending().await;
    };
    loop {
        log.lines.suppressed.notified().await;
        while log.lines.owes_reports() {
            tokio::time::sleep(limit::WINDOW).await;
            log.lines.report_ended(Instant::now());
        }
    }
}

/// Reports at once what was suppressed: the process ends.
pub fn report_all_suppressed() {
    if let Some(log) = LOG.get() {
        log.lines.report_all();
    }
}

/// The kind of the least important lines that a level shows: `off`, `error`, `warn`, `info`, `debug` or `trace`.
#[must_use]
pub fn shown_at(level: u8) -> String {
    filter_of(level).to_string()
}

#[derive(Debug)]
struct Log {
    level: Mutex<u8>,
    filter: reload::Handle<LevelFilter, Registry>,
    lines: Arc<Lines>,
}

impl Log {
    fn new(
        level: u8,
        format: LogFormat,
        output: Option<&Path>,
    ) -> Result<(Self, impl Subscriber + use<>), LogError> {
        let lines = Arc::new(Lines {
            limiter: Mutex::default(),
            suppressed: Notify::new(),
            sink: Sink::open(format, output)?,
        });
        let level = level.min(LEVEL_MAX);
        let (filter, handle) = reload::Layer::new(filter_of(level));
        let log = Self {
            level: Mutex::new(level),
            filter: handle,
            lines: Arc::clone(&lines),
        };
        let layers = Registry::default().with(filter).with(LinesLayer(lines));
        Ok((log, layers))
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

/// The way of a line, from the event to the file.
#[derive(Debug)]
struct Lines {
    limiter: Mutex<Limiter>,
    /// Notified when a report will be due.
    suppressed: Notify,
    sink: Sink,
}

impl Lines {
    fn take(&self, event: &Event<'_>, now: Instant) {
        // A value that panics does so before a lock is held, which the line about the panic needs.
        let record = Record::of(event);
        let place = event.metadata().callsite();
        let admission = self.lock_limiter().admit(&place, &record, now);
        self.write_all(&admission.reports);
        if admission.is_written {
            self.sink.write(&record);
        }
        if admission.is_first_suppressed {
            self.suppressed.notify_one();
        }
    }

    fn owes_reports(&self) -> bool {
        self.lock_limiter().owes_reports()
    }

    fn report_ended(&self, now: Instant) {
        let mut reports = Vec::new();
        self.lock_limiter().take_ended(now, &mut reports);
        self.write_all(&reports);
    }

    fn report_all(&self) {
        let reports = self.lock_limiter().take_all(Instant::now());
        self.write_all(&reports);
    }

    fn write_all(&self, records: &[Record]) {
        // The level may be lower than it was.
        let shown = |record: &&Record| record.level <= LevelFilter::current();
        for record in records.iter().filter(shown) {
            self.sink.write(record);
        }
    }

    fn lock_limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct LinesLayer(Arc<Lines>);

impl<S: Subscriber> Layer<S> for LinesLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.take(event, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn log_in(dir: &tempfile::TempDir, level: u8) -> (Log, impl Subscriber + use<>, PathBuf) {
        let path = dir.path().join("log");
        let (log, subscriber) = Log::new(level, LogFormat::Text, Some(&path)).unwrap();
        (log, subscriber, path)
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
            log.lines.sink.reopen().unwrap();
            tracing::info!("three");
        });
        assert_eq!(std::fs::read_to_string(rotated).unwrap().lines().count(), 2);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
    }

    #[test]
    fn flood_is_cut_to_ten_lines_and_a_count_of_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (log, subscriber, path) = log_in(&dir, 11);
        let refuse = |pool: &str, clients| {
            for client in 0..clients {
                tracing::warn!(pool, client, "client refused");
            }
        };
        tracing::subscriber::with_default(subscriber, || {
            refuse("a", 1000);
            refuse("b", 11);
            refuse("c", 10);
            for _ in 0..20 {
                tracing::debug!("unlimited");
            }
            log.lines.report_ended(Instant::now());
            assert!(log.lines.owes_reports(), "their time is not over");
            log.lines.report_ended(Instant::now() + limit::WINDOW);
            refuse("a", 1);
        });
        let text = std::fs::read_to_string(path).unwrap();
        let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert_eq!(count(": client refused pool=a"), 11);
        assert_eq!(count(": client refused pool=b"), 10);
        assert_eq!(count(": client refused pool=c"), 10);
        assert_eq!(count(": unlimited"), 20);
        assert_eq!(count("suppressed"), 2);
        for (pool, suppressed) in [("a", 990), ("b", 1)] {
            let report = text.lines().find_map(|line| {
                let (_, report) = line.split_once("] ")?;
                let about = format!("s line=client refused pool={pool}");
                report.strip_suffix(about.as_str())
            });
            let expected = format!(
                "WARN ringroad::log::tests: further lines of this kind were suppressed count={suppressed} within=1"
            );
            assert!(report.unwrap().starts_with(&expected), "{text}");
        }
    }

    #[test]
    fn kinds_that_are_told_apart_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (log, subscriber, path) = log_in(&dir, 5);
        tracing::subscriber::with_default(subscriber, || {
            for nth in 0..4000 {
                tracing::warn!("message {nth}");
            }
        });
        assert!(log.lines.owes_reports());
        let text = std::fs::read_to_string(path).unwrap();
        assert!((1024..2000).contains(&text.lines().count()));
    }
}
