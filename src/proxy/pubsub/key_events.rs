//! Key events of a pool with `placement_guard`: they are delivered from the owner of the key only, and not those of marks.
//!
//! A copy expires as its original does. Which server removes it first, and whether the key moves in between, is a matter of
//! chance; each subscriber gets one event. So what the one said is remembered until the other says it, too.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{EventCause, KeyEvent};
use crate::topology::{ServerId, Topology, is_mark};

/// The time within which both servers remove a key that has expired.
const BOTH_WITHIN: Duration = Duration::from_secs(10);

/// The most events that are remembered.
const MOST: usize = 10_000;

/// The events of expired keys of which one server has told, and the other has not, by the whole message.
#[derive(Debug, Default)]
pub(crate) struct KeyEvents {
    expired: RefCell<HashMap<Box<[u8]>, Noted>>,
}

/// Which server has told, and when.
type Noted = (Side, Instant);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

impl KeyEvents {
    /// Returns true if a message of a server is to be delivered.
    pub(crate) fn delivers(
        &self,
        (server, message): (ServerId, &[u8]),
        event: KeyEvent,
        topology: &Topology,
        now: Instant,
    ) -> bool {
        let key = event.key.of(message);
        if is_mark(key) {
            return false;
        }
        let place = topology.router.whereabouts(key);
        let (Some(place), Some(index)) = (place, topology.index_of(server)) else {
            return true;
        };
        let side = match index {
            _ if !place.is_moving() => return true,
            index if index == place.before => Side::Source,
            index if index == place.after => Side::Destination,
            _ => return true,
        };
        let has_expired = event.cause == EventCause::Expiry;
        if has_expired && !place.has_moved {
            self.note(message, side, now);
        }
        match (side, place.has_moved) {
            (Side::Source, false) | (Side::Destination, true) => true,
            // Told before the key moved; or it has expired, and the copy had done so when it did not count.
            (Side::Source, true) if has_expired => self.take_copy(message, now),
            (Side::Source, true) => event.cause == EventCause::Client,
            // It has moved: this worker does not know yet.
            (Side::Destination, false) => place.is_held && event.cause == EventCause::Client,
        }
    }

    /// Notes that one side has told of an expired key.
    fn note(&self, message: &[u8], side: Side, now: Instant) {
        let mut expired = self.expired.borrow_mut();
        let is_other = |(other, since): &Noted| *other != side && now - *since < BOTH_WITHIN;
        if expired.get(message).is_some_and(is_other) {
            expired.remove(message);
            return;
        }
        if expired.len() >= MOST {
            expired.retain(|_, (_, since)| now - *since < BOTH_WITHIN);
        }
        if expired.len() < MOST {
            expired.insert(message.into(), (side, now));
        }
    }

    /// Returns true if the destination has told of this when it did not count.
    fn take_copy(&self, message: &[u8], now: Instant) -> bool {
        let noted = self.expired.borrow_mut().remove(message);
        noted.is_some_and(|(side, since)| side == Side::Destination && now - since < BOTH_WITHIN)
    }

