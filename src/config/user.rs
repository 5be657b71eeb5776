//! A user of a pool, as the file names it. What the rules mean is the protocol's affair.

use std::fmt;
use std::path::Path;

use crate::hash::{sha256, sha256_to_hex};

use super::secret_source;

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
    /// The name of the user of clients that name none.
    pub(super) const DEFAULT: &str = "default";

    /// The default user of a pool that says nothing else: one with a password of this
    /// SHA-256, or any, who may do everything.
    #[must_use]
    pub fn default_user(password: Option<[u8; 32]>) -> Self {
        let password = password.map_or_else(|| "nopass".to_owned(), |digest| shown('#', digest));
        let rules = ["on", &password, "~*", "&*", "+@all"];
        Self {
            name: Self::DEFAULT.to_owned(),
            rules: rules.map(str::to_owned).into(),
        }
    }

    /// Parses a name and rules with spaces between them. A password may be in a file or in the environment, as that of
    /// `redis_auth`. The error does not show it.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let is_name = |word: &&str| !word.starts_with(['>', '<', '#', '!']);
        let name = words
            .next()
            .filter(is_name)
            .ok_or("an entry must begin with a user's name")?;
        let hashed = |sign, text: &str| {
            if text.starts_with("sha256:") {
                return Err(format!(
                    "user '{name}': a password: a hash is written as '#' and its 64 digits, without '>sha256:'"
                ));
            }
            let password = secret_source::secret(text, directory)
                .map_err(|reason| format!("user '{name}': a password: {reason}"))?;
            Ok(shown(sign, sha256(password.expose())))
        };
        let rules = words.map(|rule| match rule.split_at_checked(1) {
            Some((">", password)) => hashed('#', password),
            Some(("<", password)) => hashed('!', password),
            _ => Ok(rule.to_owned()),
        });
        Ok(Self {
            name: name.to_owned(),
            rules: rules.collect::<Result<_, String>>()?,
        })
    }

    /// Returns true if it is the user of clients that name none.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == Self::DEFAULT
    }
}

impl fmt::Debug for UserConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The rule about the password with this digest.
fn shown(sign: char, digest: [u8; 32]) -> String {
    format!("{sign}{}", sha256_to_hex(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<UserConfig, String> {
        UserConfig::parse(text, Path::new("/"))
    }

    #[test]
    fn password_may_be_elsewhere() {
        let path = std::env::var("PATH").unwrap();
        let of = |text: &str| parse(&format!("alice >{text}")).map(|user| user.rules[0].clone());
        assert_eq!(of("${PATH}").unwrap(), shown('#', sha256(path.as_bytes())));
        assert_eq!(
            of("literal:${PATH}").unwrap(),
            shown('#', sha256(b"${PATH}"))
        );
        for (text, expected) in [
            ("${RINGROAD_NO_SUCH}", "has no variable 'RINGROAD_NO_SUCH'"),
            ("file:no-such", "'/no-such' cannot be read"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.starts_with("user 'alice': a password: "), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn password_is_kept_as_its_hash() {
        let hash = "#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let user = parse("alice  on >secret <old ~a:*").unwrap();
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
        for nameless in ["", ">hunter2 on", "#00 on"] {
            let error = parse(nameless).unwrap_err();
            assert_eq!(error, "an entry must begin with a user's name");
        }
    }
}
