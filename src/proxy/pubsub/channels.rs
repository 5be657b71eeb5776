//! Who hears what.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::rc::Rc;

use crate::protocol::Topic;
use crate::proxy::pubsub::subscriber::{Subject, Subscriber};
use crate::topology::ServerId;

/// By topic, in the order of [`Topic::ALL`].
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    topics: [RefCell<Known>; 3],
}

type Known = HashMap<Rc<[u8]>, Audience>;

/// The clients of one name.
#[derive(Debug, Default)]
struct Audience {
    /// Clients that want the servers to be subscribed to: the members, less those who are about to leave, and those who
    /// are about to come.
    holders: usize,
    homes: Vec<ServerId>,
    /// Those who get the messages, by their numbers.
    members: BTreeMap<usize, Rc<Subscriber>>,
}

impl Audiences {
    /// One name for all who use it.
    pub(crate) fn subject(&self, topic: Topic, name: &[u8]) -> Subject {
        let known = self.of(topic).borrow();
        let name = match known.get_key_value(name) {
            Some((name, _)) => Rc::clone(name),
            None => name.into(),
        };
        Subject { topic, name }
    }

    /// One client more wants `subject`, which is to be heard at `homes`.
    pub(crate) fn hold(&self, subject: &Subject, homes: &[ServerId]) {
        let mut known = self.of(subject.topic).borrow_mut();
        let audience = known.entry(Rc::clone(&subject.name)).or_default();
        audience.holders += 1;
        audience.homes = homes.to_vec();
    }

    /// One client fewer wants `subject`. Returns where it is subscribed to, and whether nobody wants it now.
    pub(crate) fn release(&self, subject: &Subject) -> (Vec<ServerId>, bool) {
        let mut known = self.of(subject.topic).borrow_mut();
        let Some(audience) = known.get_mut(&subject.name) else {
            return (Vec::new(), false);
        };
        audience.holders = audience.holders.saturating_sub(1);
        let (homes, last) = (audience.homes.clone(), audience.holders == 0);
        if audience.is_over() {
            forget(&mut known, &subject.name);
        }
        (homes, last)
    }

    /// A client hears `subject` from now on. Returns how many do.
    pub(crate) fn add(&self, subject: &Subject, subscriber: &Rc<Subscriber>) -> usize {
        let mut known = self.of(subject.topic).borrow_mut();
        let audience = known.entry(Rc::clone(&subject.name)).or_default();
        let member = Rc::clone(subscriber);
        audience.members.insert(subscriber.number, member);
        audience.members.len()
    }

    /// A client hears `subject` no more. Returns how many still do; `None` where it was none of them.
    pub(crate) fn remove(&self, subject: &Subject, subscriber: &Subscriber) -> Option<usize> {
        let mut known = self.of(subject.topic).borrow_mut();
        let audience = known.get_mut(&subject.name)?;
        audience.members.remove(&subscriber.number)?;
        let left = audience.members.len();
        if audience.is_over() {
            forget(&mut known, &subject.name);
        }
        Some(left)
    }

    /// Puts the next members behind `after` into `some`, `most` of them at the most.
    pub(crate) fn next_members(
        &self,
        (topic, name): (Topic, &[u8]),
        after: Option<usize>,
        most: usize,
        some: &mut Vec<Rc<Subscriber>>,
    ) {
        let known = self.of(topic).borrow();
        let Some(audience) = known.get(name) else {
            return;
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = audience.members.range((from, Bound::Unbounded));
        some.extend(rest.take(most).map(|(_, member)| Rc::clone(member)));
    }

    /// All members.
    pub(crate) fn members(&self, subject: &Subject) -> Vec<Rc<Subscriber>> {
        let mut all = Vec::new();
        let name = (subject.topic, &*subject.name);
        self.next_members(name, None, usize::MAX, &mut all);
        all
    }

    /// Everything that somebody wants.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let mut all = Vec::new();
        for topic in Topic::ALL {
            let known = self.of(topic).borrow();
            let wanted = known.iter().filter(|(_, audience)| audience.holders > 0);
            all.extend(wanted.map(|(name, _)| Subject {
                topic,
                name: Rc::clone(name),
            }));
        }
        all
    }

    /// Says where `subject` is to be heard from now on. Returns where it was, if it is known.
    pub(crate) fn rehome(&self, subject: &Subject, homes: &[ServerId]) -> Option<Vec<ServerId>> {
        let mut known = self.of(subject.topic).borrow_mut();
        let audience = known.get_mut(&subject.name)?;
        Some(std::mem::replace(&mut audience.homes, homes.to_vec()))
    }

    fn of(&self, topic: Topic) -> &RefCell<Known> {
        let [channels, patterns, shards] = &self.topics;
        match topic {
            Topic::Channel => channels,
            Topic::Pattern => patterns,
            Topic::Shard => shards,
        }
    }
}

/// Removes a name; behind the last one, the room that many took is given back.
fn forget(known: &mut Known, name: &[u8]) {
    known.remove(name);
    if known.is_empty() {
        *known = Known::new();
    }
}

impl Audience {
    fn is_over(&self) -> bool {
        self.holders == 0 && self.members.is_empty()
    }
}
