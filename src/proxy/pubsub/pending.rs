//! Clients whose subscription some server has confirmed already, while others have not: those are asked for other names, or
//! for the same pattern.
//!
//! A server that has confirmed counts the client among those who get what is published. So what comes for it is held,
//! within the limit of a slow subscriber, and written right behind the confirmation, in the order in which it came.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use crate::buf::Frame;
use crate::config::BufferLimit;
use crate::protocol::{Protocol, Topic};
use crate::proxy::pubsub::subscribe_op::Errand;
use crate::proxy::pubsub::subscriber::Subject;

/// By topic, in the order of [`Topic::ALL`], and name: whose errands wait.
pub(crate) struct Lobby<P: Protocol> {
    topics: [RefCell<Names<P>>; 3],
}

type Names<P> = HashMap<Rc<[u8]>, VecDeque<Rc<Errand<P>>>>;

impl<P: Protocol> Lobby<P> {
    /// A server has confirmed `subject`, and others are still to confirm something.
    pub(crate) fn enter(&self, subject: &Subject, errand: &Rc<Errand<P>>) {
        let mut known = self.of(subject.topic).borrow_mut();
        let waiting = known.entry(Rc::clone(&subject.name)).or_default();
        if !waiting.iter().rev().any(|other| Rc::ptr_eq(other, errand)) {
            waiting.push_back(Rc::clone(errand));
        }
    }

    /// An errand has ended, well or not.
    pub(crate) fn leave(&self, subject: &Subject, errand: &Errand<P>) {
        let mut known = self.of(subject.topic).borrow_mut();
        let Some(waiting) = known.get_mut(&subject.name) else {
            return;
        };
        let is_it = |other: &Rc<Errand<P>>| std::ptr::eq(Rc::as_ptr(other), errand);
        if let Some(at) = waiting.iter().position(is_it) {
            waiting.remove(at);
        }
        if waiting.is_empty() {
            known.remove(&subject.name);
        }
    }

    /// Holds a message for those who wait. Returns who they are.
    pub(crate) fn hold(
        &self,
        topic: Topic,
        name: &[u8],
        frame: &Frame<'_>,
        limit: &BufferLimit,
    ) -> BTreeSet<usize> {
        let known = self.of(topic).borrow();
        if known.is_empty() {
            return BTreeSet::new();
        }
        let waiting: Vec<Rc<Errand<P>>> = known
            .get(name)
            .into_iter()
            .flatten()
            .map(Rc::clone)
            .collect();
        drop(known);
        waiting
            .iter()
            .map(|errand| {
                errand.hold(frame, limit);
                errand.subscriber.number
            })
            .collect()
    }

    fn of(&self, topic: Topic) -> &RefCell<Names<P>> {
        let [channels, patterns, shards] = &self.topics;
        match topic {
            Topic::Channel => channels,
            Topic::Pattern => patterns,
            Topic::Shard => shards,
        }
    }
}

impl<P: Protocol> Default for Lobby<P> {
    fn default() -> Self {
        Self {
            topics: Default::default(),
        }
    }
}
