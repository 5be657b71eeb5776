//! Every command of the table, as one redis-server answers it and as Ringroad does with one server and with four.
//!
//! Phrases are drawn from `whole/phrases.txt`, in RESP2 and in RESP3, and the replies must be the same bytes except as
//! the mark of a phrase allows. Intended differences are listed with their reasons in the table `differences` of the
//! library, which `docs/commands.md` shows; the second test verifies that table.

mod alike;
mod phrases;

use std::collections::{BTreeMap, BTreeSet};

use ringroad::protocol::redis::command::{Local, Policy, differences};

use super::generator::Generator;
use crate::support::{Client, Pool, Proxy, RedisServer, show};
use phrases::{Phrase, Step};

/// The number of times that each phrase is sent, with other keys and values and among others.
const ROUNDS: usize = 6;

#[test]
fn every_command_matches_one_redis() {
    let seed = std::env::var("SEED").map_or(20_261_121, |seed| seed.parse().unwrap());
    let talks = [(2, 1), (2, 4), (3, 1), (3, 4)].map(|(version, count)| {
        std::thread::spawn(move || {
            let differing = Conversation::begin(version, count, seed).hold();
            let report = differing
                .iter()
                .map(|(line, how)| format!("\n{line}\n{how}"));
            let report: String = report.collect();
            assert!(
                report.is_empty(),
                "RESP{version}, {count} servers, seed {seed}:{report}"
            );
        })
    });
    for talk in talks {
        talk.join().expect("the replies are the same");
    }
}

#[test]
fn redis_7_commands_are_all_tested_or_listed() {
    let written = phrases::written();
    let seen: BTreeSet<&str> = phrases::names(&written)
        .chain(phrases::differing())
        .collect();
    let wanted = phrases::offered().filter(|row| {
        !phrases::is_later(row) && row.policy != Policy::Local(Local::ClusterDisabled)
    });
    let missing: Vec<&str> = wanted
        .map(|row| row.name)
        .filter(|name| !seen.contains(name))
        .collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
}

#[test]
fn listed_differences_are_accurate() {
    let server = RedisServer::start();
    let servers: [_; 4] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash_tag", "\"{}\""));
    for difference in differences::ALL {
        for request in difference.requests {
            let (theirs, ours) = (server.ask(request), proxy.ask(request));
            assert_ne!(show(&theirs), show(&ours), "{request}");
            let text = String::from_utf8_lossy(&ours);
            assert!(text.contains(difference.ours), "{request}: {}", show(&ours));
        }
    }
}

/// One redis-server and one proxy that get the same requests.
#[derive(Debug)]
struct Conversation {
    _servers: Vec<RedisServer>,
    proxy: Proxy,
    server: RedisServer,
    version: u8,
    generator: Generator,
    random: fastrand::Rng,
}

impl Conversation {
    fn begin(version: u8, count: usize, seed: u64) -> Self {
        let servers: Vec<_> = (0..count).map(|_| RedisServer::start()).collect();
        let pool = Pool::of(&servers).with("hash", "murmur");
        Self {
            proxy: Proxy::ringroad(&pool.with("hash_tag", "\"{}\"")),
            _servers: servers,
            server: RedisServer::start(),
            version,
            generator: Generator::new(fastrand::Rng::with_seed(seed)),
            random: fastrand::Rng::with_seed(seed ^ 1),
        }
    }

    /// Sends everything. Returns the first difference of each phrase.
    fn hold(mut self) -> BTreeMap<String, String> {
        let mut differing = BTreeMap::new();
        let mut phrases = phrases::all();
        phrases.retain(|phrase| !phrase.steps.iter().any(is_refused));
        let (mut there, mut here) = self.connect();
        for _ in 0..ROUNDS {
            self.random.shuffle(&mut phrases);
            for phrase in &phrases {
                if let Err(how) = self.say(phrase, &mut there, &mut here) {
                    differing.entry(phrase.line.clone()).or_insert(how);
                    (there, here) = self.connect();
                } else if phrase.ends_connection() {
                    (there, here) = self.connect();
                }
            }
        }
        differing
    }

    fn connect(&self) -> (Client, Client) {
        let (mut there, mut here) = (self.server.client(), self.proxy.client());
        for client in [&mut there, &mut here] {
            if self.version == 3 {
                assert!(client.ask("HELLO 3").starts_with(b"%"));
            }
        }
        (there, here)
    }

    fn say(
        &mut self,
        phrase: &Phrase,
        there: &mut Client,
        here: &mut Client,
    ) -> Result<(), String> {
        let tag = self.generator.tag();
        let requests: Vec<Vec<u8>> = phrase
            .steps
            .iter()
            .map(|step| self.generator.fill(&step.template, tag))
            .collect();
        let pipelined = self.random.bool();
        if pipelined {
            let bytes = requests.concat();
            let most_bytes = [1, 7, 100, 1 << 20][self.random.usize(..4)];
            there.send(&bytes);
            here.send_in_pieces(&bytes, most_bytes, &mut self.random);
        }
        for (step, request) in phrase.steps.iter().zip(&requests) {
            if !pipelined {
                there.send(request);
                here.send(request);
            }
            for _ in 0..step.replies {
                let original = there.reply();
                let reply = here.try_reply().map_err(|ended| {
                    format!(
                        "    {}\n    redis    {}\n    ringroad {ended:?}",
                        show(request),
                        show(&original)
                    )
                })?;
                if !step.mark.holds(&original, &reply) {
                    let (request, original, reply) = (show(request), show(&original), show(&reply));
                    return Err(format!(
                        "    {request}\n    redis    {original}\n    ringroad {reply}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn is_refused(step: &Step) -> bool {
    phrases::row(&step.template).is_some_and(|row| !row.is_offered())
}
