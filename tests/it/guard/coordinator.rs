//! A coordinator in small: marks, holds and decisions, as the test wants them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ringroad::config::Config;
use ringroad::protocol::redis::mark::{By, Change, Outcome};
use ringroad::topology::{
    BucketSet, Decision, Mark, Placement, Router, ServerIndex, State, hold_number,
};
use serde_json::Value;

use crate::support::{Client, Pool, RedisServer, array_items, command, show};

const ID: &str = "test-move";

/// A pool of these servers, which may take part in a move.
pub(super) fn pool(servers: &[RedisServer]) -> Pool {
    pool_at(servers.iter().map(RedisServer::address))
}

/// As [`pool`], at these addresses.
pub(super) fn pool_at(addresses: impl IntoIterator<Item = SocketAddr>) -> Pool {
    let entry = |(index, address): (usize, SocketAddr)| format!("{address}:1 s{index}");
    Pool::named(addresses.into_iter().enumerate().map(entry))
        .with("hash", "murmur")
        .with("placement_guard", true)
}

fn placement(pool: &Pool) -> Placement {
    let yaml = pool.yaml("127.0.0.1:1".parse().unwrap());
    Placement::of(&Config::parse(&yaml, "F").unwrap().pools[0])
}

/// A move between two pools of the same servers, of which the second has all.
pub(super) struct Move<'s> {
    servers: &'s [RedisServer],
    pool: Pool,
    before: Placement,
    after: Placement,
    routers: [Router; 2],
    mark: String,
    term: u64,
    count: u32,
    /// By source: all that has moved.
    moved: Vec<BucketSet>,
    /// By source: the connections that hear the acks.
    hearing: Vec<Client>,
}

impl<'s> Move<'s> {
    pub(super) fn of(before: &[RedisServer], after: &'s [RedisServer]) -> Self {
        Self::between([pool(before), pool(after)], after)
    }

    /// As [`Self::of`], between these pools.
    pub(super) fn between([pool, pool_after]: [Pool; 2], after: &'s [RedisServer]) -> Self {
        let [before, after_] = [&pool, &pool_after].map(placement);
        let mark = Mark::key("p", 0);
        let hearing = after.iter().map(|server| {
            let mut client = server.client();
            let channel = Mark::acks_channel("p", 0);
            client.ask("CLIENT SETNAME rr-move/p:0/0");
            client.ask(&format!("SUBSCRIBE {channel}"));
            client
        });
        Self {
            hearing: hearing.collect(),
            servers: after,
            routers: [Router::of_placement(&before), Router::of_placement(&after_)],
            pool,
            before,
            after: after_,
            mark,
            term: 1,
            count: 0,
            moved: vec![BucketSet::EMPTY; after.len()],
        }
    }

    pub(super) fn pool_before(&self) -> Pool {
        self.pool.clone()
    }

    fn owners(&self, key: &str) -> [&str; 2] {
        self.routers.each_ref().map(|router| {
            let owner: ServerIndex = router.route(key.as_bytes()).unwrap();
            router.members()[owner.index()].name.as_str()
        })
    }

    fn number(name: &str) -> usize {
        name.trim_start_matches('s').parse().unwrap()
    }

    /// A key that moves, and its source.
    pub(super) fn moving_key(&self, prefix: &str) -> (usize, String) {
        let mut keys = (0..).map(|number| format!("{prefix}{number}"));
        let key = keys.find(|key| {
            let [before, after] = self.owners(key);
            before != after
        });
        let key = key.unwrap();
        (Self::number(self.owners(&key)[0]), key)
    }

    pub(super) fn staying_key(&self, prefix: &str) -> String {
        self.staying_key_of(0, prefix)
    }

    /// A key of a server that does not move.
    pub(super) fn staying_key_of(&self, server: usize, prefix: &str) -> String {
        let name = format!("s{server}");
        let mut keys = (0..).map(|number| format!("{prefix}{number}"));
        keys.find(|key| self.owners(key) == [name.as_str(), name.as_str()])
            .unwrap()
    }

    fn change(&self, server: usize, change: &Change<'_>) -> Outcome {
        let mut request = BytesMut::new();
        change.write(&self.mark, &mut request);
        let mut client = self.servers[server].client();
        client.send(&request);
        Outcome::read(&Bytes::from(client.reply()))
            .unwrap_or_else(|reply| panic!("{}", show(&reply)))
    }

