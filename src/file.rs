//! Files that are opened without ever waiting: for the other end of a FIFO, for a terminal, for a writer.
//!
//! The threads that open files also accept clients and handle signals. The log, the pid file and the configuration are
//! opened here and nowhere else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// The flags of every file: opening neither waits nor takes a terminal, reading and writing do not wait.
const FLAGS: i32 = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();

/// Opens a file to append to; creates it if it is missing.
pub(crate) fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    open(path, options.append(true).create(true).mode(0o644))
}

/// As [`append_to`], but a FIFO that nobody reads is opened too: it holds what is written until it is full.
pub(crate) fn append_to_unread(path: &Path) -> io::Result<File> {
    match append_to(path) {
        Err(error) if is_fifo(path) && error.kind() == UNREAD => {
            // Linux opens the read end as well, so that the write end needs no other reader.
            open(path, OpenOptions::new().read(true).write(true))
        }
        result => result,
    }
}

/// Opens a file to replace its content; creates it if it is missing.
pub(crate) fn overwrite(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true);
    open(path, options.mode(0o644))
}

/// Reads a file of at most `most_bytes`. What its writer has not completed `within` that time is an error.
pub(crate) fn read(path: &Path, most_bytes: usize, within: Duration) -> io::Result<Vec<u8>> {
    let mut file = open(path, OpenOptions::new().read(true))?;
    let deadline = Instant::now() + within;
    let mut content = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if !is_ready(&file, PollFlags::IN, left) {
            let text = format!("its writer did not finish within {within:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        match file.read(&mut piece) {
            Ok(0) => return Ok(content),
            Ok(len) => content.extend_from_slice(piece.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if content.len() > most_bytes {
            let text = format!("more than {most_bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
    }
}

/// Waits until a file can be read or written, for at most that time; returns true if it can.
pub(crate) fn is_ready(file: &impl AsFd, flags: PollFlags, within: Duration) -> bool {
    let mut fds = [PollFd::new(file, flags)];
    let within = Timespec {
        tv_sec: within.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: within.subsec_nanos().into(),
    };
    matches!(poll(&mut fds, Some(&within)), Ok(ready) if ready > 0)
}

/// The kind of the error about a FIFO that nobody reads.
const UNREAD: io::ErrorKind = io::ErrorKind::NotConnected;

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(FLAGS).open(path).map_err(|error| {
        let no_reader = error.raw_os_error() == Some(Errno::NXIO.raw_os_error());
        if no_reader && is_fifo(path) {
            return io::Error::new(UNREAD, "nobody reads this FIFO");
        }
        error
    })
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;
    use std::thread;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn fifo(dir: &tempfile::TempDir) -> PathBuf {
        let path = dir.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        path
    }

    #[test]
    fn fifo_without_a_reader_is_an_error_or_holds_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(&dir);
        for opened in [append_to(&path), overwrite(&path)] {
            assert_eq!(opened.unwrap_err().to_string(), "nobody reads this FIFO");
        }
        let mut unread = append_to_unread(&path).unwrap();
        unread.write_all(b"held").unwrap();
        let mut read_end = open(&path, OpenOptions::new().read(true)).unwrap();
        let mut held = [0; 4];
        read_end.read_exact(&mut held).unwrap();
        assert_eq!(&held, b"held");
        assert!(append_to(&path).is_ok(), "it has a reader now");
    }

    #[test]
    fn fifo_is_read_to_the_end_of_its_writer_or_refused_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(&dir);
        let refused = |most_bytes| read(&path, most_bytes, SOON).unwrap_err().kind();
        assert_eq!(refused(9), io::ErrorKind::TimedOut, "nobody writes");
        let writer = append_to_unread(&path).unwrap();
        (&writer).write_all(b"text").unwrap();
        assert_eq!(refused(9), io::ErrorKind::TimedOut, "the writer stays");
        drop(writer);
        let source = path.clone();
        let reading = thread::spawn(move || read(&source, 4, Duration::from_secs(20)));
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all(b"text").unwrap();
        drop(writer);
        assert_eq!(reading.join().unwrap().unwrap(), b"text");
    }

    #[test]
    fn endless_file_is_refused_at_its_limit() {
        let error = read(Path::new("/dev/zero"), 1 << 20, Duration::from_secs(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
