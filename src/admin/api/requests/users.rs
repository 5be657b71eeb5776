//! The requests to change the users of a pool.

use std::fmt;

use crate::admin::api::described::described;
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::parameters::malformed;

/// The request to create a user, or to change its rights. `Debug` hides the rules, which may have passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct SetUser {
    /// The pool.
    pub pool: String,
    /// The name of the user.
    pub user: String,
    /// The rules, as those of `ACL SETUSER`.
    pub rules: Vec<String>,
}

/// The request to delete a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteUser {
    /// The pool.
    pub pool: String,
    /// The name of the user.
    pub user: String,
}

described! {
    /// The fields of [`SetUser`].
    #[serde(default, deny_unknown_fields)]
    pub struct SetUserFields {
        /// Name of the pool. Required.
        pool: Option<String>,
        /// Name of the user. Required.
        user: Option<String>,
        /// Rules, as those of `ACL SETUSER`: all are applied, or none. A new user begins with nothing.
        rules: Vec<String>,
    }

    /// The fields of [`DeleteUser`].
    #[serde(default, deny_unknown_fields)]
    pub struct DeleteUserFields {
        /// Name of the pool. Required.
        pool: Option<String>,
        /// Name of the user. Required.
        user: Option<String>,
    }
}

impl fmt::Debug for SetUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, user, .. } = self;
        f.debug_struct("SetUser")
            .field("pool", pool)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

impl TryFrom<SetUserFields> for SetUser {
    type Error = ControlError;

    fn try_from(fields: SetUserFields) -> Result<Self, ControlError> {
        let (pool, user) = names(fields.pool, fields.user)?;
        let rules = fields.rules;
        Ok(Self { pool, user, rules })
    }
}

impl From<SetUser> for SetUserFields {
    fn from(set: SetUser) -> Self {
        Self {
            pool: Some(set.pool),
            user: Some(set.user),
            rules: set.rules,
        }
    }
}

impl TryFrom<DeleteUserFields> for DeleteUser {
    type Error = ControlError;

    fn try_from(fields: DeleteUserFields) -> Result<Self, ControlError> {
        let (pool, user) = names(fields.pool, fields.user)?;
        Ok(Self { pool, user })
    }
}

impl From<DeleteUser> for DeleteUserFields {
    fn from(delete: DeleteUser) -> Self {
        Self {
            pool: Some(delete.pool),
            user: Some(delete.user),
        }
    }
}

fn names(pool: Option<String>, user: Option<String>) -> Result<(String, String), ControlError> {
    let pool = pool.ok_or_else(|| malformed("'pool' is required"))?;
    let user = user.ok_or_else(|| malformed("'user' is required"))?;
    Ok((pool, user))
}
