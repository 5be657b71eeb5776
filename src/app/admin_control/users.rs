//! The users of pools, as the admin API shows and changes them.

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
                let users = setup.shared.users.load();
                let shown = users.iter().map(|user| shown(setup, user));
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
            let user = users.get(name).map(|user| shown(&setup, user));
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
            let clients = users.get(name).map_or(0, |user| clients_of(&setup, user));
            if setup.shared.delete_users(&[name], None).is_empty() {
                return Err(unknown(&pool, &user));
            }
            note(&setup, &user, "deleted");
            Ok(DeletedUser {
                pool,
                user,
                clients,
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

fn shown(setup: &PoolSetup, user: &PoolUser) -> User {
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
        clients: clients_of(setup, user),
    }
}

/// The number of clients that are this user.
fn clients_of(setup: &PoolSetup, user: &PoolUser) -> usize {
    let all = setup.shared.clients.all();
    let same = all
        .iter()
        .filter(|entry| entry.details().user == user.identity());
    same.count()
}
