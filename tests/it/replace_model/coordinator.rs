//! The steps of a coordinator.

use super::Omission;
use super::state::{Coordinator, Decision, HOLDS, State, Step};

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// It ends.
    Refused,
    Waits,
}

/// The next step of a coordinator; none if it has none, or waits. One that is refused, or has lost a connection, ends.
pub(super) fn coordinate(
    state: &mut State,
    index: usize,
    omission: Option<Omission>,
) -> Option<Result<(), &'static str>> {
    let mut me = state.coordinators[index];
    let needs = match me.step {
        Step::Over => return None,
        Step::Connect => [false, false],
        Step::Raise | Step::Hold | Step::Commit => [true, false],
        Step::Replicate
        | Step::Promote
        | Step::Renew
        | Step::Intend
        | Step::Forget
        | Step::Copy => [false, true],
        _ => [true, true],
    };
    if needs
        .iter()
        .zip(me.open)
        .any(|(needs, open)| *needs && !open)
    {
        state.coordinators[index].step = Step::Over;
        state.coordinators[index].open = [false; 2];
        return Some(Ok(()));
    }
    let outcome = lead(state, (index, &mut me), omission);
    match outcome {
        Ok(Outcome::Waits) => return None,
        Ok(Outcome::Refused) => {
            me.step = Step::Over;
            me.open = [false; 2];
        }
        Ok(Outcome::Done) | Err(_) => {}
    }
    state.coordinators[index] = me;
    Some(outcome.map(|_| ()))
}

/// Its steps up to the first `REPLICAOF`.
fn lead(
    state: &mut State,
    (index, me): (usize, &mut Coordinator),
    omission: Option<Omission>,
) -> Result<Outcome, &'static str> {
    let omits = |what| omission == Some(what);
    match me.step {
        Step::Connect => {
            // A term that the source has lost is in the names of connections, if any that it matters for is open.
            let others = state.coordinators.iter();
            let others = others.filter(|other| other.open != [false; 2]);
            let named = others.map(|other| other.term).max().unwrap_or_default();
            let known = if omits(Omission::ReadNoNames) {
                0
            } else {
                named
            };
            me.open = [true; 2];
            me.term = state.source.term.max(known) + 1;
            me.step = Step::Raise;
        }
        Step::Raise => {
            if state.source.term >= me.term {
                return Ok(Outcome::Refused);
            }
            state.source.term = me.term;
            if !state.taker.is_replica && state.taker.has_mark {
                state.taker.term = state.taker.term.max(me.term);
            }
            me.step = Step::End;
        }
        Step::End => {
            for (other, coordinator) in state.coordinators.iter_mut().enumerate() {
                if other != index && coordinator.step != Step::Connect && coordinator.term < me.term
                {
                    coordinator.open[0] = false;
                    coordinator.open[1] &= omits(Omission::EndNone);
                }
            }
            me.step = Step::Look;
        }
        Step::Look => {
            me.saw_replica = state.taker.is_replica;
            me.saw_committed = state.knows_commit();
            me.step = Step::Settle;
        }
        Step::Settle => {
            settle(state, *me, omission)?;
            me.saw_committed |= state.knows_commit();
            me.step = match (me.saw_committed, me.saw_replica) {
                (true, _) => Step::Copy,
                (false, true) => Step::AwaitSync,
                (false, false) => Step::Arm,
            };
        }
        Step::Arm => {
            if !state.taker.has_mark {
                if state.had_keys && !omits(Omission::WipeAnything) {
                    return Ok(Outcome::Refused);
                }
                state.taker.has_mark = true;
            }
            state.taker.is_own = true;
            state.taker.term = me.term;
            state.source.labels |= state.source.term == me.term;
            me.step = Step::Replicate;
        }
        _ => return copy(state, me, omission),
    }
    Ok(Outcome::Done)
}

