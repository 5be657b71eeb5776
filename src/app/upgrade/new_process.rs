//! A new process, from the check of its binary to the moment at which it serves.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::daemon::STDERR_IS_STDIN;

/// The time limit for the check of the configuration by the new binary.
const CHECK_WITHIN: Duration = Duration::from_secs(8);
/// The time for a process that has gone to tell how.
const EXIT_WITHIN: Duration = Duration::from_secs(1);
/// The longest text of a new binary that is shown.
const WORDS_MAX_BYTES: usize = 8 << 10;
/// Variables that are about this process only.
const OWN_VARIABLES: [&str; 5] = [
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "WATCHDOG_PID",
    STDERR_IS_STDIN,
];
/// The option of a new process.
const TAKE_OVER: &str = "--take-over";

/// How a new process is started: as this one was, with another binary perhaps.
#[derive(Debug, Clone)]
pub(in crate::app) struct Launch {
    program: OsString,
    args: Vec<OsString>,
}

/// A process that has been started. It is killed when it is dropped, unless it serves.
#[derive(Debug)]
pub(super) struct NewProcess {
    child: Option<Child>,
    pub(super) pid: u32,
    words: Words,
}

/// What a process says on stderr before it has connected: later it says so over the connection, and in its log.
#[derive(Debug, Default)]
struct Words {
    /// The last of it.
    said: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

impl Launch {
    /// The command line of this process.
    pub(in crate::app) fn of_this_process() -> Self {
        let mut args = std::env::args_os();
        let program = args.next().unwrap_or_default();
        let mut args: Vec<_> = args.collect();
        // What the last upgrade has added.
        if let [.., option, _] = args.as_slice()
            && option == TAKE_OVER
        {
            args.truncate(args.len() - 2);
        }
        Self { program, args }
    }

    /// The same with another binary.
    pub(super) fn with_binary(self, binary: Option<PathBuf>) -> Self {
        match binary {
            Some(binary) => Self {
                program: binary.into_os_string(),
                ..self
            },
            None => self,
        }
    }

    /// The binary, for messages.
    pub(super) fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    fn command(&self, admin: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg(TAKE_OVER).arg(admin);
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Has the binary check its options and the configuration file. `Err` has its words, one line each.
    pub(super) async fn check(&self, admin: &Path) -> Result<(), Vec<String>> {
        let mut command = self.command(admin);
        command.arg("-t").stdout(Stdio::null()).kill_on_drop(true);
        let Ok(output) = timeout(CHECK_WITHIN, command.output()).await else {
            return Err(vec![format!(
                "'{} -t' did not end within {CHECK_WITHIN:?}",
                self.name()
            )]);
        };
        match output {
            Ok(Output { status, .. }) if status.success() => Ok(()),
            Ok(output) => Err(self.words(&output)),
            Err(error) => Err(vec![format!("'{}': {error}", self.name())]),
        }
    }

    fn words(&self, output: &Output) -> Vec<String> {
        let said = output.stderr.get(..WORDS_MAX_BYTES);
        let mut lines = lines(said.unwrap_or(&output.stderr));
        if lines.is_empty() {
            lines.push(format!("'{} -t' failed: {}", self.name(), output.status));
        }
        lines
    }

    /// Starts it.
    pub(super) fn start(&self, admin: &Path) -> Result<NewProcess, Vec<String>> {
        let mut command = self.command(admin);
        // It has the stderr of this process from the moment on at which it needs no other.
        if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
            command
                .stdin(stderr)
                .stderr(Stdio::piped())
                .env(STDERR_IS_STDIN, "1");
        }
        match command.spawn() {
            Ok(mut child) => Ok(NewProcess {
                pid: child.id().unwrap_or_default(),
                words: child.stderr.take().map(Words::of).unwrap_or_default(),
                child: Some(child),
            }),
            Err(error) => Err(vec![format!("'{}': {error}", self.name())]),
        }
    }
}

/// The lines of a text that are not blank.
fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(str::to_owned).collect()
}

impl Words {
    fn of(mut stderr: ChildStderr) -> Self {
        let said = Arc::default();
        let all: Arc<Mutex<Vec<u8>>> = Arc::clone(&said);
        let reading = tokio::spawn(async move {
            let mut piece = [0; 1 << 10];
            // As long as it says something, also if nobody wants to know: a closed pipe would end it.
            while let Ok(len @ 1..) = stderr.read(&mut piece).await {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(piece.get(..len).unwrap_or_default());
                let surplus = all.len().saturating_sub(WORDS_MAX_BYTES);
                all.drain(..surplus);
            }
        });
        Self {
            said,
            reading: Some(reading),
        }
    }

    fn so_far(&self) -> Vec<String> {
        lines(&self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl NewProcess {
    /// Waits until it has ended.
    pub(super) async fn exited(&mut self) -> String {
        let status = match &mut self.child {
            Some(child) => child.wait().await,
            None => std::future::pending().await,
        };
        let status = status.map(|status: ExitStatus| status.to_string());
        status.unwrap_or_else(|error| error.to_string())
    }

    /// How it has ended, if it has.
    pub(super) async fn exited_already(&mut self) -> Option<String> {
        self.child.as_ref()?;
        timeout(EXIT_WITHIN, self.exited()).await.ok()
    }

    /// The last of what it has said, once it has ended.
    pub(super) async fn last_words(&mut self) -> Vec<String> {
        if let Some(reading) = self.words.reading.take() {
            // A process that it has started may have its stderr.
            let _ = timeout(EXIT_WITHIN, reading).await;
        }
        self.words.so_far()
    }

    /// Leaves it alone.
    pub(super) fn release(&mut self) {
        self.child = None;
        for line in self.words.so_far() {
            tracing::warn!(new = self.pid, "upgrade: the new process says: {line}");
        }
    }
}

impl Drop for NewProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.start_kill();
        }
    }
}
