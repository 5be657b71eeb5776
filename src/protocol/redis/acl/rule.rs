//! The rules of `ACL SETUSER`, of the configuration and of files of users.

use crate::protocol::redis::acl::access::Access;
use crate::protocol::redis::acl::commands::Commands;
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::acl::password::Password;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    On,
    Off,
    NoPass,
    ResetPass,
    AddPassword(Password),
    RemovePassword(Password),
    Keys(Access, Box<[u8]>),
    AllKeys,
    ResetKeys,
    Channel(Box<[u8]>),
    AllChannels,
    ResetChannels,
    Commands {
        allow: bool,
        commands: Commands,
    },
    /// Whether `RESTORE` trusts its argument; a server knows nothing of users, so this is only shown.
    SanitizePayload(bool),
    /// An empty text, and what would remove selectors.
    NoEffect,
    Reset,
}

/// The rules that are words.
const WORDS: [(&[u8], Rule); 17] = [
    (b"on", Rule::On),
    (b"off", Rule::Off),
    (b"nopass", Rule::NoPass),
    (b"resetpass", Rule::ResetPass),
    (b"allkeys", Rule::AllKeys),
    (b"~*", Rule::AllKeys),
    (b"resetkeys", Rule::ResetKeys),
    (b"allchannels", Rule::AllChannels),
    (b"&*", Rule::AllChannels),
    (b"resetchannels", Rule::ResetChannels),
    (
        b"allcommands",
        Rule::Commands {
            allow: true,
            commands: Commands::All,
        },
    ),
    (
        b"nocommands",
        Rule::Commands {
            allow: false,
            commands: Commands::All,
        },
    ),
    (b"sanitize-payload", Rule::SanitizePayload(true)),
    (b"skip-sanitize-payload", Rule::SanitizePayload(false)),
    (b"clearselectors", Rule::NoEffect),
    (b"reset", Rule::Reset),
    (b"", Rule::NoEffect),
];

impl Rule {
    /// Parses one rule.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, RuleError> {
        let mut words = WORDS.iter();
        if let Some((_, rule)) = words.find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Ok(rule.clone());
        }
        match text {
            [b'>', password @ ..] => Ok(Self::AddPassword(Password::of(password))),
            [b'#', digits @ ..] => Password::from_hex(digits).map(Self::AddPassword),
            [b'<', password @ ..] => Ok(Self::RemovePassword(Password::of(password))),
            [b'!', digits @ ..] => Password::from_hex(digits).map(Self::RemovePassword),
            [b'~', pattern @ ..] => keys(Access::ALL, pattern),
            [b'%', rest @ ..] => limited_keys(rest),
            [b'&', pattern @ ..] if !has_spaces(pattern) => Ok(Self::Channel(pattern.into())),
            [sign @ (b'+' | b'-'), commands @ ..] => {
                let allow = *sign == b'+';
                let commands = Commands::parse(commands, allow)?;
                Ok(Self::Commands { allow, commands })
            }
            [b'(', ..] => Err(RuleError::Selector),
            _ => Err(RuleError::Syntax),
        }
    }
}

/// Parses the rest of `%R~pattern`.
fn limited_keys(text: &[u8]) -> Result<Rule, RuleError> {
    // Without a tilde the pattern is empty, as in Redis.
    let tilde = memchr::memchr(b'~', text).unwrap_or(text.len());
    let (letters, pattern) = text.split_at(tilde);
    let mut allowed = Access::default();
    for letter in letters {
        let access = match letter.to_ascii_uppercase() {
            b'R' => Access::READ,
            b'W' => Access::WRITE,
            _ => return Err(RuleError::Syntax),
        };
        if allowed.includes(access) {
            return Err(RuleError::Syntax);
        }
        allowed = allowed.and(access);
    }
    if letters.is_empty() {
        return Err(RuleError::Syntax);
    }
    keys(allowed, pattern.get(1..).unwrap_or_default())
}

fn keys(allowed: Access, pattern: &[u8]) -> Result<Rule, RuleError> {
    if has_spaces(pattern) {
        return Err(RuleError::Syntax);
    }
    Ok(Rule::Keys(allowed, pattern.into()))
}

/// Returns true if a rule with this text could not be written to a file.
pub(crate) fn has_spaces(text: &[u8]) -> bool {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
    text.iter().any(is_space)
}
