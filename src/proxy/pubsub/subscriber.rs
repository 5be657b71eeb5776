//! One subscriber, as the registry tracks it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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

/// A client that has, or had, subscriptions.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// Unique among the clients of the worker.
    pub(crate) number: usize,
    pub(crate) replies: Rc<ReplyQueue>,
    /// The client's ID, as other clients see it.
    pub(crate) client: u64,
    profile: Cell<ConnProfile>,
    subscription_count: Cell<SubscriptionCount>,
    /// A change of its subscriptions is in progress.
    busy: Cell<bool>,
    gone: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By kind, in the order of [`ChannelKind::ALL`]: each name, and its position in the order of subscription.
    names: [HashMap<Rc<[u8]>, u64>; 3],
    next: u64,
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
            busy: Cell::new(false),
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

    /// The number of its subscriptions.
    pub(crate) fn subscription_count(&self) -> SubscriptionCount {
        self.subscription_count.get()
    }

    /// Returns true if its next request must wait for a change of its subscriptions.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
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

    pub(crate) fn add(&self, channel: &Channel) {
        let mut state = self.state.borrow_mut();
        let order = state.next;
        state.next += 1;
        let names = state.of_mut(channel.kind);
        if names.insert(Rc::clone(&channel.name), order).is_none() {
            let mut count = self.subscription_count.get();
            count.add(channel.kind);
            self.subscription_count.set(count);
        }
    }

    /// Returns `None` if it was not subscribed to that.
    pub(crate) fn remove(&self, kind: ChannelKind, name: &[u8]) -> Option<Channel> {
        let mut state = self.state.borrow_mut();
        let (name, _) = state.of_mut(kind).remove_entry(name)?;
        let mut count = self.subscription_count.get();
        count.subtract(kind);
        self.subscription_count.set(count);
        Some(Channel { kind, name })
    }

    pub(crate) fn remove_all(&self) -> Vec<Channel> {
        let names = mem::take(&mut self.state.borrow_mut().names);
        self.subscription_count.set(SubscriptionCount::default());
        ChannelKind::ALL
            .into_iter()
            .zip(names)
            .flat_map(|(kind, names)| names.into_keys().map(move |name| Channel { kind, name }))
            .collect()
    }

    /// Marks the client as gone. Returns its subscriptions.
    pub(crate) fn leave(&self) -> Vec<Channel> {
        self.gone.set(true);
        self.remove_all()
    }
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
