//! Servers whose keys move, and what proxies know of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::config::{Config, PoolConfig};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode::{write_bulk, write_header};
use crate::protocol::{Survey, SurveyStep};
use crate::topology::{
    Bucket, BucketSet, Decision, Mark, Placement, PoolServer, Router, SeenMark, State, Topology,
    TopologyStore,
};

pub(super) const KEYS: u32 = 120;

/// Placements, of which each differs from the one before in another way.
const PLACEMENTS: [&str; 5] = [
    "distribution: ketama, servers: ['h:1:1 a', 'h:2:1 b']",
    "distribution: ketama, servers: ['h:1:1 a', 'h:2:1 b', 'h:3:1 c']",
    "distribution: ketama, servers: ['h:1:5 a', 'h:2:1 b', 'h:3:3 c']",
    "distribution: modula, servers: ['h:1:1 a', 'h:2:1 b', 'h:3:1 c']",
    "distribution: modula, servers: ['h:1:1 a', 'h:3:1 c']",
];

fn placement(number: usize) -> (PoolConfig, Arc<Placement>) {
    let rest = PLACEMENTS[number % PLACEMENTS.len()];
    let yaml = format!(
        "p: {{listen: 127.0.0.1:1, redis: true, hash: murmur, placement_guard: true, {rest}}}"
    );
    let config = Config::parse(&yaml, "F").unwrap().pools.remove(0);
    let placement = Arc::new(Placement::of(&config));
    (config, placement)
}

/// A request that some servers have not executed.
struct Flight {
    proxy: usize,
    topology: Arc<Topology>,
    request: Vec<u8>,
    servers: Vec<String>,
    replies: Vec<Option<Bytes>>,
}

pub(super) struct World {
    pub(super) random: fastrand::Rng,
    /// The number of the move under way, or of the next.
    number: usize,
    placements: [Arc<Placement>; 2],
    /// By key: both owners, and the bucket.
    places: Vec<([&'static str; 2], Bucket)>,
    is_armed: bool,
    /// By server: its keys in the order in which it scans them.
    servers: BTreeMap<&'static str, BTreeMap<u32, u32>>,
    marks: BTreeMap<&'static str, Mark>,
    proxies: Vec<TopologyStore>,
    flight: Option<Flight>,
    /// No further move begins.
    pub(super) is_last: bool,
    /// Keys that were there all the time since the command began, and those that were not.
    constant: BTreeSet<u32>,
    absent: BTreeSet<u32>,
}

fn name(key: u32) -> String {
    format!("k{key}")
}

/// The place of a key in the order of a scan.
fn order(key: u32) -> u32 {
    key.wrapping_mul(0x9E37_79B1) | 1
}

impl World {
    pub(super) fn new(seed: u64, number: usize) -> Self {
        let (config, _) = placement(number);
        let config = Arc::new(config);
        let store = || TopologyStore::new(Arc::clone(&config), Instant::now());
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            number,
            placements: [number, number + 1].map(|number| placement(number).1),
            places: Vec::new(),
            is_armed: false,
            servers: ["a", "b", "c"].map(|name| (name, BTreeMap::new())).into(),
            marks: BTreeMap::new(),
            proxies: vec![store(), store()],
            flight: None,
            is_last: false,
            constant: BTreeSet::new(),
            absent: (0..KEYS).collect(),
        };
        world.set_number(number);
        for key in (0..KEYS).filter(|key| key % 3 > 0) {
            let owner = world.owner(key);
            world
                .servers
                .get_mut(owner)
                .unwrap()
                .insert(order(key), key);
            world.absent.remove(&key);
            world.constant.insert(key);
        }
        world
    }

    fn set_number(&mut self, number: usize) {
        self.number = number;
        self.placements = [number, number + 1].map(|number| placement(number).1);
        let routers = self
            .placements
            .each_ref()
            .map(|placement| Router::of_placement(placement));
        let owner = |router: &Router, key: u32| {
            let index = router.route(name(key).as_bytes()).unwrap();
            let owner = &router.members()[index.index()].name;
            let name = ["a", "b", "c"].into_iter().find(|name| name == owner);
            name.unwrap()
        };
        let place = |key| {
            let owners = routers.each_ref().map(|router| owner(router, key));
            (owners, self.placements[0].bucket(name(key).as_bytes()))
        };
        self.places = (0..KEYS).map(place).collect();
    }

    fn placements(&self) -> [Arc<Placement>; 2] {
        self.placements.clone()
    }

    fn bucket(&self, key: u32) -> Bucket {
        self.places[key as usize].1
    }

    /// Both owners of a key.
    fn owners(&self, key: u32) -> [&'static str; 2] {
        self.places[key as usize].0
    }

    fn has_moved(&self, key: u32) -> bool {
        let [before, _] = self.owners(key);
        let mark = self.marks.get(before).filter(|_| self.is_armed);
        mark.is_some_and(|mark| mark.moved.contains(self.bucket(key)))
    }

    fn owner(&self, key: u32) -> &'static str {
        self.owners(key)[usize::from(self.has_moved(key))]
    }

