//! Reading of the quotas of users.

use std::collections::{HashMap, HashSet};

use super::draft::Draft;
use super::pool_reader::Reader;
use super::problem::{Position, nearest};
use super::user::UserConfig;
use super::user_quota::UserQuota;
use super::yaml::Tree;

impl Reader<'_> {
    /// Reads the entries of `user_quotas`.
    pub(super) fn user_quotas(&mut self, list: &[Tree], draft: &mut Draft) {
        let mut lines = HashMap::new();
        for (text, at) in self.texts("user_quotas", "a user's name and limits", list) {
            let read = UserQuota::parse(text).and_then(|row| {
                match lines.insert(row.name.clone(), at.line) {
                    Some(first) => Err(format!(
                        "user '{}' is a duplicate; the first is on line {first}",
                        row.name
                    )),
                    None => Ok(row),
                }
            });
            match read {
                Ok(row) => draft.user_quotas.push((row, at)),
                Err(reason) => self.error("user_quotas", at, reason),
            }
        }
    }

    /// Checks that the users of quotas exist.
    pub(super) fn check_quotas(&mut self, draft: &Draft) {
        if !draft.redis
            && let Some(at) = self.places.get("user_quotas").copied()
        {
            let text = "is only valid with 'redis: true': clients of memcached have no users. 'requests_per_second' and \
                        'bytes_per_second' are for all of them together";
            self.error("user_quotas", at, text.to_owned());
            return;
        }
        let users = draft.users.iter().chain(&draft.users_from_file).flatten();
        let mut names: Vec<_> = users.map(|user| user.name.as_str()).collect();
        names.push(UserConfig::DEFAULT);
        let known: HashSet<&str> = names.iter().copied().collect();
        let unknown: Vec<(String, Position)> = draft
            .user_quotas
            .iter()
            .filter(|(row, _)| !row.is_of_all_others() && !known.contains(row.name.as_str()))
            .map(|(row, at)| (without_user(&row.name, &names), *at))
            .collect();
        for (text, at) in unknown {
            self.error("user_quotas", at, text);
        }
    }
}

fn without_user(name: &str, names: &[&str]) -> String {
    let hint = match nearest(name, names.iter().copied()) {
        Some(known) => format!("did you mean '{known}'?"),
        None => "'*' is for each user without a row".to_owned(),
    };
    format!("the pool has no user '{name}'; {hint}")
}
