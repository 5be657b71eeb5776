//! The quotas of the users of a pool.

use std::sync::Arc;

use crate::config::UserQuota;
use crate::protocol::redis::acl::user::User;
use crate::protocol::redis::acl::users::Users;
use crate::quota::{Quota, RefusedCounts};

/// The rows of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserQuotas {
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    row: UserQuota,
    refused: Arc<RefusedCounts>,
}

/// What the users of a row have been refused.
#[derive(Debug)]
pub struct UserRefusals {
    /// The name of the user, or `*`.
    pub user: String,
    /// The numbers.
    pub refused: Arc<RefusedCounts>,
}

impl UserQuotas {
    /// The same rows as these. One that was there goes on counting.
    pub(crate) fn changed_to(&self, rows: &[UserQuota]) -> Self {
        let of_row = |row: &UserQuota| {
            let known = self.rows.iter().find(|known| known.row.name == row.name);
            Row {
                row: row.clone(),
                refused: known.map_or_else(Arc::default, |known| Arc::clone(&known.refused)),
            }
        };
        Self {
            rows: rows.iter().map(of_row).collect(),
        }
    }

    /// Gives all users their quotas.
    pub(crate) fn apply(&self, users: &Users) {
        for user in users.iter() {
            let row = self.row_of(user);
            let quota = row.map_or_else(Quota::default, |row| row.row.quota);
            user.tenant().count_refusals(row.map(|row| &row.refused));
            user.tenant().set_quota(&quota);
        }
    }

    /// What was refused, row by row.
    pub(crate) fn refusals(&self) -> Vec<UserRefusals> {
        let of_row = |row: &Row| UserRefusals {
            user: row.row.name.clone(),
            refused: Arc::clone(&row.refused),
        };
        self.rows.iter().map(of_row).collect()
    }

    fn row_of(&self, user: &User) -> Option<&Row> {
        let is_own = |row: &&Row| row.row.name.as_bytes() == &**user.name();
        let own = self.rows.iter().find(is_own);
        own.or_else(|| self.rows.iter().find(|row| row.row.is_of_all_others()))
    }
}
