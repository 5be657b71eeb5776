//! The channels of a worker and their subscribers.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::rc::Rc;

use crate::protocol::ChannelKind;
use crate::proxy::pubsub::subscriber::{Channel, Subscriber};
use crate::topology::ServerId;

/// Channels by kind, in the order of [`ChannelKind::ALL`], and name.
#[derive(Debug, Default)]
pub(crate) struct ChannelMap {
    kinds: [RefCell<Known>; 3],
}

type Known = HashMap<Rc<[u8]>, ChannelEntry>;

/// The subscribers and servers of one channel.
#[derive(Debug, Default)]
struct ChannelEntry {
    /// Number of clients that need the subscription: the members, less those being removed, and those being added.
    interest: usize,
    servers: Vec<ServerId>,
    /// The subscribers that receive the messages, by number.
    members: BTreeMap<usize, Rc<Subscriber>>,
}

impl ChannelMap {
    /// Returns a channel whose name is shared by all its users.
    pub(crate) fn channel(&self, kind: ChannelKind, name: &[u8]) -> Channel {
        let known = self.of(kind).borrow();
        let name = match known.get_key_value(name) {
            Some((name, _)) => Rc::clone(name),
            None => name.into(),
        };
        Channel { kind, name }
    }

    /// Adds a client's interest in `channel`, which is subscribed to at `servers`.
    pub(crate) fn hold(&self, channel: &Channel, servers: &[ServerId]) {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.entry(Rc::clone(&channel.name)).or_default();
        entry.interest += 1;
        entry.servers = servers.to_vec();
    }

    /// Removes a client's interest in `channel`. Returns its servers, and true if no interest is left.
    pub(crate) fn release(&self, channel: &Channel) -> (Vec<ServerId>, bool) {
        let mut known = self.of(channel.kind).borrow_mut();
        let Some(entry) = known.get_mut(&channel.name) else {
            return (Vec::new(), false);
        };
        entry.interest = entry.interest.saturating_sub(1);
        let (servers, last) = (entry.servers.clone(), entry.interest == 0);
        if entry.is_unused() {
            forget(&mut known, &channel.name);
        }
        (servers, last)
    }

    /// Adds a subscriber to `channel`. Returns their number.
    pub(crate) fn add(&self, channel: &Channel, subscriber: &Rc<Subscriber>) -> usize {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.entry(Rc::clone(&channel.name)).or_default();
        let member = Rc::clone(subscriber);
        entry.members.insert(subscriber.number, member);
        entry.members.len()
    }

    /// Removes a subscriber from `channel`. Returns the number that is left; `None` if it was none of them.
    pub(crate) fn remove(&self, channel: &Channel, subscriber: &Subscriber) -> Option<usize> {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.get_mut(&channel.name)?;
        entry.members.remove(&subscriber.number)?;
        let left = entry.members.len();
        if entry.is_unused() {
            forget(&mut known, &channel.name);
        }
        Some(left)
    }

    /// Appends the next members after `after` to `batch`, at most `max` of them.
    pub(crate) fn next_members(
        &self,
        (kind, name): (ChannelKind, &[u8]),
        after: Option<usize>,
        max: usize,
        batch: &mut Vec<Rc<Subscriber>>,
    ) {
        let known = self.of(kind).borrow();
        let Some(entry) = known.get(name) else {
            return;
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = entry.members.range((from, Bound::Unbounded));
        batch.extend(rest.take(max).map(|(_, member)| Rc::clone(member)));
    }

    /// All subscribers of `channel`.
    pub(crate) fn members(&self, channel: &Channel) -> Vec<Rc<Subscriber>> {
        let mut all = Vec::new();
        let name = (channel.kind, &*channel.name);
        self.next_members(name, None, usize::MAX, &mut all);
        all
    }

    /// All channels with interest.
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

    /// Sets the servers of `channel`. Returns the previous ones, if it is known.
    pub(crate) fn relocate(
        &self,
        channel: &Channel,
        servers: &[ServerId],
    ) -> Option<Vec<ServerId>> {
        let mut known = self.of(channel.kind).borrow_mut();
        let entry = known.get_mut(&channel.name)?;
        Some(std::mem::replace(&mut entry.servers, servers.to_vec()))
    }

    fn of(&self, kind: ChannelKind) -> &RefCell<Known> {
        let [channels, patterns, shards] = &self.kinds;
        match kind {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        }
    }
}

/// Removes a channel; after the last one, frees the map's memory.
fn forget(known: &mut Known, name: &[u8]) {
    known.remove(name);
    if known.is_empty() {
        *known = Known::new();
    }
}

impl ChannelEntry {
    fn is_unused(&self) -> bool {
        self.interest == 0 && self.members.is_empty()
    }
}
