//! The destination of lines: stderr, or a file that can be reopened.
//!
//! A line that cannot be written at once is dropped and counted; the next line that can be written follows one with the
//! number of dropped lines.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Local;
use rustix::event::PollFlags;
use tracing::Level;

use crate::file;
use crate::log::format::LogFormat;
use crate::log::record::Record;

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

/// The destination of lines.
#[derive(Debug)]
pub(super) struct Sink {
    format: LogFormat,
    target: Mutex<Target>,
}

#[derive(Debug)]
struct Target {
    /// `None` for stderr.
    path: Option<PathBuf>,
    file: File,
    dropped: u64,
}

impl Sink {
    pub(super) fn open(format: LogFormat, output: Option<&Path>) -> Result<Self, LogError> {
        let opened = output.map_or_else(own_stderr, file::append_to_unread);
        let file = opened.map_err(|error| LogError::Open {
            path: output.map_or_else(|| PathBuf::from("stderr"), Path::to_owned),
            error,
        })?;
        Ok(Self::new(format, output.map(Path::to_owned), file))
    }

    fn new(format: LogFormat, path: Option<PathBuf>, file: File) -> Self {
        let target = Target {
            path,
            file,
            dropped: 0,
        };
        Self {
            format,
            target: Mutex::new(target),
        }
    }

    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut target = self.lock();
        if let Some(path) = &target.path {
            target.file = file::append_to(path)?;
        }
        Ok(())
    }

    /// Writes one line, or drops it: an error of the log must not stop the program.
    pub(super) fn write(&self, record: &Record) {
        // A value that panics does so before the lock is held, which the line about the panic needs.
        let line = self.format.line(record, Local::now());
        let mut target = self.lock();
        if target.dropped > 0 {
            let note = self.format.line(&dropped(target.dropped), Local::now());
            if !target.put(&note) {
                target.dropped = target.dropped.saturating_add(1);
                return;
            }
            target.dropped = 0;
        }
        if !target.put(&line) {
            target.dropped = 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    fn put(&mut self, line: &str) -> bool {
        let is_ready = file::is_ready(&self.file, PollFlags::OUT, Duration::ZERO);
        is_ready && self.file.write_all(line.as_bytes()).is_ok()
    }
}

fn dropped(lines: u64) -> Record {
    Record {
        level: Level::WARN,
        target: "log",
        message: format!("{lines} lines were dropped"),
        fields: Vec::new(),
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::log::record::LINE_MAX_BYTES;

    #[test]
    fn full_pipe_drops_and_counts_lines() {
        for (format, note) in [
            (LogFormat::Text, "WARN log: 3 lines were dropped\n"),
            (LogFormat::Json, "\"message\":\"3 lines were dropped\"}\n"),
        ] {
            let (mut reader, writer) = io::pipe().unwrap();
            let sink = Sink::new(format, None, File::from(OwnedFd::from(writer)));
            let line = |message: String| Record {
                message,
                ..dropped(0)
            };
            while sink.lock().dropped < 3 {
                sink.write(&line("x".repeat(5000)));
            }
            let mut taken = vec![0; 2 * LINE_MAX_BYTES];
            reader.read_exact(&mut taken).unwrap();
            sink.write(&line("after".to_owned()));
            drop(sink);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            let rest = String::from_utf8(taken).unwrap() + &rest;
            let (kept, after) = rest.split_once(note).unwrap();
            assert!(kept.lines().all(|line| line.len() < LINE_MAX_BYTES));
            assert!(after.contains("after") && after.lines().count() == 1);
        }
    }
}
