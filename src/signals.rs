//! Signals of the operating system: those that end the proxy, reload its configuration, or concern its log; and those
//! that end a tool.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::log;

/// The signals that the proxy catches.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
    louder: Signal,
    quieter: Signal,
    user1: Signal,
    user2: Signal,
}

/// The consequence of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalAction {
    /// End at once.
    Exit,
    /// Finish what is in flight, then end.
    Drain,
    /// Load the configuration file again.
    Reload,
    /// Dealt with already: the log level is this one now.
    LogLevel(u8),
    /// Dealt with already.
    Handled,
}

impl Signals {
    /// Replaces the default handlers of the signals, for the rest of the process.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::hangup())?,
            louder: signal(SignalKind::from_raw(Number::TTIN.as_raw()))?,
            quieter: signal(SignalKind::from_raw(Number::TTOU.as_raw()))?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal. What concerns the log is dealt with here.
    pub(crate) async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => {
                tracing::info!("signal 15 (SIGTERM) received");
                SignalAction::Drain
            }
            _ = self.interrupt.recv() => {
                tracing::info!("signal 2 (SIGINT) received, exiting");
                SignalAction::Exit
            }
            _ = self.reopen.recv() => {
                tracing::info!("signal 1 (SIGHUP) received, reopening log file and reloading");
                reopen_log();
                SignalAction::Reload
            }
            _ = self.louder.recv() => {
                let level = log::raise();
                tracing::info!(level, "signal 21 (SIGTTIN) received, up logging level");
                SignalAction::LogLevel(level)
            }
            _ = self.quieter.recv() => {
                let level = log::lower();
                tracing::info!(level, "signal 22 (SIGTTOU) received, down logging level");
                SignalAction::LogLevel(level)
            }
            _ = self.user1.recv() => {
                tracing::info!("signal 10 (SIGUSR1) received, reopening log file");
                reopen_log();
                SignalAction::Handled
            }
            _ = self.user2.recv() => {
                tracing::info!("signal 12 (SIGUSR2) received");
                SignalAction::Handled
            }
        }
    }

    /// Waits for a signal that ends a drain before its time.
    pub(crate) async fn exit_now(&mut self) {
        loop {
            if matches!(self.next().await, SignalAction::Exit | SignalAction::Drain) {
                return;
            }
        }
    }
}

fn reopen_log() {
    if let Err(error) = log::reopen() {
        tracing::error!(%error, "log file not reopened; the old one stays in use");
    }
}

/// Catches SIGINT and SIGTERM, for the rest of the process, and counts them: for tools that finish their work at the first
/// one. They have no runtime, so a thread waits.
pub fn count_stops() -> io::Result<Arc<AtomicU32>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let stops = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&stops);
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    Ok(stops)
}
