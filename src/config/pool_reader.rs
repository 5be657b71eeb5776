//! Reading of one pool of the file: its directives, and the rules that concern several of them.

use std::collections::HashMap;
use std::path::Path;

use crate::hash::name_order;

use super::distribution::Distribution;
use super::draft::Draft;
use super::kind::Kind;
use super::pool::{PoolConfig, ProtocolKind};
use super::problem::{ConfigError, Position, nearest};
use super::schema;
use super::server::ServerConfig;
use super::user::UserCheck;
use super::yaml::{Shape, Tree};

/// The maximum number of servers: a server's index must fit 16 bits.
const SERVERS_MAX: usize = 65_536;

/// Checks the name of a command, or explains what is wrong with it.
pub type CommandCheck = fn(&str) -> Result<(), String>;

/// The checks of what belongs to the protocol, of which this module knows nothing.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// The check of the name of a command.
    pub command: CommandCheck,
    /// The check of the rules of a user.
    pub user: UserCheck,
}

/// What a pool is read by, besides its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) checks: Checks,
    /// The directory that paths are relative to.
    pub(super) directory: &'a Path,
}

/// A pool and the positions of its directives.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) pool: PoolConfig,
    at: Position,
    places: HashMap<&'static str, Position>,
}

impl Located {
    /// The position of a directive, or of the pool if the file does not have it.
    pub(super) fn at(&self, directive: &str) -> Position {
        self.places.get(directive).copied().unwrap_or(self.at)
    }

    /// An error of a directive.
    pub(super) fn error(&self, directive: &str, text: String) -> ConfigError {
        ConfigError::new(Some(self.at(directive)), text)
            .about(directive)
            .in_pool(&self.pool.name)
    }
}

/// Reads one pool and pushes all its errors; the returned pool is valid only if there are none.
pub(super) fn read(
    name: &str,
    at: Position,
    tree: &Tree,
    surroundings: Surroundings<'_>,
    errors: &mut Vec<ConfigError>,
) -> Option<Located> {
    let mut reader = Reader {
        at,
        errors: Vec::new(),
        places: HashMap::new(),
        servers: Vec::new(),
        unnamed: Vec::new(),
        replicas_at: Vec::new(),
        surroundings,
    };
    let located = reader.pool(name, tree);
    errors.extend(reader.errors.into_iter().map(|error| error.in_pool(name)));
    located
}

pub(super) struct Reader<'a> {
    pub(super) at: Position,
    errors: Vec<ConfigError>,
    /// The position of each directive in the file.
    pub(super) places: HashMap<&'static str, Position>,
    pub(super) servers: Vec<ServerConfig>,
    /// Servers without a name of their own.
    pub(super) unnamed: Vec<(String, Position)>,
    /// The positions of the draft's replicas.
    pub(super) replicas_at: Vec<Position>,
    pub(super) surroundings: Surroundings<'a>,
}

