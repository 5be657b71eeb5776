//! The sentinels of a pool together: which of their answers is followed.
//!
//! ```text
//! sentinels --Word--> votes --choose--> ROLE at that address --master--> TopologyStore: set_primary
//! ```
//!
//! Invariant: no server becomes a primary that does not say so itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::config::PoolConfig;
use crate::control::conn::Failure;
use crate::net::ServerAddr;
use crate::topology::TopologyStore;

use super::adopt::adopt;
use super::choice::{Answer, Choice, choose, replicas};
use super::role::{Role, ask_role, open};
use super::sentinel::{self, Word};

/// What sentinels have said of a pool's servers.
struct Sentinels {
    store: Arc<TopologyStore>,
    config: Arc<PoolConfig>,
    /// The last answers, by server and by sentinel.
    votes: HashMap<String, BTreeMap<String, Answer>>,
    /// The names that a sentinel does not know.
    unknown: BTreeSet<(String, String)>,
    /// Why sentinels do not answer.
    silent: BTreeMap<String, String>,
    heard: BTreeSet<String>,
    all_are_silent: bool,
    /// Questions for the roles of chosen servers, by the names of these.
    checks: HashMap<String, (SocketAddr, AbortOnDropHandle<()>)>,
    checked: mpsc::Sender<Checked>,
}

/// The role of a server that was chosen.
struct Checked {
    server: String,
    choice: Choice,
    role: Result<Role, Failure>,
}

/// Follows the sentinels of a pool until it is aborted.
pub(super) async fn follow_sentinels(store: Arc<TopologyStore>, config: Arc<PoolConfig>) {
    let (said, mut words) = mpsc::channel(16);
    let (checked, mut checks) = mpsc::channel(16);
    let kick = watch::Sender::new(());
    let _sentinels: Vec<_> = config
        .sentinels
        .iter()
        .map(|sentinel| {
            let (config, said) = (Arc::clone(&config), said.clone());
            let follow = sentinel::follow(sentinel.clone(), config, said, kick.subscribe());
            AbortOnDropHandle::new(tokio::spawn(follow))
        })
        .collect();
    let mut sentinels = Sentinels {
        store: Arc::clone(&store),
        config,
        votes: HashMap::new(),
        unknown: BTreeSet::new(),
        silent: BTreeMap::new(),
        heard: BTreeSet::new(),
        all_are_silent: false,
        checks: HashMap::new(),
        checked,
    };
    loop {
        tokio::select! {
            Some((sentinel, word)) = words.recv() => sentinels.hear(sentinel, word),
            Some(checked) = checks.recv() => sentinels.decide(checked),
            () = store.roles_wanted() => {
                kick.send_replace(());
            }
        }
        if sentinels.is_informed() {
            store.set_roles_read();
        }
    }
}

impl Sentinels {
    /// Returns true if all primaries are known, or nobody is left to ask.
    fn is_informed(&self) -> bool {
        let mut servers = self.config.servers.iter();
        let all_heard = self.heard.len() == self.config.sentinels.len();
        (all_heard && self.checks.is_empty())
            || servers.all(|server| self.store.primary(&server.name).is_some())
    }

    fn hear(&mut self, sentinel: String, word: Word) {
        self.heard.insert(sentinel.clone());
        match word {
            Word::Silence(failure) => {
                for votes in self.votes.values_mut() {
                    votes.remove(&sentinel);
                }
                self.note_silence(sentinel, &failure);
            }
            Word::Answers(answers) => {
                let pool = &self.config.name;
                if self.silent.remove(&sentinel).is_some() {
                    tracing::info!(pool, sentinel, "sentinel answers again");
                }
                self.all_are_silent = false;
                for (server, answer) in answers {
                    self.note_answer(&sentinel, server, answer);
                }
            }
        }
    }

    fn note_silence(&mut self, sentinel: String, failure: &Failure) {
        let (pool, reason) = (&self.config.name, failure.to_string());
        if self.silent.get(&sentinel) != Some(&reason) {
            tracing::warn!(pool, sentinel, reason, "sentinel does not answer");
            self.silent.insert(sentinel, reason);
        }
        if self.silent.len() == self.config.sentinels.len() && !self.all_are_silent {
            self.all_are_silent = true;
            tracing::warn!(
                pool,
                "no sentinel answers; the primaries that are known stay in use"
            );
        }
    }

