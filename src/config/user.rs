//! A user of a pool, as the file names it. What the rules mean is the protocol's affair.

use std::fmt;

use crate::hash::sha256;

/// The user of clients that name none.
const DEFAULT: &str = "default";

/// A user and its rules, with the hashes of passwords in place of them.
#[derive(Clone, PartialEq, Eq)]
pub struct UserConfig {
    /// Its name.
    pub name: String,
    /// Its rules, in their order.
    pub rules: Vec<String>,
}

/// Checks the rules of a user, or explains what is wrong with which of them.
pub type UserCheck = fn(&UserConfig) -> Result<(), String>;

impl UserConfig {
    /// The default user of a pool that says nothing else: one with a password of this
    /// SHA-256, or any, who may do everything.
    #[must_use]
    pub fn default_user(password: Option<[u8; 32]>) -> Self {
        let password = password.map_or_else(|| "nopass".to_owned(), |digest| shown('#', digest));
        let rules = ["on", &password, "~*", "&*", "+@all"];
        Self {
            name: DEFAULT.to_owned(),
            rules: rules.map(str::to_owned).into(),
        }
    }

    /// Parses a name and rules with spaces between them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let name = words
            .next()
            .ok_or("an entry must begin with a user's name")?;
        let rules = words.map(|rule| match rule.as_bytes() {
            [b'>', password @ ..] => hashed('#', password),
            [b'<', password @ ..] => hashed('!', password),
            _ => rule.to_owned(),
        });
        Ok(Self {
            name: name.to_owned(),
            rules: rules.collect(),
        })
    }

    pub(super) fn is_default(&self) -> bool {
        self.name == DEFAULT
    }
}

impl fmt::Debug for UserConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The rule about a password, as one about its hash.
fn hashed(sign: char, password: &[u8]) -> String {
    shown(sign, sha256(password))
}

fn shown(sign: char, digest: [u8; 32]) -> String {
    let digits = digest.map(|byte| format!("{byte:02x}"));
    format!("{sign}{}", digits.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_kept_as_its_hash() {
        let hash = "#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let user = UserConfig::parse("alice  on >secret <old ~a:*").unwrap();
        assert_eq!(user.name, "alice");
        assert_eq!(
            user.rules,
            [
                "on",
                hash,
                "!cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4",
                "~a:*"
            ]
        );
        assert_eq!(
            UserConfig::default_user(Some(sha256(b"secret"))).rules[1],
            hash
        );
        assert!(!format!("{user:?}").contains("2bb8"));
        assert!(UserConfig::parse("").is_err());
    }
}
