//! What may not happen at once: an upgrade, a failover, a reload, and a change of a server by an operator.
//!
//! While two processes serve, in an old one whose clients leave and in a new one in which they arrive, both must send a key to the
//! same server: neither changes where keys are.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admin::api::ControlError;
use crate::app::times::{DRAIN_WITHIN, LEAVE_WITHIN};

/// Keeps these apart. Nobody waits: who is too late is refused.
#[derive(Debug, Clone, Default)]
pub(super) struct Exclusion(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    fails_over: bool,
    /// The changes of servers that are under way.
    changes: usize,
    frozen: Option<Cause>,
}

/// The reason why nothing may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Another process is to take the place of this one.
    Upgrade,
    /// This process is in the place of that one, which still has clients.
    Arrival { old: u32 },
}

/// Keeps others away until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    state: Exclusion,
    release: fn(&mut State),
}

impl Exclusion {
    /// For the time of a failover.
    pub(super) fn fail_over(&self) -> Result<Hold, ControlError> {
        let mut state = self.thawed("fail over")?;
        if state.fails_over {
            return Err(refused("another failover is under way".to_owned()));
        }
        state.fails_over = true;
        Ok(self.hold(|state| state.fails_over = false))
    }

    /// For the time of a change of a server.
    pub(super) fn change_server(&self) -> Result<Hold, ControlError> {
        self.thawed("change servers")?.changes += 1;
        Ok(self.hold(|state| state.changes = state.changes.saturating_sub(1)))
    }

    /// For the time of an upgrade: no failover and no reload begins, and no operator changes a server.
    pub(super) fn freeze(&self, cause: Cause) -> Result<Hold, ControlError> {
        let mut state = self.thawed("upgrade")?;
        let under_way = match *state {
            State {
                fails_over: true, ..
            } => "a failover is under way; upgrade when it has ended",
            State { changes: 1.., .. } => "a server is being changed; upgrade when that is done",
            State { .. } => {
                state.frozen = Some(cause);
                return Ok(self.hold(|state| state.frozen = None));
            }
        };
        Err(refused(under_way.to_owned()))
    }

    /// Returns an error if nothing may change; `wanted` says what was to be done.
    pub(super) fn check(&self, wanted: &str) -> Result<(), ControlError> {
        self.thawed(wanted).map(drop)
    }

    fn thawed(&self, wanted: &str) -> Result<MutexGuard<'_, State>, ControlError> {
        let state = self.state();
        match state.frozen {
            None => Ok(state),
            Some(cause) => Err(refused(cause.refusal(wanted))),
        }
    }

    fn hold(&self, release: fn(&mut State)) -> Hold {
        Hold {
            state: self.clone(),
            release,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cause {
    fn refusal(self, wanted: &str) -> String {
        match self {
            Self::Upgrade => format!("{self}; {wanted} when it has ended"),
            Self::Arrival { old } => {
                format!(
                    "{self}; {wanted} when it has ended ('kill {old}' ends it, and closes them)"
                )
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade => f.write_str("an upgrade is under way"),
            Self::Arrival { old } => {
                let seconds = (LEAVE_WITHIN + DRAIN_WITHIN).as_secs();
                write!(
                    f,
                    "process {old}, which was here before this one, is still handing over its clients, within {seconds} s"
                )
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        (self.release)(&mut self.state.state());
    }
}

fn refused(reason: String) -> ControlError {
    ControlError::Refused {
        reason,
        details: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_state_refuses_every_change() {
        let exclusion = Exclusion::default();
        let freeze = exclusion.freeze(Cause::Arrival { old: 7 }).unwrap();
        let refusals = [
            exclusion.fail_over().unwrap_err(),
            exclusion.change_server().unwrap_err(),
            exclusion.check("reload").unwrap_err(),
            exclusion.freeze(Cause::Upgrade).unwrap_err(),
        ];
        for refusal in refusals {
            assert!(refusal.to_string().contains("process 7"), "{refusal}");
        }
        drop(freeze);
        exclusion.check("reload").unwrap();
        let failover = exclusion.fail_over().unwrap();
        exclusion.fail_over().unwrap_err();
        exclusion.freeze(Cause::Upgrade).unwrap_err();
        drop(failover);
        let changes = [(); 2].map(|()| exclusion.change_server().unwrap());
        exclusion.freeze(Cause::Upgrade).unwrap_err();
        drop(changes);
        exclusion.freeze(Cause::Upgrade).unwrap();
    }
}
