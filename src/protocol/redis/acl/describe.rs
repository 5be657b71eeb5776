//! A user as rules.

use crate::protocol::redis::acl::access::Access;
use crate::protocol::redis::acl::keys::KeyPattern;
use crate::protocol::redis::acl::user::User;

impl User {
    /// Its line in `ACL LIST`, and in a file of users.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = vec![b"user".to_vec(), self.name().to_vec()];
        words.extend(self.flags().into_iter().map(Into::into));
        let passwords = self.passwords.iter();
        words.extend(passwords.map(|password| format!("#{password}").into_bytes()));
        words.extend(Some(self.shown_keys()).filter(|keys| !keys.is_empty()));
        if !self.channels.are_all() {
            words.push(b"resetchannels".to_vec());
        }
        let channels = self.shown_channels();
        words.extend(Some(channels).filter(|channels| !channels.is_empty()));
        words.push(self.shown_commands().into_bytes());
        words.join(&b' ')
    }

    /// The rules that are words.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let state = if self.enabled { "on" } else { "off" };
        let passwords = self.no_password.then_some("nopass");
        let payload = self.sanitizes_payload.map(|sanitizes| {
            if sanitizes {
                "sanitize-payload"
            } else {
                "skip-sanitize-payload"
            }
        });
        [Some(state), passwords, payload]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The rules for keys, with spaces between them.
    pub(crate) fn shown_keys(&self) -> Vec<u8> {
        if self.keys.are_all() {
            return b"~*".to_vec();
        }
        let shown = |known: &KeyPattern| {
            let prefix: &[u8] = match known.allowed {
                Access::READ => b"%R~",
                Access::WRITE => b"%W~",
                _ => b"~",
            };
            [prefix, known.pattern.text()].concat()
        };
        let patterns: Vec<_> = self.keys.patterns().iter().map(shown).collect();
        patterns.join(&b' ')
    }

    /// The rules for channels, with spaces between them.
    pub(crate) fn shown_channels(&self) -> Vec<u8> {
        if self.channels.are_all() {
            return b"&*".to_vec();
        }
        let patterns = self.channels.patterns().iter();
        let patterns: Vec<_> = patterns
            .map(|pattern| [b"&", pattern.text()].concat())
            .collect();
        patterns.join(&b' ')
    }

    /// The rules for commands, with spaces between them.
    pub(crate) fn shown_commands(&self) -> String {
        let (from_all, rules) = self.commands.shown();
        let sign = |allow: bool| if allow { '+' } else { '-' };
        let mut text = format!("{}@all", sign(from_all));
        for (allow, name) in rules {
            text.extend([' ', sign(*allow)]);
            text.push_str(name);
        }
        text
    }
}
