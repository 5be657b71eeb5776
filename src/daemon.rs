//! Running in the background, and the file that says who runs.
//!
//! Without `fork` there is no copying of a process, so `-d` starts the program a second time in a session of its own
//! and waits until that one says over a pipe, which is its stdout, that it serves or why it does not. The working
//! directory and the umask stay as they are. Only `main` calls here.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Marks the second process for itself. Its value is of no account.
const MARK: &str = "RINGROAD_DAEMON";
/// What the second process says when it serves; anything else is the reason why it does not.
const READY: &[u8] = b"ready\n";

/// Which of the two processes this one is.
#[must_use]
pub fn is_detached() -> bool {
    std::env::var_os(MARK).is_some()
}

/// In the first process: starts the second one with these arguments (without the program) and waits for its verdict.
pub fn detach(args: impl IntoIterator<Item = OsString>) -> Result<(), DaemonError> {
    let program = std::env::current_exe().map_err(DaemonError::Start)?;
    detach_program(program.as_os_str(), args)
}

fn detach_program(
    program: &OsStr,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(), DaemonError> {
    let (mut reader, writer) = io::pipe().map_err(DaemonError::Start)?;
    // The command is a temporary, so that this process keeps no writing end and sees the pipe close.
    Command::new(program)
        .args(args)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .map_err(DaemonError::Start)?;
    let mut verdict = Vec::new();
    reader
        .read_to_end(&mut verdict)
        .map_err(DaemonError::Start)?;
    match verdict.as_slice() {
        READY => Ok(()),
        [] => Err(DaemonError::Died),
        reason => Err(DaemonError::Refused(
            String::from_utf8_lossy(reason).trim_end().to_owned(),
        )),
    }
}

/// In the second process: the way to tell the first one how the start went, once.
#[derive(Debug)]
pub struct ReadyPipe(());

impl ReadyPipe {
    /// Leaves the session of the terminal. To be called before any thread is started.
    pub fn in_new_session() -> Result<Self, DaemonError> {
        rustix::process::setsid().map_err(|error| DaemonError::Start(error.into()))?;
        Ok(Self(()))
    }

    /// Every listener is bound: the first process may leave with success.
    pub fn ready(self) -> Result<(), DaemonError> {
        say(READY)
    }

    /// There will be no service: the first process prints the reason and fails.
    pub fn refused(self, reason: &str) -> Result<(), DaemonError> {
        say(reason.as_bytes())
    }
}

/// Writes to the pipe and closes it by putting `/dev/null` in its place.
fn say(text: &[u8]) -> Result<(), DaemonError> {
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

/// Why there is no process in the background.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The system would not start it.
    #[error("starting the background process failed: {0}")]
    Start(io::Error),
    /// It said why it does not serve.
    #[error("{0}")]
    Refused(String),
    /// It ended without a word.
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
    /// Writes the file, over whatever was there.
    pub fn write(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(path)?;
        file.write_all(own_id().as_bytes())?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if fs::read(&self.path).is_ok_and(|id| id == own_id().as_bytes()) {
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
