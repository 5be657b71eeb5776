//! Signs of life of a new process, while the old one hands over its clients.
//!
//! A process that hangs would keep the clients that are on their way to it, and connections that wait to be accepted: it is told
//! from one that waits for a server, as for the subscriptions of a client, by its answers to pings.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::app::upgrade::give::Successor;
use crate::handover::{HandoverError, SIGNS_SINCE};

/// The interval of pings.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);
/// The time limit for the answer to a ping, in pings. It is counted in them: while this process does not run, none is missed.
const SILENT_MAX: u32 = 5;
/// The time limit for the next answer about a client on its way, in pings: longer than a worker waits for subscriptions.
const STUCK_MAX: u32 = 10;
/// The pings after which success is not reported.
const DOUBTFUL_FROM: u32 = 2;

/// What is heard of a new process.
#[derive(Debug)]
pub(super) struct Signs {
    /// It knows pings.
    answers: bool,
    /// Pings since its last message.
    silent: u32,
    /// Pings since its last answer about a client, while one is on its way.
    stuck: u32,
    process: Option<Pid>,
}

/// The end of a new process that gives no sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Killed {
    /// It does nothing more.
    Yes,
    /// It is not known, or may not be killed.
    No,
}

impl Signs {
    pub(super) fn of(successor: &Successor) -> Self {
        Self {
            answers: successor.protocol >= SIGNS_SINCE,
            silent: 0,
            stuck: 0,
            process: successor.process,
        }
    }

    /// Notes a message.
    pub(super) fn heard(&mut self) {
        self.silent = 0;
    }

    /// Notes an answer about a client.
    pub(super) fn settled(&mut self) {
        self.stuck = 0;
    }

    /// Counts a ping, which is due now. Returns the time since the last sign of life if that is too long.
    pub(super) fn count(&mut self, is_awaited: bool) -> Option<Duration> {
        self.silent += u32::from(self.answers);
        self.stuck = if is_awaited { self.stuck + 1 } else { 0 };
        let late = |count: u32, max: u32| (count > max).then(|| PING_EVERY * max);
        late(self.silent, SILENT_MAX).or_else(|| late(self.stuck, STUCK_MAX))
    }

    /// Returns true if the process is to be pinged.
    pub(super) fn wants_pings(&self) -> bool {
        self.answers
    }

    /// Returns true if the process may hang.
    pub(super) fn is_doubtful(&self) -> bool {
        self.silent.max(self.stuck) >= DOUBTFUL_FROM
    }

    /// Kills the process, which is not to be trusted with clients.
    pub(super) fn kill(&self, reason: &HandoverError) -> Killed {
        let Some(process) = self.process else {
            return Killed::No;
        };
        let pid = process.as_raw_nonzero().get();
        match kill_process(process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {
                tracing::error!(
                    new = pid,
                    %reason,
                    "upgrade: the new process was killed"
                );
                Killed::Yes
            }
            Err(error) => {
                tracing::error!(new = pid, %error, "upgrade: the new process was not killed");
                Killed::No
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(protocol: u32) -> Signs {
        Signs::of(&Successor {
            pid: 1,
            version: String::new(),
            protocol,
            process: None,
            pools: Vec::new(),
            record: None,
        })
    }

    /// The number of pings after which a silent process is given up.
    fn patience(signs: &mut Signs, is_awaited: bool) -> Option<u32> {
        (1..100).find(|_| signs.count(is_awaited).is_some())
    }

    #[test]
    fn silence_is_told_from_a_wait() {
        assert_eq!(patience(&mut signs(2), false), Some(SILENT_MAX + 1));
        assert_eq!(patience(&mut signs(1), false), None, "it knows no pings");
        assert_eq!(patience(&mut signs(1), true), Some(STUCK_MAX + 1));
        let mut waiting = signs(2);
        let given_up = (1..100).find(|_| {
            waiting.heard();
            waiting.count(true).is_some()
        });
        assert_eq!(given_up, Some(STUCK_MAX + 1));
        let mut busy = signs(2);
        for _ in 0..100 {
            assert_eq!(busy.count(true), None);
            busy.heard();
            busy.settled();
        }
    }
}
