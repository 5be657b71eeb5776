//! The thread of one worker, whose start is confirmed and whose end is reported.

use std::any::Any;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::UnboundedSender;

/// The error of a worker that cannot serve, or no longer serves.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its thread or its runtime could not be created.
    #[error(
        "failed to start worker {number}: {error}; lower --workers or raise the limits of the process"
    )]
    Start {
        /// The number of the worker, from 0.
        number: usize,
        /// The error of the system.
        error: io::Error,
    },
    /// A bug of the proxy.
    #[error("worker {number} panicked: {message}")]
    Panicked {
        /// The number of the worker, from 0.
        number: usize,
        /// The message of the panic.
        message: String,
    },
    /// Its thread returned without a drain.
    #[error("worker {number} ended unexpectedly")]
    Ended {
        /// The number of the worker, from 0.
        number: usize,
    },
}

/// A running thread.
#[derive(Debug)]
pub(crate) struct WorkerThread {
    number: usize,
    started: mpsc::Receiver<io::Result<()>>,
    thread: JoinHandle<()>,
}

/// Reports the result of a worker's start to the control thread, once.
#[derive(Debug)]
pub(crate) struct StartReport(mpsc::Sender<io::Result<()>>);

/// Reports the end of a thread, by return or by panic.
struct ExitNotice {
    number: usize,
    exits: UnboundedSender<usize>,
}

impl WorkerThread {
    /// Starts a thread that executes `run`. Its number is sent to `exits` when it ends.
    pub(crate) fn spawn(
        number: usize,
        exits: UnboundedSender<usize>,
        run: impl FnOnce(StartReport) + Send + 'static,
    ) -> Result<Self, WorkerError> {
        let (report, started) = mpsc::channel();
        let notice = ExitNotice { number, exits };
        let thread = thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                let _notice = notice;
                run(StartReport(report));
            })
            .map_err(|error| WorkerError::Start { number, error })?;
        Ok(Self {
            number,
            started,
            thread,
        })
    }

    /// Its number, from 0.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Blocks until the worker has reported its start.
    pub(crate) fn confirm_start(self) -> Result<Self, WorkerError> {
        let number = self.number;
        match self.started.recv() {
            Ok(Ok(())) => Ok(self),
            Ok(Err(error)) => Err(WorkerError::Start { number, error }),
            Err(mpsc::RecvError) => Err(self.into_error()),
        }
    }

    /// Blocks until the thread has ended. The error is the message of its panic.
    pub(crate) fn join(self) -> Result<(), String> {
        self.thread
            .join()
            .map_err(|payload| panic_message(&*payload))
    }

    /// The cause of an unexpected end. Blocks until the thread has ended.
    pub(crate) fn into_error(self) -> WorkerError {
        let number = self.number;
        match self.join() {
            Ok(()) => WorkerError::Ended { number },
            Err(message) => WorkerError::Panicked { number, message },
        }
    }
}

impl StartReport {
    /// Reports that the worker serves, or why it cannot.
    pub(crate) fn send(self, started: io::Result<()>) {
        if self.0.send(started).is_err() {
            tracing::debug!("worker started after the start of the proxy failed");
        }
    }
}

impl Drop for ExitNotice {
    fn drop(&mut self) {
        // The receiver is gone once the whole process exits.
        let _ = self.exits.send(self.number);
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    type Run = fn(StartReport);

    #[test]
    fn a_failed_start_is_reported_with_its_cause() {
        let cases: [(Run, &str); 3] = [
            (
                |started| started.send(Err(io::ErrorKind::OutOfMemory.into())),
                "failed to start worker 7: out of memory; lower --workers or raise the limits of the process",
            ),
            (drop, "worker 7 ended unexpectedly"),
            (
                |_| panic!("on {}", "purpose"),
                "worker 7 panicked: on purpose",
            ),
        ];
        for (run, expected) in cases {
            let thread = WorkerThread::spawn(7, unbounded_channel().0, run).unwrap();
            let error = thread.confirm_start().unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_end_of_a_thread_is_noticed_however_it_ends() {
        let cases: [(Run, &str); 2] = [
            (
                |started| started.send(Ok(())),
                "worker 7 ended unexpectedly",
            ),
            (
                |started| {
                    started.send(Ok(()));
                    panic!("broken");
                },
                "worker 7 panicked: broken",
            ),
        ];
        for (run, expected) in cases {
            let (exits, mut exited) = unbounded_channel();
            let thread = WorkerThread::spawn(7, exits, run).unwrap();
            let thread = thread.confirm_start().unwrap();
            assert_eq!(exited.blocking_recv(), Some(7));
            assert_eq!(thread.into_error().to_string(), expected);
        }
    }
}