    /// Forgets all: no keys are being moved.
    pub(crate) fn forget(&self) {
        self.expired.take();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::protocol::Span;
    use crate::topology::{
        BucketSet, Decision, Mark, Placement, PoolServer, SeenMark, State, TopologyStore,
    };

    const KEY: &str = "k";

    /// A store of a pool that moves all keys from `a` to `b`.
    fn store() -> TopologyStore {
        let config = |name: &str| {
            let yaml = format!(
                "p: {{listen: h:1, redis: true, placement_guard: true, servers: ['h:1:1 {name}']}}"
            );
            Config::parse(&yaml, "F").unwrap().pools.remove(0)
        };
        let store = TopologyStore::new(Arc::new(config("a")), std::time::Instant::now());
        for server in ["a", "b"] {
            let mark = Mark {
                move_id: "m".to_owned(),
                state: State::Armed,
                term: 1,
                before: Arc::new(Placement::of(&config("a"))),
                after: Arc::new(Placement::of(&config("b"))),
                hold: 0,
                buckets: BucketSet::EMPTY,
                decision: Decision::Abort,
                run_id: "r".to_owned(),
                moved: BucketSet::EMPTY,
                moved_elsewhere: BTreeMap::new(),
                intents: BTreeMap::new(),
            };
            store.set_mark(&server_at(server), seen(mark));
        }
        store
    }

    fn server_at(name: &str) -> PoolServer {
        PoolServer::new(name.to_owned(), "h:1".parse().unwrap())
    }

    fn seen(mark: Mark) -> SeenMark {
        SeenMark {
            mark: Some(Arc::new(mark)),
            run_id: "r".to_owned(),
        }
    }

    fn decide(store: &TopologyStore, decision: Decision) {
        let seen_before = store.facts();
        let (_, mark, _) = seen_before.marks().find(|(name, ..)| *name == "a").unwrap();
        let mark = Mark::clone(mark.mark.as_ref().unwrap());
        let moved = if decision == Decision::Commit {
            BucketSet::ALL
        } else {
            mark.moved
        };
        store.set_mark(
            &server_at("a"),
            seen(Mark {
                hold: 1,
                buckets: BucketSet::ALL,
                decision,
                moved,
                ..mark
            }),
        );
    }

    /// Returns true if an event that a server tells is delivered.
    fn delivers(
        events: &KeyEvents,
        store: &TopologyStore,
        server: usize,
        cause: EventCause,
    ) -> bool {
        let topology = store.topology();
        let event = KeyEvent {
            key: Span {
                start: 0,
                end: KEY.len(),
            },
            cause,
        };
        let server = topology.servers()[server].id;
        events.delivers((server, KEY.as_bytes()), event, &topology, Instant::now())
    }

    #[test]
    fn events_are_those_of_the_owner() {
        use EventCause::{Client, ClientOrMove};
        let (events, store) = (KeyEvents::default(), store());
        let heard = |cause| [0, 1].map(|server| delivers(&events, &store, server, cause));
        assert_eq!(
            (heard(Client), heard(ClientOrMove)),
            ([true, false], [true, false])
        );
        decide(&store, Decision::Open);
        // Who writes to the second server knows of the commit.
        assert_eq!(
            (heard(Client), heard(ClientOrMove)),
            ([true, true], [true, false])
        );
        decide(&store, Decision::Commit);
        assert_eq!(
            (heard(Client), heard(ClientOrMove)),
            ([true, true], [false, true])
        );
    }

    #[test]
    fn key_expires_once_whichever_server_is_first() {
        // By the servers that tell of it, and the commit in between.
        for order in ["ab", "ba", "abC", "baC", "bCa", "aCb", "Cab", "Cba"] {
            let (events, store) = (KeyEvents::default(), store());
            let mut delivered = 0;
            for step in order.chars() {
                match step {
                    'C' => decide(&store, Decision::Commit),
                    server => {
                        let server = usize::from(server == 'b');
                        delivered +=
                            u32::from(delivers(&events, &store, server, EventCause::Expiry));
                    }
                }
            }
            // The second server tells of another value: the first had expired when the key moved.
            let expected = if order == "aCb" { 2 } else { 1 };
            assert_eq!(delivered, expected, "{order}");
        }
    }

    #[test]
    fn events_of_marks_are_not_delivered() {
        let (events, store) = (KeyEvents::default(), store());
        let topology = store.topology();
        let message = b"ringroad:mark:p:0";
        let event = KeyEvent {
            key: Span {
                start: 0,
                end: message.len(),
            },
            cause: EventCause::Client,
        };
        let server = topology.servers()[0].id;
        assert!(!events.delivers((server, message), event, &topology, Instant::now()));
    }

    #[test]
    fn events_are_forgotten_in_time() {
        let events = KeyEvents::default();
        let now = Instant::now();
        for number in 0..MOST + 5 {
            events.note(&number.to_le_bytes(), Side::Destination, now);
        }
        assert_eq!(events.expired.borrow().len(), MOST);
        let later = now + BOTH_WITHIN;
        assert!(!events.take_copy(&1_usize.to_le_bytes(), later));
        events.note(b"x", Side::Destination, later);
        assert!(events.take_copy(b"x", later));
        events.forget();
        assert!(events.expired.borrow().is_empty());
    }
}