    fn by(&self) -> By<'static> {
        By {
            move_id: ID,
            term: self.term,
        }
    }

    pub(super) fn arm(&mut self) {
        for server in 0..self.servers.len() {
            self.arm_at(server);
        }
    }

    pub(super) fn arm_at(&self, server: usize) {
        let arm = Change::Arm {
            move_id: ID,
            term: self.term,
            before: &self.before,
            after: &self.after,
            hold: 0,
            moved: &self.moved[server],
        };
        assert_eq!(self.change(server, &arm), Outcome::Done);
    }

    pub(super) fn hold(&mut self, source: usize, buckets: &BucketSet) -> u64 {
        self.count += 1;
        let number = hold_number(self.term, self.count);
        let hold = Change::Hold(self.by(), number, buckets);
        assert_eq!(self.change(source, &hold), Outcome::Done);
        number
    }

    /// The connections that so many proxies vouch for in a hold.
    pub(super) fn acks(&mut self, source: usize, hold: u64, proxies: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..proxies {
            let word = loop {
                let message = array_items(&self.hearing[source].reply());
                let word: Value = serde_json::from_slice(&message[2]).unwrap();
                if word["hold"] == hold {
                    break word;
                }
            };
            let own = word["ids"].as_array().unwrap().iter();
            ids.extend(own.map(|id| id.as_str().unwrap().to_owned()));
        }
        ids
    }

    pub(super) fn decide(&mut self, source: usize, hold: u64, decision: Decision) {
        if decision == Decision::Abort {
            let abort = Change::Abort { move_id: ID, hold };
            assert_eq!(self.change(source, &abort), Outcome::Decided(decision));
            return;
        }
        let mark = self.read(source);
        self.moved[source] = mark.moved.union(&mark.buckets);
        let commit = Change::Commit(self.by(), hold, &self.moved[source]);
        assert_eq!(self.change(source, &commit), Outcome::Decided(decision));
    }

    fn read(&self, server: usize) -> Arc<Mark> {
        let mut request = BytesMut::new();
        ringroad::protocol::redis::mark::write_read(&self.mark, &mut request);
        let mut client = self.servers[server].client();
        client.send(&request);
        let [fields, info] = [client.reply(), client.reply()].map(Bytes::from);
        let seen = ringroad::protocol::redis::mark::read(&fields, &info).unwrap();
        seen.mark.unwrap()
    }

    pub(super) fn finish(&mut self, state: State) {
        for server in 0..self.servers.len() {
            let finish = Change::Finish(self.by(), state);
            assert_eq!(self.change(server, &finish), Outcome::Done);
        }
    }

    /// Waits until all workers of a proxy know what the mark of a server says by now.
    pub(super) fn await_adoption(&mut self, server: usize) {
        let hold = self.hold(server, &BucketSet::EMPTY);
        self.acks(server, hold, 1);
        self.decide(server, hold, Decision::Abort);
    }

    /// As [`Self::await_adoption`], and ends the connections to the server over which requests go. Nothing opens them again but
    /// requests, while the hold that this leaves is open.
    pub(super) fn end_guarded(&mut self, server: usize) {
        let hold = self.hold(server, &BucketSet::EMPTY);
        self.acks(server, hold, 1);
        for id in self.guarded_ids(server) {
            self.at_source(server, &format!("CLIENT KILL ID {id}"));
        }
        assert_eq!(self.guarded_ids(server), [""; 0]);
    }

    /// Tells at a server that all keys that move away from another one have moved.
    pub(super) fn copy_moved(&mut self, server: usize, source: usize) {
        self.moved[source] = BucketSet::ALL;
        let name = format!("s{source}");
        let copy = Change::CopyMoved(self.by(), &name, &self.moved[source]);
        assert_eq!(self.change(server, &copy), Outcome::Done);
    }

    /// Has another coordinator take over, as one server knows.
    pub(super) fn raise_term_at(&mut self, server: usize) {
        self.term += 1;
        self.arm_at(server);
    }

    /// The destination of a key.
    pub(super) fn destination(&self, key: &str) -> usize {
        Self::number(self.owners(key)[1])
    }

    /// Has a server lose its mark.
    pub(super) fn forget(&self, server: usize) {
        assert_eq!(
            self.servers[server].ask(&format!("DEL {}", self.mark)),
            b":1\r\n"
        );
    }

    /// Renews the mark of a server as a successor does.
    pub(super) fn renew(&mut self, server: usize) {
        self.term += 1;
        for other in 0..self.servers.len() {
            self.arm_at(other);
        }
        let settle = Change::Settle {
            by: self.by(),
            hold: hold_number(self.term, 0),
            decision: Decision::Abort,
            moved: &self.moved[server],
        };
        assert_eq!(self.change(server, &settle), Outcome::Done);
    }

    /// Copies a key to its destination.
    pub(super) fn copy(&self, source: usize, key: &str) {
        let mut client = self.servers[source].client();
        let dump = client.ask(&format!("DUMP {key}"));
        let start = dump.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let payload = &dump[start..dump.len() - 2];
        let to = Self::number(self.owners(key)[1]);
        let mut client = self.servers[to].client();
        client.send(&command(&[b"RESTORE", key.as_bytes(), b"0", payload]));
        assert_eq!(client.reply(), b"+OK\r\n");
    }

    /// Copies a key if it is to move.
    pub(super) fn copy_if_moving(&self, key: &str) {
        let [before, after] = self.owners(key);
        if before != after {
            self.copy(Self::number(before), key);
        }
    }

    /// Unlinks the original of a key that has moved.
    pub(super) fn clean(&self, key: &str) {
        let [before, after] = self.owners(key);
        if before != after {
            self.at_source(Self::number(before), &format!("UNLINK {key}"));
        }
    }

    pub(super) fn at_source(&self, source: usize, request: &str) -> String {
        String::from_utf8(self.servers[source].ask(request)).unwrap()
    }

    pub(super) fn at_destination(&self, key: &str, request: &str) -> String {
        self.at_owner_after(key, request)
    }

    pub(super) fn at_owner_after(&self, key: &str, request: &str) -> String {
        let owner = Self::number(self.owners(key)[1]);
        String::from_utf8(self.servers[owner].ask(request)).unwrap()
    }

    /// The ids of the connections of proxies to a server.
    pub(super) fn guarded_ids(&self, server: usize) -> Vec<String> {
        let list = self.at_source(server, "CLIENT LIST");
        let guarded = list.lines().filter(|line| line.contains(" name=rr/"));
        let id = |line: &str| {
            line.split(' ')
                .next()?
                .strip_prefix("id=")
                .map(str::to_owned)
        };
        guarded.filter_map(id).collect()
    }
}