impl Reader<'_> {
    fn pool(&mut self, name: &str, tree: &Tree) -> Option<Located> {
        let entries = match &tree.shape {
            Shape::Map(entries) => entries,
            Shape::Refused => return None,
            other => {
                let text = format!("must be a mapping of directives, not {}", other.noun());
                self.errors.push(ConfigError::new(Some(tree.at), text));
                return None;
            }
        };
        let mut draft = Draft::default();
        let directory = self.surroundings.directory;
        for directive in schema::directives() {
            if let Some(Err(text)) = directive
                .default
                .map(|text| directive.kind.read(text, directory, &mut draft))
            {
                self.error(directive.name, self.at, format!("default: {text}"));
            }
        }
        for (key, value) in entries {
            self.entry(key, value, &mut draft);
        }
        self.check(&draft);
        self.build(name, draft)
    }

    fn entry(&mut self, key: &Tree, value: &Tree, draft: &mut Draft) {
        let key_text = match &key.shape {
            Shape::Text(text) => text,
            Shape::Refused => return,
            other => {
                let text = format!("a directive's name must be a text, not {}", other.noun());
                self.errors.push(ConfigError::new(Some(key.at), text));
                return;
            }
        };
        let Some(directive) = schema::named(key_text) else {
            let text = match nearest(
                key_text,
                schema::directives().map(|directive| directive.name),
            ) {
                Some(name) => format!("unknown directive; did you mean '{name}'?"),
                None => "unknown directive".to_owned(),
            };
            self.error(key_text, key.at, text);
            return;
        };
        if let Some(first) = self.places.get(directive.name) {
            let text = format!("is a duplicate; the first is on line {}", first.line);
            self.error(directive.name, key.at, text);
            return;
        }
        self.places.insert(directive.name, key.at);
        match (&value.shape, directive.kind) {
            (Shape::Refused, _) => {}
            (Shape::Text(text), _) if text.is_empty() => {
                self.error(directive.name, value.at, "has no value".to_owned());
            }
            (Shape::List(list), Kind::Servers) => self.servers(list, value.at),
            (Shape::List(list), Kind::Commands(set)) => {
                let names = self.commands(directive.name, list);
                set(draft, names);
            }
            (Shape::List(list), Kind::Peers(set)) => {
                let peers = self.peers(directive.name, list);
                set(draft, peers);
            }
            (Shape::List(list), Kind::Sentinels) => self.sentinels(list, draft),
            (Shape::List(list), Kind::Replicas) => self.replicas(list, draft),
            (Shape::List(list), Kind::Users) => self.users(list, draft),
            (Shape::List(list), Kind::UserQuotas) => self.user_quotas(list, draft),
            (Shape::Text(text), Kind::UsersFile) => self.users_file(text, value.at, draft),
            (Shape::Text(text), kind) => {
                let directory = self.surroundings.directory;
                if let Err(reason) = kind.read(text, directory, draft) {
                    self.error(directive.name, value.at, reason);
                }
            }
            (Shape::Map(map), Kind::HashTag(_)) if map.is_empty() => {
                let text = "bare braces are a YAML mapping; write \"{}\" in quotes";
                self.error(directive.name, value.at, text.to_owned());
            }
            (other, kind) => {
                let text = match kind.items() {
                    Some(items) => format!("must be a list of {items}, not {}", other.noun()),
                    None => format!("must be one value, not {}", other.noun()),
                };
                self.error(directive.name, value.at, text);
            }
        }
    }

    fn servers(&mut self, list: &[Tree], at: Position) {
        let mut names: HashMap<String, Position> = HashMap::new();
        for item in list {
            let text = match &item.shape {
                Shape::Text(text) if !text.is_empty() => text,
                Shape::Refused => continue,
                other => {
                    let text = format!("an entry must be a server, not {}", other.noun());
                    self.error("servers", item.at, text);
                    continue;
                }
            };
            match ServerConfig::parse(text) {
                Err(reason) => self.error("servers", item.at, reason),
                Ok(server) => {
                    if !text.contains(' ') {
                        self.unnamed.push((server.name.clone(), item.at));
                    }
                    if let Some(first) = names.insert(server.name.clone(), item.at) {
                        let text = format!(
                            "has servers with the same name '{}'; the first is on line {}",
                            server.name, first.line
                        );
                        self.error("servers", item.at, text);
                    }
                    self.servers.push(server);
                }
            }
        }
        if list.is_empty() {
            self.error("servers", at, "has no servers".to_owned());
        }
        if list.len() > SERVERS_MAX {
            let text = format!(
                "has {} servers; at most {SERVERS_MAX} are allowed",
                list.len()
            );
            self.error("servers", at, text);
        }
        let weights: u64 = self
            .servers
            .iter()
            .map(|server| u64::from(server.weight))
            .sum();
        if i32::try_from(weights).is_err() {
            let text = format!("the weights add up to {weights}, more than {}", i32::MAX);
            self.error("servers", at, text);
        }
    }

    fn commands(&mut self, key: &str, list: &[Tree]) -> Vec<String> {
        let mut names = Vec::new();
        for item in list {
            let text = match &item.shape {
                Shape::Text(text) if !text.is_empty() => text,
                Shape::Refused => continue,
                other => {
                    let text = format!("an entry must be a command, not {}", other.noun());
                    self.error(key, item.at, text);
                    continue;
                }
            };
            match (self.surroundings.checks.command)(text) {
                Ok(()) => names.push(text.clone()),
                Err(reason) => self.error(key, item.at, reason),
            }
        }
        names
    }

    /// Checks rules that concern several directives.
    fn check(&mut self, draft: &Draft) {
        for (required, instead) in [("listen", "tls_listen"), ("servers", "servers")] {
            let has = |name| self.places.contains_key(name);
            if !has(required) && !has(instead) {
                self.error(required, self.at, "is missing".to_owned());
            }
        }
        if draft.placement_guard {
            self.check_guard(draft);
        }
        self.check_failover(draft);
        self.check_passwords(draft);
        self.check_users(draft);
        self.check_quotas(draft);
        self.check_tls(draft);
        self.check_admission(draft);
        if draft.redis {
            return;
        }
        for name in [
            "redis_auth",
            "auth_timeout",
            "client_address_auth_failures",
            "server_user",
            "server_password",
            "databases",
            "server_leases",
            "disabled_commands",
            "server_parameters",
            "pubsub_buffer_limit",
            "pubsub_everywhere",
            "gather_sets",
            "keyless_scripts",
            "placement_guard",
            "sentinels",
            "sentinel_auth",
            "replicas",
            "server_failover_timeout",
            "read_from",
            "replica_max_lag",
            "read_hedge_limit",
            "users",
            "users_file",
        ] {
            if let Some(at) = self.places.get(name).copied() {
                self.error(name, at, "is only valid with 'redis: true'".to_owned());
            }
        }
    }

    /// Keys can be moved only between servers that alone own them.
    fn check_guard(&mut self, draft: &Draft) {
        let at = self.places.get("placement_guard").copied();
        let at = at.unwrap_or(self.at);
        if draft.auto_eject_hosts {
            let text = "is not possible with 'auto_eject_hosts: true': a server that is ejected gives its keys away";
            self.error("placement_guard", at, text.to_owned());
        }
        if draft.distribution == Distribution::Random {
            let text = "is not possible with 'distribution: random': any server may have any key";
            self.error("placement_guard", at, text.to_owned());
        }
    }

    fn build(&mut self, name: &str, draft: Draft) -> Option<Located> {
        let mut servers = std::mem::take(&mut self.servers);
        servers.sort_by(|a, b| name_order(&a.name, &b.name));
        let pool = PoolConfig {
            name: name.to_owned(),
            tls: draft.tls.build(draft.tls_listen.is_some()),
            listen: draft.listen,
            tls_listen: draft.tls_listen,
            admission: draft.admission,
            hash: draft.hash,
            hash_tag: draft.hash_tag,
            distribution: draft.distribution,
            timeout: draft.timeout,
            backlog: draft.backlog,
            client_connections: draft.client_connections,
            tcpkeepalive: draft.tcpkeepalive,
            reuseport: draft.reuseport,
            protocol: if draft.redis {
                ProtocolKind::Redis
            } else {
                ProtocolKind::Memcached
            },
            redis_auth: draft.redis_auth,
            server_user: draft.server_user,
            server_password: draft.server_password,
            redis_db: draft.redis_db,
            databases: draft.databases,
            server_parameters: draft.server_parameters,
            disabled_commands: draft.disabled_commands,
            gather_sets: draft.gather_sets,
            keyless_scripts: draft.keyless_scripts,
            preconnect: draft.preconnect,
            auto_eject_hosts: draft.auto_eject_hosts,
            server_connections: usize::try_from(draft.server_connections).ok()?,
            server_leases: usize::try_from(draft.server_leases).ok()?,
            server_retry_timeout: draft.server_retry_timeout,
            server_failure_limit: draft.server_failure_limit,
            server_probe_interval: draft.server_probe_interval,
            server_probe_successes: draft.server_probe_successes,
            server_resolve_interval: draft.server_resolve_interval,
            pubsub_buffer_limit: draft.pubsub_buffer_limit,
            pubsub_everywhere: draft.pubsub_everywhere,
            memory_limit: draft.memory_limit,
            on_placement_change: draft.on_placement_change,
            placement_guard: draft.placement_guard,
            sentinels: draft.sentinels,
            sentinel_auth: draft.sentinel_auth,
            replicas: draft.replicas,
            server_failover_timeout: draft.server_failover_timeout,
            read_from: draft.read_from,
            replica_max_lag: draft.replica_max_lag,
            read_hedge_limit: draft.read_hedge_limit,
            users: draft.users.or(draft.users_from_file).unwrap_or_default(),
            users_file: draft.users_file,
            quota: draft.quota,
            user_quotas: draft.user_quotas.into_iter().map(|(row, _)| row).collect(),
            servers,
        };
        Some(Located {
            pool,
            at: self.at,
            places: std::mem::take(&mut self.places),
        })
    }

    pub(super) fn error(&mut self, key: &str, at: Position, text: String) {
        self.errors
            .push(ConfigError::new(Some(at), text).about(key));
    }
}
