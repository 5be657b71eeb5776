//! The users of pools, as the admin API shows and changes them.

use std::collections::HashMap;

use crate::admin::api::answers::{DeletedUser, User, Users};
use crate::admin::api::requests::{DeleteUser, SetUser};
use crate::admin::api::{Answer, ControlError, UserRequests};
use crate::app::admin_control::{AppControl, is_listed};
use crate::control;
use crate::journal::EventKind;
use crate::protocol::redis::acl::user::{DEFAULT, User as PoolUser};
use crate::runtime::PoolSetup;

impl UserRequests for AppControl {
    fn users(&self, pool: Option<String>) -> Answer<'_, Users> {
        Box::pin(async move {
            let mut setups = self.find(pool.as_deref())?;
            if pool.is_some() {
                setups.iter().try_for_each(has_users)?;
            }
            setups.retain(is_listed);
            let users = setups.iter().flat_map(|setup| {
                let (users, clients) = (setup.shared.users.load(), clients(setup));
                let shown = users.iter().map(|user| shown(setup, user, &clients));
                shown.collect::<Vec<_>>()
            });
            Ok(Users {
                users: users.collect(),
            })
        })
    }

    fn set_user(&self, set: SetUser) -> Answer<'_, User> {
        Box::pin(async move {
            let setup = self.pool_with_users(&set.pool)?;
            let (name, rules) = (set.user.as_bytes(), &set.rules[..]);
            if let Err((wrong, error)) = setup.shared.set_user(name, rules) {
                let reason = control::faulty_rule(rules, wrong, error);
                return Err(ControlError::Malformed(reason));
            }
            note(&setup, &set.user, "set");
            let users = setup.shared.users.load();
            let user = users
                .get(name)
                .map(|user| shown(&setup, user, &clients(&setup)));
            // A client may have deleted it.
            user.ok_or_else(|| unknown(&set.pool, &set.user))
        })
    }

    fn delete_user(&self, delete: DeleteUser) -> Answer<'_, DeletedUser> {
        Box::pin(async move {
            let DeleteUser { pool, user } = delete;
            let setup = self.pool_with_users(&pool)?;
            if user == DEFAULT {
                let text = "the default user cannot be deleted; set it 'off'";
                return Err(ControlError::Malformed(text.to_owned()));
            }
            let name = user.as_bytes();
            let users = setup.shared.users.load();
            let number = users
                .get(name)
                .and_then(|user| clients(&setup).remove(&user.identity()));
            if setup.shared.delete_users(&[name], None).is_empty() {
                return Err(unknown(&pool, &user));
            }
            note(&setup, &user, "deleted");
            Ok(DeletedUser {
                pool,
                user,
                clients: number.unwrap_or(0),
            })
        })
    }
}

impl AppControl {
    fn pool_with_users(&self, name: &str) -> Result<PoolSetup, ControlError> {
        let setup = self.find(Some(name))?.pop();
        let setup = setup.ok_or_else(|| ControlError::UnknownPool(name.to_owned()))?;
        has_users(&setup)?;
        Ok(setup)
    }
}

fn has_users(setup: &PoolSetup) -> Result<(), ControlError> {
    if is_listed(setup) {
        Ok(())
    } else {
        Err(ControlError::NoUsers(setup.name.to_string()))
    }
}

fn unknown(pool: &str, user: &str) -> ControlError {
    ControlError::UnknownUser {
        pool: pool.to_owned(),
        user: user.to_owned(),
    }
}

fn note(setup: &PoolSetup, user: &str, change: &str) {
    let pool = &*setup.name;
    tracing::info!(pool, user, "user {change} by an operator");
    let text = format!("user '{}' {change} by an operator", user.escape_debug());
    setup.store.journal().record(EventKind::UserChanged, text);
}

fn shown(setup: &PoolSetup, user: &PoolUser, clients: &HashMap<u64, usize>) -> User {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    User {
        pool: setup.name.to_string(),
        user: text(user.name()),
        enabled: user.enabled,
        nopass: user.no_password,
        passwords: user.passwords.len(),
        keys: text(&user.shown_keys()),
        channels: text(&user.shown_channels()),
        commands: user.shown_commands(),
        clients: clients.get(&user.identity()).copied().unwrap_or(0),
    }
}

/// The number of clients that are each user, by its identity.
fn clients(setup: &PoolSetup) -> HashMap<u64, usize> {
    let mut numbers = HashMap::new();
    for entry in setup.shared.clients.all() {
        *numbers.entry(entry.details().user).or_default() += 1;
    }
    numbers
}