/// Its steps from there to the promotion.
fn copy(
    state: &mut State,
    me: &mut Coordinator,
    omission: Option<Omission>,
) -> Result<Outcome, &'static str> {
    let omits = |what| omission == Some(what);
    match me.step {
        Step::Replicate => {
            // Its last look at the source was in the settling; nobody but a leader changes what it has seen.
            if state.is_committed {
                return Err("REPLICAOF after a commit");
            } else if state.had_keys && !state.taker.is_labelled {
                return Err("REPLICAOF wipes keys that are no copies");
            }
            state.taker.is_replica = true;
            state.taker.is_synced = false;
            me.step = Step::AwaitSync;
        }
        Step::AwaitSync => {
            if !state.taker.is_replica {
                return Ok(Outcome::Refused);
            } else if state.taker.is_synced {
                me.step = Step::Hold;
            } else {
                return Ok(Outcome::Waits);
            }
        }
        Step::Hold => {
            let source = &mut state.source;
            if source.term != me.term
                || source.mark_run != source.run
                || source.decision != Decision::Abort
            {
                return Ok(Outcome::Refused);
            } else if source.hold == HOLDS {
                return Ok(Outcome::Waits);
            }
            source.hold += 1;
            source.decision = Decision::Open;
            me.hold = source.hold;
            me.step = Step::Offset;
        }
        Step::Offset => {
            me.wanted = state.source.data;
            me.step = Step::Promote;
        }
        Step::Promote => {
            let taker = &mut state.taker;
            if !taker.is_replica {
                return Ok(Outcome::Refused);
            } else if !taker.is_synced || taker.data < me.wanted && !omits(Omission::PromoteAtOnce)
            {
                return Ok(Outcome::Waits);
            }
            taker.is_replica = false;
            taker.is_own = false;
            me.step = Step::Renew;
        }
        _ => return give(state, me),
    }
    Ok(Outcome::Done)
}

/// Its steps from there to the end.
fn give(state: &mut State, me: &mut Coordinator) -> Result<Outcome, &'static str> {
    match me.step {
        Step::Renew | Step::Intend | Step::Forget | Step::Copy if state.taker.is_replica => {
            return Ok(Outcome::Refused);
        }
        Step::Renew => {
            if state.taker.term == me.term && state.taker.has_mark {
                state.taker.is_own = true;
                me.step = Step::Intend;
            } else {
                return Ok(Outcome::Refused);
            }
        }
        Step::Intend => {
            if state.taker.term == me.term && state.taker.has_mark {
                state.taker.intent = Some(me.hold);
                me.step = Step::Commit;
            } else {
                return Ok(Outcome::Refused);
            }
        }
        Step::Commit => {
            let source = &mut state.source;
            if source.term != me.term || source.hold != me.hold || source.mark_run != source.run {
                return Ok(Outcome::Refused);
            } else if source.decision == Decision::Abort {
                me.step = Step::Forget;
            } else {
                source.decision = Decision::Commit;
                me.step = Step::Copy;
                state.commit()?;
            }
        }
        Step::Forget => {
            if state.taker.term == me.term && state.taker.has_mark {
                state.taker.intent = None;
                me.step = Step::Arm;
            } else {
                return Ok(Outcome::Refused);
            }
        }
        Step::Copy => {
            if state.taker.term == me.term || !state.taker.has_mark {
                state.taker.has_mark = true;
                state.taker.term = me.term;
                state.taker.is_own = true;
                state.taker.knows_commit = true;
                state.taker.intent = None;
            }
            return Ok(Outcome::Refused);
        }
        _ => {}
    }
    Ok(Outcome::Done)
}

/// What an earlier coordinator left open at the source.
fn settle(
    state: &mut State,
    me: Coordinator,
    omission: Option<Omission>,
) -> Result<(), &'static str> {
    if state.source.term > me.term {
        return Ok(());
    }
    let intent = state.taker.intent.filter(|_| !state.taker.is_replica);
    let source = &mut state.source;
    let is_open =
        |hold| hold > source.hold || hold == source.hold && source.decision == Decision::Open;
    let undecided = intent.filter(|hold| is_open(*hold));
    let mut result = Ok(());
    if source.mark_run != source.run {
        source.mark_run = source.run;
        let commits = undecided.filter(|_| omission != Some(Omission::IgnoreIntent));
        if let Some(hold) = commits {
            source.hold = hold;
            source.decision = Decision::Commit;
            result = state.commit();
        } else if source.decision != Decision::Commit {
            source.decision = Decision::Abort;
        }
    } else if source.decision == Decision::Open {
        source.decision = Decision::Abort;
    }
    if !state.taker.is_replica && state.taker.has_mark {
        state.taker.term = me.term;
        state.taker.is_own = true;
        state.taker.intent = None;
    }
    result
}
