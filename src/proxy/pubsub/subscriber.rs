//! One subscriber, as the registry tracks it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::mem;
use std::rc::Rc;

use crate::protocol::{ChannelKind, ConnProfile, SubscriptionCount};
use crate::proxy::replies::queue::ReplyQueue;

/// A channel, pattern or shard channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    pub(crate) kind: ChannelKind,
    pub(crate) name: Rc<[u8]>,
}

/// One subscription of a client, from the request that adds it to the one that removes it.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) channel: Channel,
    /// Its position in the order of the client's subscriptions; identifies it.
    order: u64,
}

/// A client that has, or had, subscriptions.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// Unique among the clients of the worker.
    pub(crate) number: usize,
    pub(crate) replies: Rc<ReplyQueue>,
    /// The client's ID, as other clients see it.
    pub(crate) client: u64,
    profile: Cell<ConnProfile>,
    /// The number of subscriptions once all changes in progress are confirmed.
    subscription_count: Cell<SubscriptionCount>,
    /// The number of confirmed ones.
    confirmed_count: Cell<SubscriptionCount>,
    /// Changes of its subscriptions in progress.
    changes: Cell<usize>,
    gone: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Once all changes in progress are confirmed. By kind, in the order of [`ChannelKind::ALL`]: each name, and its
    /// position in the order of subscription.
    names: [HashMap<Rc<[u8]>, u64>; 3],
    next: u64,
    /// Subscriptions that failed after a later change had removed them.
    failed: HashSet<u64>,
}

impl Subscriber {
    pub(crate) fn new(
        number: usize,
        client: u64,
        replies: Rc<ReplyQueue>,
        profile: ConnProfile,
    ) -> Rc<Self> {
        Rc::new(Self {
            number,
            replies,
            client,
            profile: Cell::new(profile),
            subscription_count: Cell::default(),
            confirmed_count: Cell::default(),
            changes: Cell::new(0),
            gone: Cell::new(false),
            state: RefCell::default(),
        })
    }

    /// The profile that decides the format of its messages.
    pub(crate) fn profile(&self) -> ConnProfile {
        self.profile.get()
    }

    pub(crate) fn set_profile(&self, profile: ConnProfile) {
        self.profile.set(profile);
    }

    /// The number of its subscriptions, as its next request finds them.
    pub(crate) fn subscription_count(&self) -> SubscriptionCount {
        self.subscription_count.get()
    }

    /// The number of its confirmed subscriptions.
    pub(crate) fn confirmed_count(&self) -> SubscriptionCount {
        self.confirmed_count.get()
    }

    /// Returns true if a change of its subscriptions is in progress.
    pub(crate) fn is_changing(&self) -> bool {
        self.changes.get() > 0
    }

    /// Counts a change that begins.
    pub(crate) fn change_begins(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Counts a change that has ended.
    pub(crate) fn change_ends(&self) {
        self.changes.set(self.changes.get().saturating_sub(1));
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    pub(crate) fn has(&self, kind: ChannelKind, name: &[u8]) -> bool {
        let state = self.state.borrow();
        state.of(kind).contains_key(name)
    }

    /// The names of one kind, in the order of subscription.
    pub(crate) fn names(&self, kind: ChannelKind) -> Vec<Rc<[u8]>> {
        let state = self.state.borrow();
        let mut names: Vec<_> = state.of(kind).iter().collect();
        names.sort_unstable_by_key(|&(_, order)| order);
        names.into_iter().map(|(name, _)| Rc::clone(name)).collect()
    }

    /// Adds a subscription, which is not confirmed yet. It must not have it.
    pub(crate) fn add(&self, channel: Channel) -> Subscription {
        let mut state = self.state.borrow_mut();
        let order = state.next;
        state.next += 1;
        let names = state.of_mut(channel.kind);
        names.insert(Rc::clone(&channel.name), order);
        change(&self.subscription_count, |count| count.add(channel.kind));
        Subscription { channel, order }
    }

    /// Removes a subscription, which is confirmed later. Returns `None` if it was not subscribed to that.
    pub(crate) fn remove(&self, kind: ChannelKind, name: &[u8]) -> Option<Subscription> {
        let mut state = self.state.borrow_mut();
        let (name, order) = state.of_mut(kind).remove_entry(name)?;
        change(&self.subscription_count, |count| count.subtract(kind));
        let channel = Channel { kind, name };
        Some(Subscription { channel, order })
    }

    /// Counts a subscription that is confirmed.
    pub(crate) fn confirm(&self, added: &Subscription) {
        change(&self.confirmed_count, |count| count.add(added.channel.kind));
    }

    /// Takes back a subscription that has failed. Returns false if a later change has removed it already.
    pub(crate) fn take_back(&self, added: &Subscription) -> bool {
        let kind = added.channel.kind;
        let mut state = self.state.borrow_mut();
        let is_current = state.of(kind).get(&added.channel.name) == Some(&added.order);
        if is_current {
            state.of_mut(kind).remove(&added.channel.name);
            change(&self.subscription_count, |count| count.subtract(kind));
        } else if !self.gone.get() {
            state.failed.insert(added.order);
        }
        is_current
    }

    /// Uncounts a subscription whose removal is confirmed.
    pub(crate) fn confirm_removal(&self, removed: &Subscription) {
        if !self.state.borrow_mut().failed.remove(&removed.order) {
            let kind = removed.channel.kind;
            change(&self.confirmed_count, |count| count.subtract(kind));
        }
    }

    pub(crate) fn remove_all(&self) -> Vec<Subscription> {
        let names = mem::take(&mut self.state.borrow_mut().names);
        self.subscription_count.set(SubscriptionCount::default());
        let removed = |kind| {
            move |(name, order)| Subscription {
                channel: Channel { kind, name },
                order,
            }
        };
        ChannelKind::ALL
            .into_iter()
            .zip(names)
            .flat_map(|(kind, names)| names.into_iter().map(removed(kind)))
            .collect()
    }

    /// Marks the client as gone. Returns its subscriptions.
    pub(crate) fn leave(&self) -> Vec<Subscription> {
        self.gone.set(true);
        self.remove_all()
    }
}

fn change(count: &Cell<SubscriptionCount>, by: impl FnOnce(&mut SubscriptionCount)) {
    let mut changed = count.get();
    by(&mut changed);
    count.set(changed);
}

impl State {
    fn of(&self, kind: ChannelKind) -> &HashMap<Rc<[u8]>, u64> {
        let [channels, patterns, shards] = &self.names;
        match kind {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        }
    }

    fn of_mut(&mut self, kind: ChannelKind) -> &mut HashMap<Rc<[u8]>, u64> {
        let [channels, patterns, shards] = &mut self.names;
        match kind {
            ChannelKind::Channel => channels,
            ChannelKind::Pattern => patterns,
            ChannelKind::Shard => shards,
        }
    }
}
