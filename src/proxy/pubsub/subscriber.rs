//! One client, as the hub knows it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use crate::protocol::{Lane, Tally, Topic};
use crate::proxy::replies::queue::Pipeline;

/// What may be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) topic: Topic,
    pub(crate) name: Rc<[u8]>,
}

/// A client that is subscribed to something, or was.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// Unique among the clients of the worker.
    pub(crate) number: usize,
    pub(crate) pipeline: Rc<Pipeline>,
    /// The number by which other clients know it.
    pub(crate) client: u64,
    lane: Cell<Lane>,
    tally: Cell<Tally>,
    /// A change of its subscriptions is under way.
    busy: Cell<bool>,
    gone: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By topic, in the order of [`Topic::ALL`]: each name, and how many came before it.
    names: [HashMap<Rc<[u8]>, u64>; 3],
    next: u64,
}

impl Subscriber {
    pub(crate) fn new(number: usize, client: u64, pipeline: Rc<Pipeline>, lane: Lane) -> Rc<Self> {
        Rc::new(Self {
            number,
            pipeline,
            client,
            lane: Cell::new(lane),
            tally: Cell::default(),
            busy: Cell::new(false),
            gone: Cell::new(false),
            state: RefCell::default(),
        })
    }

    /// The lane whose form its messages have.
    pub(crate) fn lane(&self) -> Lane {
        self.lane.get()
    }

    pub(crate) fn set_lane(&self, lane: Lane) {
        self.lane.set(lane);
    }

    /// How much it is subscribed to.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.get()
    }

    /// Whether its next request must wait for a change of its subscriptions.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    pub(crate) fn has(&self, topic: Topic, name: &[u8]) -> bool {
        let state = self.state.borrow();
        state.of(topic).contains_key(name)
    }

    /// The names of one topic, in the order in which they came.
    pub(crate) fn names(&self, topic: Topic) -> Vec<Rc<[u8]>> {
        let state = self.state.borrow();
        let mut names: Vec<_> = state.of(topic).iter().collect();
        names.sort_unstable_by_key(|&(_, order)| order);
        names.into_iter().map(|(name, _)| Rc::clone(name)).collect()
    }

    pub(crate) fn add(&self, subject: &Subject) {
        let mut state = self.state.borrow_mut();
        let order = state.next;
        state.next += 1;
        let names = state.of_mut(subject.topic);
        if names.insert(Rc::clone(&subject.name), order).is_none() {
            let mut tally = self.tally.get();
            tally.add(subject.topic);
            self.tally.set(tally);
        }
    }

    /// `None` where it was not subscribed to that.
    pub(crate) fn remove(&self, topic: Topic, name: &[u8]) -> Option<Subject> {
        let mut state = self.state.borrow_mut();
        let (name, _) = state.of_mut(topic).remove_entry(name)?;
        let mut tally = self.tally.get();
        tally.subtract(topic);
        self.tally.set(tally);
        Some(Subject { topic, name })
    }

    pub(crate) fn remove_all(&self) -> Vec<Subject> {
        let names = mem::take(&mut self.state.borrow_mut().names);
        self.tally.set(Tally::default());
        Topic::ALL
            .into_iter()
            .zip(names)
            .flat_map(|(topic, names)| names.into_keys().map(move |name| Subject { topic, name }))
            .collect()
    }

    /// It is gone. Returns what it was subscribed to.
    pub(crate) fn leave(&self) -> Vec<Subject> {
        self.gone.set(true);
        self.remove_all()
    }
}

impl State {
    fn of(&self, topic: Topic) -> &HashMap<Rc<[u8]>, u64> {
        let [channels, patterns, shards] = &self.names;
        match topic {
            Topic::Channel => channels,
            Topic::Pattern => patterns,
            Topic::Shard => shards,
        }
    }

    fn of_mut(&mut self, topic: Topic) -> &mut HashMap<Rc<[u8]>, u64> {
        let [channels, patterns, shards] = &mut self.names;
        match topic {
            Topic::Channel => channels,
            Topic::Pattern => patterns,
            Topic::Shard => shards,
        }
    }
}
