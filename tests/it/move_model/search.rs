//! The search through all states that can be reached, breadth first, so that a counter-example is a shortest one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::shape::Model;
use super::state::State;
use super::{coordinator, faults, invariants, proxy, server};

/// An action in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Action {
    who: &'static str,
    index: usize,
    what: &'static str,
    number: Option<u8>,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            who, index, what, ..
        } = self;
        write!(f, "{who} {index} {what}")?;
        self.number.map_or(Ok(()), |number| write!(f, " {number}"))
    }
}

/// The actions that are possible in a state.
#[derive(Debug, Default)]
pub(super) struct Actions {
    who: &'static str,
    index: usize,
    list: Vec<(Action, State)>,
    /// The first action that violates an invariant by itself.
    wrong: Option<(Action, &'static str)>,
}

impl Actions {
    /// The one whose actions follow.
    pub(super) fn of(&mut self, who: &'static str, index: usize) -> &mut Self {
        self.who = who;
        self.index = index;
        self
    }

    pub(super) fn push(&mut self, what: &'static str, state: State) {
        let action = self.action(what, None);
        self.list.push((action, state));
    }

    pub(super) fn push_with(&mut self, what: &'static str, number: u8, state: State) {
        let action = self.action(what, Some(number));
        self.list.push((action, state));
    }

    pub(super) fn violate(&mut self, what: &'static str, why: &'static str) {
        let action = self.action(what, None);
        self.wrong.get_or_insert((action, why));
    }

    fn action(&self, what: &'static str, number: Option<u8>) -> Action {
        Action {
            who: self.who,
            index: self.index,
            what,
            number,
        }
    }

    fn collect(&mut self, model: &Model, state: &State) {
        self.list.clear();
        proxy::actions(model, state, self);
        server::actions(state, self);
        coordinator::actions(model, state, self);
        faults::actions(state, self);
    }
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// States in which all is committed and each worker serves it at its new place.
    pub(super) arrived: usize,
    pub(super) counter_example: Option<CounterExample>,
}

/// A shortest sequence of actions to a violation.
#[derive(Debug)]
pub(super) struct CounterExample {
    pub(super) why: &'static str,
    pub(super) actions: Vec<String>,
}

impl fmt::Display for CounterExample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = String::new();
        for (index, action) in self.actions.iter().enumerate() {
            writeln!(list, "{:>4}. {action}", index + 1)?;
        }
        write!(f, "{}\n{list}", self.why)
    }
}

/// Searches all states, up to the first violation.
pub(super) fn search(model: &Model) -> Found {
    let first = State::first(model);
    let mut found = Found::default();
    let mut seen: HashSet<u128, Identity> = HashSet::default();
    seen.insert(fingerprint(&first));
    let mut level = vec![first];
    let mut actions = Actions::default();
    while !level.is_empty() {
        let mut next = Vec::new();
        for state in &level {
            found.arrived += usize::from(invariants::has_arrived(model, state));
            if violation(model, state, &mut actions).is_some() {
                found.states = seen.len();
                found.counter_example = Some(retrace(model, first));
                return found;
            }
            for (_, reached) in actions.list.drain(..) {
                if seen.insert(fingerprint(&reached)) {
                    next.push(reached);
                }
            }
        }
        level = next;
        found.steps += 1;
        found.states = seen.len();
    }
    found
}

/// Lists what is possible in a state, and says what is wrong with it.
fn violation(
    model: &Model,
    state: &State,
    actions: &mut Actions,
) -> Option<(Option<Action>, &'static str)> {
    actions.collect(model, state);
    if let Some((action, why)) = actions.wrong.take() {
        return Some((Some(action), why));
    }
    let is_end = actions.list.is_empty() && model.judges_ends;
    invariants::violation(model, state, is_end).map(|why| (None, why))
}

/// Searches once more, with the actions: most searches find nothing, and need no memory for them.
fn retrace(model: &Model, first: State) -> CounterExample {
    let start = fingerprint(&first);
    let mut parents: HashMap<u128, (u128, Option<Action>), Identity> = HashMap::default();
    parents.insert(start, (start, None));
    let mut level = vec![first];
    let mut actions = Actions::default();
    while !level.is_empty() {
        let mut next = Vec::new();
        for state in &level {
            let here = fingerprint(state);
            if let Some((last, why)) = violation(model, state, &mut actions) {
                let mut path: Vec<_> = last.iter().map(Action::to_string).collect();
                let mut at = here;
                while let Some((parent, Some(action))) = parents.get(&at) {
                    path.push(action.to_string());
                    at = *parent;
                }
                path.reverse();
                return CounterExample { why, actions: path };
            }
            for (action, reached) in actions.list.drain(..) {
                if let Entry::Vacant(entry) = parents.entry(fingerprint(&reached)) {
                    entry.insert((here, Some(action)));
                    next.push(reached);
                }
            }
        }
        level = next;
    }
    unreachable!("the first search found a violation")
}

fn fingerprint(state: &State) -> u128 {
    let mut mixer = Mixer::default();
    state.hash(&mut mixer);
    (u128::from(mixer.0) << 64) | u128::from(mixer.1)
}

/// Two independent hashes of 64 bits: the states are not kept, so no two of them may have the same fingerprint.
#[derive(Default)]
struct Mixer(u64, u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 29;
        self.1 = (self.1.rotate_left(23) ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.1 ^= self.1 >> 32;
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_usize(&mut self, _length: usize) {
        // The lengths of arrays are always the same.
    }

    fn write_isize(&mut self, variant: isize) {
        self.mix(variant.cast_unsigned() as u64);
    }
}

/// The hash of a fingerprint: half of it.
#[derive(Default)]
struct Half(u64);

type Identity = BuildHasherDefault<Half>;

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a fingerprint is one u128")
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = u64::try_from(fingerprint & u128::from(u64::MAX)).unwrap_or_default();
    }
}
