//! Who hears what.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::rc::Rc;

use crate::protocol::ChannelKind;
use crate::proxy::pubsub::subscriber::{Channel, Subscriber};
use crate::topology::ServerId;

/// By topic, in the order of [`Topic::ALL`].
#[derive(Debug, Default)]
pub(crate) struct ChannelMap {
    topics: [RefCell<Known>; 3],
}

type Known = HashMap<Rc<[u8]>, ChannelEntry>;

/// The clients of one name.
#[derive(Debug, Default)]
struct ChannelEntry {
    /// Clients that want the servers to be subscribed to: the members, less those who are about to leave, and those who
    /// are about to come.
    interest: usize,
    servers: Vec<ServerId>,
    /// Those who get the messages, by their numbers.
    members: BTreeMap<usize, Rc<Subscriber>>,
}

impl ChannelMap {
    /// One name for all who use it.
    pub(crate) fn channel(&self, kind: ChannelKind, name: &[u8]) -> Channel {
        let known = self.of(kind).borrow();
        let name = match known.get_key_value(name) {
            Some((name, _)) => Rc::clone(name),
            None => name.into(),
        };
        Channel { kind, name }
    }

    /// One client more wants `subject`, which is to be heard at `homes`.
    pub(crate) fn hold(&self, channel: &Channel, homes: &[ServerId]) {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.entry(Rc::clone(&channel.name)).or_default();
        entry.interest += 1;
        entry.servers = homes.to_vec();
    }

    /// One client fewer wants `subject`. Returns where it is subscribed to, and whether nobody wants it now.
    pub(crate) fn release(&self, channel: &Channel) -> (Vec<ServerId>, bool) {
        let mut known = self.of(channel.kind).borrow_mut();
        let Some(entry) = known.get_mut(&channel.name) else {
            return (Vec::new(), false);
        };
        entry.interest = entry.interest.saturating_sub(1);
        let (homes, last) = (entry.servers.clone(), entry.interest == 0);
        if entry.is_over() {
            forget(&mut known, &channel.name);
        }
        (homes, last)
    }

    /// A client hears `subject` from now on. Returns how many do.
    pub(crate) fn add(&self, channel: &Channel, subscriber: &Rc<Subscriber>) -> usize {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.entry(Rc::clone(&channel.name)).or_default();
        let member = Rc::clone(subscriber);
        entry.members.insert(subscriber.number, member);
        entry.members.len()
    }

    /// A client hears `subject` no more. Returns how many still do; `None` where it was none of them.
    pub(crate) fn remove(&self, channel: &Channel, subscriber: &Subscriber) -> Option<usize> {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.get_mut(&channel.name)?;
        entry.members.remove(&subscriber.number)?;
        let left = entry.members.len();
        if entry.is_over() {
            forget(&mut known, &channel.name);
        }
        Some(left)
    }

    /// Puts the next members behind `after` into `some`, `most` of them at the most.
    pub(crate) fn next_members(
        &self,
        (kind, name): (ChannelKind, &[u8]),
        after: Option<usize>,
        most: usize,
        some: &mut Vec<Rc<Subscriber>>,
    ) {
        let known = self.of(kind).borrow();
        let Some(entry) = known.get(name) else {
            return;
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = entry.members.range((from, Bound::Unbounded));
        some.extend(rest.take(most).map(|(_, member)| Rc::clone(member)));
    }

    /// All members.
    pub(crate) fn members(&self, channel: &Channel) -> Vec<Rc<Subscriber>> {
        let mut all = Vec::new();
        let name = (channel.kind, &*channel.name);
        self.next_members(name, None, usize::MAX, &mut all);
        all
    }

    /// Everything that somebody wants.
    pub(crate) fn channels(&self) -> Vec<Channel> {
        let mut all = Vec::new();
        for kind in ChannelKind::ALL {
            let known = self.of(kind).borrow();
            let wanted = known.iter().filter(|(_, entry)| entry.interest > 0);
            all.extend(wanted.map(|(name, _)| Channel {
                kind,
                name: Rc::clone(name),
            }));
        }
        all
    }

    /// Says where `subject` is to be heard from now on. Returns where it was, if it is known.
    pub(crate) fn relocate(&self, channel: &Channel, homes: &[ServerId]) -> Option<Vec<ServerId>> {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.get_mut(&channel.name)?;
        Some(std::mem::replace(&mut entry.servers, homes.to_vec()))
    }

    fn of(&self, kind: ChannelKind) -> &RefCell<Known> {
        let [channels, patterns, shards] = &self.topics;
        match kind {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
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

impl ChannelEntry {
    fn is_over(&self) -> bool {
        self.interest == 0 && self.members.is_empty()
    }
}