    fn is_held(&self, key: u32) -> bool {
        let [before, after] = self.owners(key);
        let mark = self.marks.get(before).filter(|_| before != after);
        mark.is_some_and(|mark| mark.held().contains(self.bucket(key)))
    }

    fn learn(&self, proxy: usize, server: &str) {
        let seen = SeenMark {
            mark: self.marks.get(server).cloned().map(Arc::new),
            run_id: "r".to_owned(),
        };
        let mut known = self
            .placements
            .iter()
            .flat_map(|placement| &placement.servers);
        let config = known.find(|config| config.name == server).unwrap();
        let server = PoolServer::new(config.name.clone(), config.address.clone());
        self.proxies[proxy].set_mark(&server, seen);
    }

    fn learn_all(&self) {
        for proxy in 0..self.proxies.len() {
            self.marks
                .keys()
                .for_each(|server| self.learn(proxy, server));
        }
    }

    fn arm(&mut self) {
        let [before, after] = self.placements();
        let term = u64::try_from(self.number).unwrap() + 1;
        for server in before.servers_with(&after) {
            let name = ["a", "b", "c"]
                .into_iter()
                .find(|name| *name == server.name);
            let mark = Mark {
                move_id: format!("move-{}", self.number),
                state: State::Armed,
                term,
                before: Arc::clone(&before),
                after: Arc::clone(&after),
                hold: term << 24,
                buckets: BucketSet::EMPTY,
                decision: Decision::Abort,
                run_id: "r".to_owned(),
                moved: BucketSet::EMPTY,
                moved_elsewhere: BTreeMap::new(),
                intents: BTreeMap::new(),
            };
            self.marks.insert(name.unwrap(), mark);
        }
        self.is_armed = true;
        self.learn_all();
    }

    /// Something that does not depend on the proxies happens.
    pub(super) fn step(&mut self) {
        if !self.is_armed {
            match self.random.u8(..8) {
                0 if !self.is_last => self.arm(),
                1..3 => self.write(),
                _ => self.learn_something(),
            }
            return;
        }
        match self.random.u8(..16) {
            0..4 => self.copy(),
            4..6 => self.write(),
            6..10 => self.learn_something(),
            _ => self.decide(),
        }
    }

    fn learn_something(&mut self) {
        let servers: Vec<_> = self.marks.keys().copied().collect();
        if let Some(server) = self.random.choice(servers) {
            let proxy = self.random.usize(..self.proxies.len());
            self.learn(proxy, server);
        }
    }

    fn copy(&mut self) {
        let key = self.random.u32(..KEYS);
        let [before, after] = self.owners(key);
        let is_there = self.servers[before].contains_key(&order(key));
        if before != after && !self.has_moved(key) && is_there {
            self.servers.get_mut(after).unwrap().insert(order(key), key);
        }
    }

    /// A client creates or deletes a key; one of three is never deleted.
    fn write(&mut self) {
        let key = self.random.u32(..KEYS);
        if key % 3 == 1 || self.is_held(key) {
            return;
        }
        let keys = self.servers.get_mut(self.owner(key)).unwrap();
        if keys.remove(&order(key)).is_none() {
            keys.insert(order(key), key);
        }
        self.constant.remove(&key);
        self.absent.remove(&key);
    }

    fn decide(&mut self) {
        let sources: Vec<_> = self.placements()[0]
            .servers
            .iter()
            .map(|s| s.name.clone())
            .collect();
        let source = self.random.choice(sources).unwrap();
        let (&source, mark) = self
            .marks
            .iter_mut()
            .find(|(name, _)| **name == source)
            .unwrap();
        if mark.moved == BucketSet::ALL {
            return self.clean();
        }
        if mark.decision != Decision::Open {
            let left: Vec<_> = BucketSet::ALL
                .iter()
                .filter(|b| !mark.moved.contains(*b))
                .collect();
            let begin = self.random.usize(..left.len());
            mark.hold += 1;
            mark.buckets = left.into_iter().skip(begin).take(300).collect();
            mark.decision = Decision::Open;
            return;
        }
        if self.random.u8(..6) == 0 {
            mark.decision = Decision::Abort;
            return;
        }
        // All vouch: what is in flight to the source was sent when the hold was known.
        let number = mark.hold;
        let is_before = self.flight.as_ref().is_some_and(|flight| {
            let known = flight
                .topology
                .moving
                .as_ref()
                .map(|m| m.source(source).hold);
            let at = flight.servers.iter().position(|name| name == source);
            known != Some(number) && at.is_some_and(|at| flight.replies[at].is_none())
        });
        if is_before {
            return;
        }
        (0..self.proxies.len()).for_each(|proxy| self.learn(proxy, source));
        let held = self.marks[source].buckets;
        let keys: Vec<_> = (0..KEYS)
            .filter(|key| held.contains(self.bucket(*key)))
            .collect();
        for key in keys {
            let [before, after] = self.owners(key);
            if before == source && before != after {
                let is_there = self.servers[before].contains_key(&order(key));
                let copies = self.servers.get_mut(after).unwrap();
                if is_there {
                    copies.insert(order(key), key);
                } else {
                    copies.remove(&order(key));
                }
            }
        }
        let mark = self.marks.get_mut(source).unwrap();
        mark.moved = mark.moved.union(&held);
        mark.decision = Decision::Commit;
    }

