//! The configuration file: its schema, and the pools that it defines.
//!
//! Text becomes a tree that keeps every value as written (`yaml`), the table of directives ([`schema`]) interprets the
//! values, and the result is pools that need no further check. The same table writes the values of a pool as text. All errors of a file are found at once. `main` loads;
//! every other module takes the pools as they are.

mod admission;
mod admission_reader;
mod admission_schema;
mod client_password;
mod directive;
mod distribution;
mod document;
mod draft;
mod failover;
mod failover_reader;
mod kind;
mod limit;
mod listeners;
mod password_reader;
mod placement;
mod pool;
mod pool_reader;
mod problem;
mod quota_reader;
mod quota_schema;
pub mod schema;
mod secret;
mod secret_source;
mod server;
mod server_auth;
mod setting;
mod tls;
mod tls_draft;
mod tls_reader;
mod tls_schema;
mod tls_value;
mod user;
mod user_quota;
mod users_reader;
mod value;
mod yaml;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::file;
use crate::hash::name_order;
use crate::net::tls::TlsFileError;

pub use admission::Admission;
pub use client_password::ClientPassword;
pub use distribution::Distribution;
pub use document::document;
pub use failover::{ReadFrom, ReplicaConfig};
pub use limit::BufferLimit;
pub use placement::OnPlacementChange;
pub use pool::{ListenConfig, PoolConfig, ProtocolKind, Transport};
pub use pool_reader::{Checks, CommandCheck};
pub use problem::{ConfigError, ConfigErrors, Position, nearest};
pub use secret::Secret;
pub use server::ServerConfig;
pub use server_auth::ServerAuth;
pub use setting::Setting;
pub use tls::{ListenTls, PoolTls, ServerTls};
pub use user::{UserCheck, UserConfig};
pub use user_quota::UserQuota;

use pool_reader::{Located, Surroundings};
use yaml::{Shape, Tree};

/// The maximum size of a file. One with a hundred thousand servers is a tenth of it.
const FILE_MAX_BYTES: usize = 64 << 20;
/// The time limit for the writer of a file that is a pipe, as in `-c <(generate)`.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// The pools of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// At least one; the shorter name first, then bytewise, as Twemproxy orders them.
    pub pools: Vec<PoolConfig>,
}

impl Config {
    /// Loads a file. Nothing is resolved or bound, and files of TLS are not read.
    pub fn load(path: &Path, checks: Checks) -> Result<Self, ConfigErrors> {
        let text = Self::read_text(path)?;
        read(&text, checks, directory(path)).into_config(path)
    }

    /// Loads a file, and the files of TLS towards servers, for who connects to them.
    pub fn load_to_connect(path: &Path, checks: Checks) -> Result<Self, ConfigErrors> {
        let mut reading = read(&Self::read_text(path)?, checks, directory(path));
        reading.load_tls(PoolTls::load_server);
        reading.into_config(path)
    }

    /// Loads a file and also resolves the hosts that it listens on, to find pools with the same address, and reads the files
    /// of TLS; may wait for a name server.
    pub fn check(path: &Path, checks: Checks) -> Result<Self, ConfigErrors> {
        Self::check_text(&Self::read_text(path)?, path, path, checks)
    }

    /// As [`Self::check`], for the text of a file that messages call `name`. Files that it names are looked for where `path` is.
    pub fn check_text(
        text: &str,
        name: &Path,
        path: &Path,
        checks: Checks,
    ) -> Result<Self, ConfigErrors> {
        let mut reading = read(text, checks, directory(path));
        listeners::check_places(&reading.pools, &mut reading.errors);
        reading.load_tls(PoolTls::load);
        reading.into_config(name)
    }

    /// Reads a file, without looking at what it says.
    pub fn read_text(path: &Path) -> Result<String, ConfigErrors> {
        read_file(path).map_err(|error| ConfigErrors::new(path, vec![error]))
    }

    /// Parses the text of a file that messages call `file_name`; accepts any text as a command, and any rules of users.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        let checks = Checks {
            command: |_| Ok(()),
            user: |_| Ok(()),
        };
        let path = Path::new(file_name);
        read(text, checks, directory(path)).into_config(path)
    }
}

/// The directory that paths in a file are relative to.
fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// The content of a file: pools, of which those with an error serve only further checks.
struct Reading {
    pools: Vec<Located>,
    errors: Vec<ConfigError>,
}

impl Reading {
    /// Reads the files of TLS.
    fn load_tls(&mut self, load: impl Fn(&mut PoolTls) -> Result<(), Vec<TlsFileError>>) {
        for located in &mut self.pools {
            let Err(errors) = load(&mut located.pool.tls) else {
                continue;
            };
            let errors = errors.into_iter();
            let errors = errors.map(|error| located.error(error.directive, error.text));
            self.errors.extend(errors);
        }
    }

    fn into_config(self, file: &Path) -> Result<Config, ConfigErrors> {
        if !self.errors.is_empty() {
            return Err(ConfigErrors::new(file, self.errors));
        }
        let mut pools: Vec<_> = self.pools.into_iter().map(|located| located.pool).collect();
        pools.sort_by(|a, b| name_order(&a.name, &b.name));
        Ok(Config { pools })
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let bytes = file::read(path, FILE_MAX_BYTES, READ_WITHIN);
    let bytes =
        bytes.map_err(|error| ConfigError::new(None, format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to());
        ConfigError::new(Some(end_of(valid.unwrap_or_default())), "is not UTF-8 text")
    })
}

/// The position behind the last of these bytes.
fn end_of(bytes: &[u8]) -> Position {
    let last = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
    let last = String::from_utf8_lossy(bytes.get(last..).unwrap_or_default()).into_owned();
    Position {
        line: 1 + memchr::memchr_iter(b'\n', bytes).count(),
        column: 1 + last.chars().count(),
    }
}

fn read(text: &str, checks: Checks, directory: &Path) -> Reading {
    let surroundings = Surroundings { checks, directory };
    let mut errors = Vec::new();
    let pools = match yaml::read(text, &mut errors) {
        Some(tree) => read_pools(&tree, surroundings, &mut errors),
        None => Vec::new(),
    };
    if pools.is_empty() && errors.is_empty() {
        errors.push(ConfigError::new(
            Some(Position { line: 1, column: 1 }),
            "has no pools",
        ));
    }
    listeners::check_texts(&pools, &mut errors);
    Reading { pools, errors }
}

fn read_pools(
    tree: &Tree,
    surroundings: Surroundings<'_>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Located> {
    let entries = match &tree.shape {
        Shape::Map(entries) => entries.as_slice(),
        Shape::Refused => &[],
        Shape::Text(text) if text.is_empty() => &[],
        other => {
            let text = format!("must be a mapping of pools, not {}", other.noun());
            errors.push(ConfigError::new(Some(tree.at), text));
            &[]
        }
    };
    let mut pools = Vec::new();
    let mut names: HashMap<&str, Position> = HashMap::new();
    for (key, value) in entries {
        let name = match &key.shape {
            Shape::Text(text) if !text.is_empty() => text,
            Shape::Refused => continue,
            other => {
                let text = format!("a pool's name must be a text, not {}", other.noun());
                errors.push(ConfigError::new(Some(key.at), text));
                continue;
            }
        };
        if let Some(first) = names.get(name.as_str()) {
            let text = format!("has the same name as the pool on line {}", first.line);
            errors.push(ConfigError::new(Some(key.at), text).in_pool(name));
        } else {
            names.insert(name, key.at);
        }
        pools.extend(pool_reader::read(name, key.at, value, surroundings, errors));
    }
    pools
}