    fn note_answer(&mut self, sentinel: &str, server: String, answer: Option<Answer>) {
        let key = (sentinel.to_owned(), server);
        let (pool, server) = (&self.config.name, &key.1);
        let votes = self.votes.entry(server.clone()).or_default();
        if let Some(answer) = answer {
            self.unknown.remove(&key);
            votes.insert(sentinel.to_owned(), answer);
            let server = key.1;
            self.consider(&server);
        } else {
            votes.remove(sentinel);
            if !self.unknown.contains(&key) {
                tracing::warn!(
                    pool,
                    server,
                    sentinel,
                    "sentinel knows no primary of this name; the name of a server must be that of its primary in Sentinel"
                );
                self.unknown.insert(key);
            }
        }
    }

    fn chosen(&self, server: &str) -> Option<Choice> {
        let known = self.store.primary(server);
        let known = known.map(|primary| (primary.address, primary.epoch));
        choose(self.votes.get(server)?, known, self.config.sentinels.len())
    }

    fn consider(&mut self, server: &str) {
        let known = self.store.primary(server).map(|primary| primary.address);
        if let (Some(primary), Some(votes)) = (known, self.votes.get(server))
            && self.config.reads_replicas()
            && let Some(replicas) = replicas(votes, primary)
        {
            self.store.set_replicas(server, replicas);
        }
        let Some(choice) = self.chosen(server) else {
            return;
        };
        if known == Some(choice.address) {
            self.checks.remove(server);
            adopt(&self.store, server, &choice);
            return;
        }
        let checking = self.checks.get(server);
        if checking.is_some_and(|(address, _)| *address == choice.address) {
            return;
        }
        let address = choice.address;
        let (config, checked) = (Arc::clone(&self.config), self.checked.clone());
        let server = server.to_owned();
        let name = server.clone();
        let check = tokio::spawn(async move {
            let role = confirm(&config, &choice).await;
            let checked = checked.send(Checked {
                server,
                choice,
                role,
            });
            // Nobody may want to know any more.
            let _ = checked.await;
        });
        self.checks
            .insert(name, (address, AbortOnDropHandle::new(check)));
    }

    fn decide(&mut self, checked: Checked) {
        let Checked {
            server,
            choice,
            role,
        } = checked;
        // Another may have been chosen meanwhile.
        let checking = self.checks.get(&server);
        if checking.is_none_or(|(address, _)| *address != choice.address) {
            return;
        }
        self.checks.remove(&server);
        let pool = &self.config.name;
        match role {
            Ok(role) if role.is_primary() => {
                if self.chosen(&server).as_ref().map(|now| now.address) == Some(choice.address) {
                    adopt(&self.store, &server, &choice);
                    self.consider(&server);
                }
            }
            // It is asked again with the next answer of a sentinel.
            Ok(role) => {
                let (address, by) = (choice.address, &choice.by);
                tracing::debug!(pool, server, %address, by, ?role, "said to be the primary, and is none");
            }
            Err(error) => {
                let (address, by) = (choice.address, &choice.by);
                tracing::debug!(pool, server, %address, by, %error, "said to be the primary, and does not answer");
            }
        }
    }
}

/// Asks the chosen server for its role; and the one before, if it must be no primary any more.
async fn confirm(config: &PoolConfig, choice: &Choice) -> Result<Role, Failure> {
    if let Some(before) = choice.instead_of
        && let Ok(role) = role_at(config, before).await
        && role.is_primary()
    {
        return Err(Failure::Refused(format!("{before} is the primary still")));
    }
    role_at(config, choice.address).await
}

/// Asks the server at an address for its role, over a connection of its own.
async fn role_at(config: &PoolConfig, address: SocketAddr) -> Result<Role, Failure> {
    let mut conn = open(config, &ServerAddr::from(address)).await?;
    ask_role(&mut conn).await
}
