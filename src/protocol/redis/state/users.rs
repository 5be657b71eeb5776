//! The users of a pool, as all its workers know them.
//!
//! ```text
//! file, ACL SETUSER, ctl setuser --change--> Users --epoch--> each client, before its next batch of requests
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::config::{UserConfig, UserQuota};
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::acl::user::{DEFAULT, User};
use crate::protocol::redis::acl::users::Users;
use crate::protocol::redis::state::quotas::{UserQuotas, UserRefusals};

/// The users of a pool. Who reads them waits for nobody.
pub struct SharedUsers {
    users: ArcSwap<Users>,
    /// Counts changes.
    epoch: AtomicU32,
    /// Locked while users are changed.
    configured: Mutex<Configured>,
}

/// What the configuration says.
struct Configured {
    users: Vec<UserConfig>,
    quotas: UserQuotas,
}

/// A user before and after a change.
#[derive(Debug)]
pub(crate) struct UserChange {
    pub(crate) before: Arc<User>,
    /// `None` if it was deleted.
    pub(crate) after: Option<Arc<User>>,
}

impl SharedUsers {
    /// Counts the changes of users.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The users, at least as they were when the epoch was last read.
    pub(crate) fn load(&self) -> Arc<Users> {
        self.users.load_full()
    }

    /// Applies rules to a user, which is created if there is none of that name: all of them, or none. The first rule that
    /// cannot be applied is returned with the error.
    pub(crate) fn set<'r, R: AsRef<[u8]>>(
        &self,
        name: &[u8],
        rules: &'r [R],
    ) -> Result<Option<UserChange>, (&'r R, RuleError)> {
        self.change(|users, _| {
            let before = users.get(name).cloned();
            let mut user = match &before {
                Some(user) => User::clone(user),
                None => User::new(name),
            };
            user.apply_all(rules)?;
            users.insert(user);
            let after = users.get(name).cloned();
            Ok(before.map(|before| UserChange { before, after }))
        })
    }

    /// Deletes the users of these names, as far as there are any.
    pub(crate) fn delete<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> Vec<UserChange> {
        self.change(|users, _| {
            let removed = names.filter_map(|name| users.remove(name));
            let change = |before| UserChange {
                before,
                after: None,
            };
            removed.map(change).collect()
        })
    }

    /// What users were refused because of their quotas.
    pub(crate) fn refusals(&self) -> Vec<UserRefusals> {
        self.configured().quotas.refusals()
    }

    /// Takes the users of the configuration, and their quotas. A user whose rules are those of the last configuration stays as it is, even
    /// if it was changed since.
    pub(crate) fn configure(&self, wanted: &[UserConfig], quotas: &[UserQuota]) -> Vec<UserChange> {
        self.change(|users, configured| {
            configured.quotas = configured.quotas.changed_to(quotas);
            let mut known: HashMap<_, _> = configured
                .users
                .iter()
                .map(|user| (user.name.as_str(), &user.rules))
                .collect();
            let mut changes = Vec::new();
            for UserConfig { name, rules } in wanted {
                if known.remove(name.as_str()) == Some(rules) {
                    continue;
                }
                // The rules were checked with the file.
                let made = User::with_rules(name.as_bytes(), rules);
                let made = made.unwrap_or_else(|_| User::new(name.as_bytes()));
                let before = users.get(name.as_bytes()).cloned();
                users.insert(match &before {
                    Some(before) => before.replaced_by(made),
                    None => made,
                });
                let after = users.get(name.as_bytes()).cloned();
                changes.extend(before.map(|before| UserChange { before, after }));
            }
            for name in known.into_keys() {
                let removed = users.remove(name.as_bytes());
                changes.extend(removed.map(|before| UserChange {
                    before,
                    after: None,
                }));
            }
            configured.users = wanted.to_vec();
            changes
        })
    }

    fn configured(&self) -> MutexGuard<'_, Configured> {
        // Users are published as a whole.
        let lock = self.configured.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn change<C>(&self, change: impl FnOnce(&mut Users, &mut Configured) -> C) -> C {
        let mut configured = self.configured();
        let mut users = Users::clone(&self.users.load());
        let changes = change(&mut users, &mut configured);
        configured.quotas.apply(&users);
        self.users.store(Arc::new(users));
        self.epoch.fetch_add(1, Ordering::Release);
        changes
    }
}

impl Default for SharedUsers {
    /// The default user, who may do everything without a password.
    fn default() -> Self {
        let default = UserConfig::default_user(None);
        let user = User::with_rules(DEFAULT.as_bytes(), &default.rules);
        let user = user.unwrap_or_else(|_| User::new(DEFAULT.as_bytes()));
        Self {
            users: ArcSwap::from_pointee(Users::new(user)),
            epoch: AtomicU32::default(),
            configured: Mutex::new(Configured {
                users: vec![default],
                quotas: UserQuotas::default(),
            }),
        }
    }
}

impl fmt::Debug for SharedUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedUsers").finish_non_exhaustive()
    }
}
