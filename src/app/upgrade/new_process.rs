//! A new process, from the check of its binary to the moment at which it serves.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The time limit for the check of the configuration by the new binary.
const CHECK_WITHIN: Duration = Duration::from_secs(8);
/// The time for a process that has gone to tell how.
const EXIT_WITHIN: Duration = Duration::from_secs(1);
/// The longest text of a new binary that is shown.
const WORDS_MAX_BYTES: usize = 8 << 10;
/// Variables that are about this process only.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"];
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
        let said = String::from_utf8_lossy(said.unwrap_or(&output.stderr));
        let lines = said.lines().filter(|line| !line.trim().is_empty());
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        if lines.is_empty() {
            lines.push(format!("'{} -t' failed: {}", self.name(), output.status));
        }
        lines
    }

    /// Starts it.
    pub(super) fn start(&self, admin: &Path) -> Result<NewProcess, Vec<String>> {
        let started = self.command(admin).spawn();
        match started {
            Ok(child) => Ok(NewProcess {
                pid: child.id().unwrap_or_default(),
                child: Some(child),
            }),
            Err(error) => Err(vec![format!("'{}': {error}", self.name())]),
        }
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
        timeout(EXIT_WITHIN, self.exited()).await.ok()
    }

    /// Leaves it alone.
    pub(super) fn release(&mut self) {
        self.child = None;
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
