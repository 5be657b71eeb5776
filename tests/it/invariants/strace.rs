//! The system calls of the proxy, as strace reports them.

use std::process::Command;

use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::support::{Kind, Launch, Pool, Process, Proxy};

/// One system call.
#[derive(Debug)]
pub(super) struct Call {
    /// The thread's number.
    pub(super) thread: String,
    pub(super) name: String,
    /// Its arguments, and its result unless it was interrupted.
    pub(super) text: String,
}

/// A proxy with one worker, whose counts are published too rarely to matter.
pub(super) fn proxy(pool: Pool) -> Proxy {
    let args = ["--workers", "1", "-i", "3600000"];
    let launch = Launch {
        args: args.map(str::to_owned).to_vec(),
        descriptors: None,
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, &pool.with("hash", "murmur"), &launch)
}

/// The system calls of all threads while `run` runs.
pub(super) fn calls_during(proxy: &Proxy, run: impl FnOnce()) -> Vec<Call> {
    let file = NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.arg("-f").arg("-o").arg(file.path());
    strace.args(["-p", &proxy.process().pid().to_string()]);
    let strace = Process::spawn(strace);
    strace.await_output("attached");
    run();
    strace.signal(Signal::INT);
    strace.exit();
    let log = std::fs::read_to_string(file.path()).unwrap();
    log.lines().filter_map(Call::parse).collect()
}

impl Call {
    /// Returns true for a write to a socket. A plain `write` wakes a thread, sometimes the worker's own.
    pub(super) fn is_write(&self) -> bool {
        matches!(&*self.name, "writev" | "sendto" | "sendmsg")
    }

    /// Returns true for a read from a socket.
    pub(super) fn is_read(&self) -> bool {
        matches!(&*self.name, "readv" | "recvfrom" | "recvmsg")
    }

    /// `None` for a line that is no call: the rest of an interrupted one, or a signal.
    fn parse(line: &str) -> Option<Self> {
        let (thread, rest) = line.split_once(' ')?;
        let (name, text) = rest.trim_start().split_once('(')?;
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_name.then(|| Self {
            thread: thread.to_owned(),
            name: name.to_owned(),
            text: text.to_owned(),
        })
    }
}
