//! Running in the background, and the pid file.
//!
//! Since `unsafe` is forbidden, there is no `fork`: `-d` starts the program a second time in a session of its own and
//! waits until that process reports over a pipe, which is its stdout, that it serves or why it does not. The working
//! directory and the umask stay as they are. Only `main` calls this module.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::file;

/// The environment variable that marks the second process; its value is ignored.
const MARK: &str = "RINGROAD_DAEMON";
/// The environment variable of a process whose stderr is only for what it says until it has called [`restore_stderr`]; its
/// value is ignored. The stderr for later is its stdin.
pub const STDERR_IS_STDIN: &str = "RINGROAD_STDERR_IS_STDIN";
/// The message of the second process once it serves; anything else is the reason why it does not.
const READY: &[u8] = b"ready\n";

/// Returns true in the second process.
#[must_use]
pub fn is_detached() -> bool {
    std::env::var_os(MARK).is_some()
}

/// In the first process: starts the second one with these arguments (without the program) and waits for its report.
pub fn detach(args: impl IntoIterator<Item = OsString>) -> Result<(), DaemonError> {
    let program = std::env::current_exe().map_err(DaemonError::Start)?;
    detach_program(program.as_os_str(), args)
}

fn detach_program(
    program: &OsStr,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(), DaemonError> {
    let (mut reader, writer) = io::pipe().map_err(DaemonError::Start)?;
    // Somebody listens for what the second process says before it has a log.
    let is_heard = std::env::var_os(STDERR_IS_STDIN).is_some();
    let passed = || {
        if is_heard {
            Stdio::inherit()
        } else {
            Stdio::null()
        }
    };
    // The command is a temporary, so that this process keeps no write end and sees the pipe close.
    Command::new(program)
        .args(args)
        .env(MARK, "1")
        .stdin(passed())
        .stdout(writer)
        .stderr(passed())
        .spawn()
        .map_err(DaemonError::Start)?;
    let mut report = Vec::new();
    reader
        .read_to_end(&mut report)
        .map_err(DaemonError::Start)?;
    match report.as_slice() {
        READY => Ok(()),
        [] => Err(DaemonError::Died),
        reason => Err(DaemonError::Refused(
            String::from_utf8_lossy(reason).trim_end().to_owned(),
        )),
    }
}

/// Writes to the stderr of the process that has started this one from now on, if that was given as stdin.
pub fn restore_stderr() -> io::Result<()> {
    if std::env::var_os(STDERR_IS_STDIN).is_none() {
        return Ok(());
    }
    rustix::stdio::dup2_stderr(io::stdin())?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(())
}

/// In the second process: the pipe that reports the result of the start to the first one, once.
#[derive(Debug)]
pub struct ReadyPipe(());

impl ReadyPipe {
    /// Leaves the session of the terminal. Must be called before any thread is started.
    pub fn in_new_session() -> Result<Self, DaemonError> {
        rustix::process::setsid().map_err(|error| DaemonError::Start(error.into()))?;
        Ok(Self(()))
    }

    /// Reports that every listener is bound: the first process exits with success.
    pub fn ready(self) -> Result<(), DaemonError> {
        report(READY)
    }

    /// Reports that the start failed: the first process prints the reason and fails.
    pub fn refused(self, reason: &str) -> Result<(), DaemonError> {
        report(reason.as_bytes())
    }
}

/// Writes to the pipe and closes it by replacing it with `/dev/null`.
fn report(text: &[u8]) -> Result<(), DaemonError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text)
        .and_then(|()| stdout.flush())
        .map_err(DaemonError::Start)?;
    let null = File::options()
        .write(true)
        .open("/dev/null")
        .map_err(DaemonError::Start)?;
    rustix::stdio::dup2_stdout(null).map_err(|error| DaemonError::Start(error.into()))
}

/// An error that keeps the process from running in the background.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The system did not start it.
    #[error("starting the background process failed: {0}")]
    Start(io::Error),
    /// It reported why it does not serve.
    #[error("{0}")]
    Refused(String),
    /// It exited without a report.
    #[error("the background process exited before it was ready")]
    Died,
}

/// A file with the id of this process: decimal, without a newline. Dropping it removes the file, unless another process
/// has written its own id there.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the file, overwriting an existing one.
    pub fn write(path: &Path) -> io::Result<Self> {
        let file = Self {
            path: path.to_owned(),
        };
        file.rewrite()?;
        Ok(file)
    }

    /// Writes it again: another process has overwritten it.
    pub fn rewrite(&self) -> io::Result<()> {
        file::overwrite(&self.path)?.write_all(own_id().as_bytes())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let own = own_id();
        // Something else may be at that path by now; a FIFO would never end.
        let is_file = fs::metadata(&self.path).is_ok_and(|found| found.is_file());
        let content = || file::read(&self.path, own.len(), Duration::ZERO);
        if is_file && content().is_ok_and(|id| id == own.as_bytes()) {
            // A file that cannot be removed now is overwritten by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn own_id() -> String {
    std::process::id().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<(), String> {
        let args = ["-c", script].map(OsString::from);
        detach_program(OsStr::new("/bin/sh"), args).map_err(|error| error.to_string())
    }

    #[test]
    fn parent_reports_the_daemon_result() {
        let died = "the background process exited before it was ready";
        let cases = [
            ("echo ready", Ok(())),
            ("echo bind failed; exit 1", Err("bind failed".to_owned())),
            ("exit 1", Err(died.to_owned())),
            ("test -n \"$RINGROAD_DAEMON\" && echo ready", Ok(())),
            ("echo unseen >&2; read line; echo ready", Ok(())),
        ];
        for (script, expected) in cases {
            assert_eq!(shell(script), expected, "{script}");
        }
    }

    #[test]
    fn parent_does_not_wait_for_the_daemon_to_exit() {
        assert_eq!(shell("echo ready; exec >/dev/null; exec sleep 5"), Ok(()));
    }

    #[test]
    fn pid_file_holds_the_pid_and_is_removed_on_exit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "99999999999").unwrap();
        let pid_file = PidFile::write(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        drop(pid_file);
        assert!(!path.exists());
    }

    #[test]
    fn pid_file_taken_over_by_another_process_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let pid_file = PidFile::write(&path).unwrap();
        fs::write(&path, "1").unwrap();
        drop(pid_file);
        assert!(path.exists());
    }
}
