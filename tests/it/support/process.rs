//! A child process that cannot outlive its test, with its output kept and awaitable.

use std::cell::OnceCell;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, eventually};

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    pid: Pid,
    exited: Receiver<ExitStatus>,
    status: OnceCell<ExitStatus>,
    output: Arc<Output>,
}

/// The output of a child so far, on both streams.
#[derive(Debug, Default)]
struct Output {
    text: Mutex<String>,
    grew: Condvar,
}

impl Process {
    /// Starts `command` with its standard output and error collected.
    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_with_stdin(command, Stdio::null())
    }

    /// The same, with this standard input.
    pub(crate) fn spawn_with_stdin(mut command: Command, stdin: impl Into<Stdio>) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}): run `make setup`"));
        let output = Arc::new(Output::default());
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        let pid = Pid::from_child(&child);
        let (report, exited) = channel();
        thread::spawn(move || report.send(child.wait().unwrap()));
        let status = OnceCell::new();
        Self {
            name,
            pid,
            exited,
            status,
            output,
        }
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn await_output(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.output.text.lock().unwrap();
        while !seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{} never printed {text:?}, only: {seen}",
                self.name
            );
            seen = self.output.grew.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Everything printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.text.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        assert!(
            self.status.get().is_none(),
            "{} has already exited",
            self.name
        );
        kill_process(self.pid, signal).unwrap();
    }

    /// Stops it, and waits until all its threads have stopped; `Signal::CONT` continues it.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        eventually("all threads are stopped", || {
            let mut tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
                // One that was ending when it was listed is gone by now.
                let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else {
                    return true;
                };
                // The state follows the name, which is in brackets.
                stat.rsplit(')')
                    .next()
                    .is_some_and(|rest| rest.trim().starts_with('T'))
            };
            tasks.all(is_stopped).then_some(())
        });
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&self) {
        if self.exit_within(Duration::ZERO).is_none() {
            // It may have ended by now.
            let killed = kill_process(self.pid, Signal::KILL);
            assert!(matches!(killed, Ok(()) | Err(Errno::SRCH)), "{killed:?}");
            self.exit();
        }
    }

    /// Waits for it to exit by itself.
    pub(crate) fn exit(&self) -> ExitStatus {
        self.exit_within(PATIENCE)
            .unwrap_or_else(|| panic!("{} does not exit; it printed: {}", self.name, self.output()))
    }

    /// Its exit status, or `None` while it still runs after `wait`.
    pub(crate) fn exit_within(&self, wait: Duration) -> Option<ExitStatus> {
        if let Some(status) = self.status.get() {
            return Some(*status);
        }
        match self.exited.recv_timeout(wait) {
            Ok(status) => Some(*self.status.get_or_init(|| status)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the waiting thread reports once"),
        }
    }

    /// One field of `/proc/PID/status` in bytes, such as `VmHWM` (the peak) or `VmRSS`.
    pub(crate) fn memory_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(stream: impl Read + Send + 'static, output: &Arc<Output>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut text = output.text.lock().unwrap();
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
            output.grew.notify_all();
        }
    });
}