    /// Removes the originals, and ends the move, once all has moved.
    fn clean(&mut self) {
        let sources = &self.placements()[0].servers;
        let is_left = |name: &str| self.marks[name].moved != BucketSet::ALL;
        if sources.iter().any(|source| is_left(&source.name)) {
            return;
        }
        for key in 0..KEYS {
            let [before, after] = self.owners(key);
            if before != after {
                self.servers.get_mut(before).unwrap().remove(&order(key));
            }
        }
        self.marks
            .values_mut()
            .for_each(|mark| mark.state = State::Done);
        self.is_armed = false;
        self.set_number(self.number + 1);
    }

    /// Has servers execute what is in flight, with other things in between.
    fn fly(&mut self) {
        while let Some(flight) = &self.flight {
            let left: Vec<_> = (0..flight.servers.len())
                .filter(|at| flight.replies[*at].is_none())
                .collect();
            let Some(at) = self.random.choice(left) else {
                return;
            };
            let reply = self.execute(&flight.request, &flight.servers[at]);
            self.flight.as_mut().unwrap().replies[at] = Some(reply);
            (0..self.random.u8(..6)).for_each(|_| self.step());
        }
    }

    fn execute(&self, request: &[u8], server: &str) -> Bytes {
        let args: Vec<&[u8]> = Args::new(request).collect();
        let keys = &self.servers[server];
        let mut out = BytesMut::new();
        let mut write = |keys: &[u32]| {
            write_header(b'*', keys.len(), &mut out);
            for key in keys {
                write_bulk(name(*key).as_bytes(), &mut out);
            }
        };
        if args[0] != b"SCAN" {
            write(&keys.values().copied().collect::<Vec<_>>());
            return out.freeze();
        }
        let own: u32 = str::from_utf8(args[1]).unwrap().parse().unwrap();
        let page: Vec<_> = keys
            .range(own..)
            .take(7)
            .map(|(order, key)| (*order, *key))
            .collect();
        let next = match page.last() {
            Some((order, _)) if page.len() == 7 => order + 1,
            _ => 0,
        };
        write_header(b'*', 2, &mut out);
        write_bulk(next.to_string().as_bytes(), &mut out);
        write_header(b'*', page.len(), &mut out);
        for (_, key) in page {
            write_bulk(name(key).as_bytes(), &mut out);
        }
        out.freeze()
    }

    /// Executes a survey at a proxy.
    pub(super) fn run(&mut self, mut survey: Box<dyn Survey>, proxy: usize) -> Vec<u8> {
        loop {
            let topology = self.proxies[proxy].topology();
            let mut request = BytesMut::new();
            let servers = survey.ask(&topology, &mut request);
            let servers: Vec<_> = servers
                .iter()
                .map(|index| topology.server(*index).unwrap().name.clone())
                .collect();
            self.flight = Some(Flight {
                proxy,
                topology,
                request: request.to_vec(),
                replies: vec![None; servers.len()],
                servers,
            });
            self.fly();
            let flight = self.flight.take().unwrap();
            assert_eq!(flight.proxy, proxy);
            let replies = flight.replies.into_iter().map(|reply| Ok(reply.unwrap()));
            let mut out = WriteBuf::new();
            if survey.take(&flight.topology, replies.collect(), &mut out) == SurveyStep::Done {
                return written(&mut out);
            }
            (0..10).for_each(|_| self.step());
        }
    }

    /// Another command begins.
    pub(super) fn begin(&mut self) {
        self.constant.clear();
        self.absent.clear();
        for key in 0..KEYS {
            if self.servers[self.owner(key)].contains_key(&order(key)) {
                self.constant.insert(key);
            } else {
                self.absent.insert(key);
            }
        }
    }

    /// Fails if a key was not there.
    pub(super) fn check_shown(&self, key: u32) {
        assert!(!self.absent.contains(&key), "not there: {key}");
    }

    /// Fails if a key is missing in what a command has shown, or was not there.
    pub(super) fn check(&self, shown: &[u32]) {
        let distinct: BTreeSet<_> = shown.iter().copied().collect();
        let missed: Vec<_> = self.constant.difference(&distinct).collect();
        assert!(missed.is_empty(), "missed: {missed:?}");
        let wrong: Vec<_> = self.absent.intersection(&distinct).collect();
        assert!(wrong.is_empty(), "not there: {wrong:?}");
    }
}

fn written(out: &mut WriteBuf) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    while !out.is_empty() {
        assert!(out.poll_write(&mut bytes, &mut context).is_ready());
    }
    bytes
}
