//! Reading of the users of a pool: a list in the file, or a file of their own.

use std::collections::HashMap;
use std::path::Path;

use crate::file;

use super::draft::Draft;
use super::pool_reader::Reader;
use super::problem::Position;
use super::user::UserConfig;
use super::yaml::Tree;
use super::{FILE_MAX_BYTES, READ_WITHIN};

impl Reader<'_> {
    /// Reads the entries of `users`.
    pub(super) fn users(&mut self, list: &[Tree], draft: &mut Draft) {
        let commented: Vec<Position> = list
            .iter()
            .filter(|item| item.comment_follows)
            .map(|item| item.at)
            .collect();
        for at in commented {
            let text = "has an unquoted '#' behind a space, which begins a comment: put the entry in quotes";
            self.error("users", at, text.to_owned());
        }
        let mut lines = HashMap::new();
        for (text, at) in self.texts("users", "a user's name and rules", list) {
            let read = UserConfig::parse(text, self.surroundings.directory).and_then(|user| {
                self.check_user(&user)?;
                check_unique(&mut lines, &user, at.line)?;
                Ok(user)
            });
            match read {
                Ok(user) => draft.users.get_or_insert_default().push(user),
                Err(reason) => self.error("users", at, reason),
            }
        }
        draft.users.get_or_insert_default();
    }

    /// Reads the file that `users_file` names, beside the configuration file if its path is relative.
    pub(super) fn users_file(&mut self, name: &str, at: Position, draft: &mut Draft) {
        let path = self.surroundings.directory.join(name);
        draft.users_file = Some(name.to_owned());
        let users = draft.users_from_file.insert(Vec::new());
        match read_lines(&path) {
            Err(error) => {
                let text = format!("{} cannot be read: {error}", path.display());
                self.error("users_file", at, text);
            }
            Ok(text) => {
                let mut lines = HashMap::new();
                for (line, text) in (1..).zip(text.lines().map(str::trim)) {
                    if text.is_empty() {
                        continue;
                    }
                    let read = parse_line(text, self.surroundings.directory).and_then(|user| {
                        self.check_user(&user)?;
                        check_unique(&mut lines, &user, line)?;
                        Ok(user)
                    });
                    match read {
                        Ok(user) => users.push(user),
                        Err(reason) => {
                            let text = format!("{}:{line}: {reason}", path.display());
                            self.error("users_file", at, text);
                        }
                    }
                }
            }
        }
    }

    fn check_user(&self, user: &UserConfig) -> Result<(), String> {
        (self.surroundings.checks.user)(user)
            .map_err(|reason| format!("user '{}': {reason}", user.name))
    }

    /// Checks that there is one source of users.
    pub(super) fn check_users(&mut self, draft: &Draft) {
        if draft.users.is_some() && draft.users_from_file.is_some() {
            let at = self.places.get("users_file").copied().unwrap_or(self.at);
            let text = "is not possible with 'users': put all users into one of them";
            self.error("users_file", at, text.to_owned());
        }
    }
}

/// Parses a line of a file of users, as Redis writes it.
fn parse_line(text: &str, directory: &Path) -> Result<UserConfig, String> {
    match text.split_once(' ') {
        Some(("user", rest)) => UserConfig::parse(rest, directory),
        _ => Err("a line must be 'user', a name and rules".to_owned()),
    }
}

fn check_unique(
    lines: &mut HashMap<String, usize>,
    user: &UserConfig,
    line: usize,
) -> Result<(), String> {
    match lines.insert(user.name.clone(), line) {
        Some(first) => Err(format!(
            "user '{}' is a duplicate; the first is on line {first}",
            user.name
        )),
        None => Ok(()),
    }
}

fn read_lines(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, FILE_MAX_BYTES, READ_WITHIN).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
