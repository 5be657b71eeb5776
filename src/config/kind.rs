//! The syntax of directives, and the fields that they set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::hash::{HashKind, HashTag};
use crate::net::{ListenAddr, PeerRule};

use super::client_password::ClientPassword;
use super::distribution::Distribution;
use super::draft::Draft;
use super::failover::ReadFrom;
use super::limit::BufferLimit;
use super::placement::OnPlacementChange;
use super::secret::Secret;
use super::secret_source;
use super::value;

/// The largest number of a configuration file, as in Twemproxy.
pub(super) const NUMBER_MAX: u32 = i32::MAX.cast_unsigned();

/// The syntax of a directive's value, and the field that it sets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Address(fn(&mut Draft, ListenAddr, &str)),
    /// A list; read by [`super::pool_reader`].
    Servers,
    /// A list; read by [`super::pool_reader`].
    Commands(fn(&mut Draft, Vec<String>)),
    /// A list; read by [`super::pool_reader`].
    Peers(fn(&mut Draft, Vec<PeerRule>)),
    /// A list; read by [`super::pool_reader`].
    Sentinels,
    /// A list; read by [`super::pool_reader`].
    Replicas,
    /// A list; read by [`super::users_reader`].
    Users,
    /// A list; read by [`super::quota_reader`].
    UserQuotas,
    /// A path; read by [`super::users_reader`].
    UsersFile,
    Hash(fn(&mut Draft, HashKind)),
    HashTag(fn(&mut Draft, HashTag)),
    Distribution(fn(&mut Draft, Distribution)),
    OnPlacementChange(fn(&mut Draft, OnPlacementChange)),
    ReadFrom(fn(&mut Draft, ReadFrom)),
    Milliseconds(fn(&mut Draft, Duration)),
    /// With the least that is allowed.
    MillisecondsFrom(u32, fn(&mut Draft, Duration)),
    Number {
        min: u32,
        max: u32,
        set: fn(&mut Draft, u32),
    },
    Boolean(fn(&mut Draft, bool)),
    BufferLimit(fn(&mut Draft, BufferLimit)),
    Bytes(fn(&mut Draft, usize)),
    Text(fn(&mut Draft, &str)),
    /// A file, which is not read.
    Path(fn(&mut Draft, PathBuf)),
    /// The same, or `None` for the word `system`.
    PathOrSystem(fn(&mut Draft, Option<PathBuf>)),
    /// A password.
    Secret(fn(&mut Draft, Secret)),
    /// A password that is only compared.
    ClientPassword(fn(&mut Draft, ClientPassword)),
    /// A value that its directive parses itself.
    Parsed {
        /// What it is, for the documentation.
        form: &'static str,
        set: fn(&mut Draft, &str) -> Result<(), String>,
    },
}

impl Kind {
    /// The noun for the items of its list, for messages; none if it is no list.
    pub(super) const fn items(self) -> Option<&'static str> {
        match self {
            Self::Servers => Some("servers"),
            Self::Commands(_) => Some("commands"),
            Self::Peers(_) => Some("networks"),
            Self::Sentinels => Some("sentinels"),
            Self::Replicas => Some("replicas"),
            Self::Users => Some("users"),
            Self::UserQuotas => Some("quotas"),
            _ => None,
        }
    }

    /// Parses the text of the value into the draft, or explains what is wrong and what would be valid. `directory` is what paths are
    /// relative to.
    pub(super) fn read(
        self,
        text: &str,
        directory: &Path,
        draft: &mut Draft,
    ) -> Result<(), String> {
        match self {
            Self::Address(set) => {
                let address = text.parse().map_err(|error| format!("'{text}' {error}"))?;
                set(draft, address, text);
            }
            Self::Servers => return Err("must be a list of servers, one '- ' line each".to_owned()),
            Self::Commands(_) => return Err("must be a list of commands".to_owned()),
            Self::Peers(_) => return Err("must be a list of networks".to_owned()),
            Self::Sentinels => return Err("must be a list of sentinels".to_owned()),
            Self::Replicas => return Err("must be a list of replicas".to_owned()),
            Self::Users => return Err("must be a list of users, one '- ' line each".to_owned()),
            Self::UserQuotas => {
                return Err("must be a list of quotas, one '- ' line each".to_owned());
            }
            Self::UsersFile => return Err("must be the path of a file".to_owned()),
            Self::Hash(set) => set(draft, value::hash(text)?),
            Self::HashTag(set) => set(draft, value::hash_tag(text)?),
            Self::Distribution(set) => set(draft, value::distribution(text)?),
            Self::OnPlacementChange(set) => set(draft, value::on_placement_change(text)?),
            Self::ReadFrom(set) => set(draft, value::read_from(text)?),
            Self::Milliseconds(set) => set(draft, milliseconds(text, 0)?),
            Self::MillisecondsFrom(min, set) => set(draft, milliseconds(text, min)?),
            Self::Number { min, max, set } => set(draft, value::number(text, min, max)?),
            Self::Boolean(set) => set(draft, value::boolean(text)?),
            Self::BufferLimit(set) => set(draft, value::buffer_limit(text)?),
            Self::Bytes(set) => set(draft, value::bytes(text)?),
            Self::Text(set) => set(draft, text),
            Self::Path(set) => set(draft, value::path(text, directory)),
            Self::PathOrSystem(set) => {
                let path = (text != "system").then(|| value::path(text, directory));
                set(draft, path);
            }
            Self::Secret(set) => set(draft, secret_source::secret(text, directory)?),
            Self::ClientPassword(set) => {
                set(draft, secret_source::client_password(text, directory)?);
            }
            Self::Parsed { set, .. } => set(draft, text)?,
        }
        Ok(())
    }
}

fn milliseconds(text: &str, min: u32) -> Result<Duration, String> {
    let number = value::number(text, min, NUMBER_MAX)?;
    Ok(Duration::from_millis(number.into()))
}
