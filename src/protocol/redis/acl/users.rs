//! The users of a pool.

use std::sync::Arc;

use crate::protocol::redis::acl::user::{DEFAULT, User};

/// The users of a pool, by name; always with a default one.
#[derive(Debug, Clone)]
pub struct Users {
    list: Vec<Arc<User>>,
    default: Arc<User>,
}

impl Users {
    /// The default user alone.
    #[must_use]
    pub fn new(default: User) -> Self {
        let default = Arc::new(default);
        Self {
            list: vec![Arc::clone(&default)],
            default,
        }
    }

    /// The user of this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        let found = self.position(name).ok()?;
        self.list.get(found)
    }

    /// The user of clients that name none.
    pub(crate) const fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// All users, sorted by name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.list.iter()
    }

    /// Adds a user, or replaces the one of the same name.
    pub(crate) fn insert(&mut self, user: User) {
        let user = Arc::new(user);
        if **user.name() == *DEFAULT.as_bytes() {
            self.default = Arc::clone(&user);
        }
        match self.position(user.name()) {
            Ok(at) => {
                if let Some(known) = self.list.get_mut(at) {
                    *known = user;
                }
            }
            Err(at) => self.list.insert(at, user),
        }
    }

    /// Removes a user; the default one stays.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<User>> {
        let found = self.position(name).ok()?;
        (name != DEFAULT.as_bytes()).then(|| self.list.remove(found))
    }

    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.list
            .binary_search_by(|known| (**known.name()).cmp(name))
    }
}
