//! A user.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::redis::acl::channels::ChannelRules;
use crate::protocol::redis::acl::commands::CommandRules;
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::acl::keys::KeyRules;
use crate::protocol::redis::acl::password::Password;
use crate::protocol::redis::acl::rule::Rule;
use crate::quota::{Scope, Tenant};

/// The user of clients that name none.
pub const DEFAULT: &str = "default";

/// A user: who may be it, and what it may do.
#[derive(Debug, Clone)]
pub struct User {
    /// Another user of the same name has another.
    identity: u64,
    name: Arc<[u8]>,
    /// What its clients use; another user of the same name has another.
    tenant: Arc<Tenant>,
    pub(crate) enabled: bool,
    /// Any password is right.
    pub(crate) no_password: bool,
    /// Whether it was said that `RESTORE` looks at what it is given.
    pub(crate) sanitizes_payload: Option<bool>,
    pub(crate) passwords: Vec<Password>,
    pub(crate) commands: CommandRules,
    pub(crate) keys: KeyRules,
    pub(crate) channels: ChannelRules,
    /// It may do everything.
    unrestricted: bool,
}

impl User {
    /// A user who may do nothing, as `ACL SETUSER` creates one.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            tenant: Arc::new(Tenant::new(Scope::User, name)),
            enabled: false,
            no_password: false,
            sanitizes_payload: None,
            passwords: Vec::new(),
            commands: CommandRules::default(),
            keys: KeyRules::default(),
            channels: ChannelRules::default(),
            unrestricted: false,
        }
    }

    /// A user with these rules, of which the first that cannot be applied is returned with the error.
    pub fn with_rules<'r, R: AsRef<[u8]>>(
        name: &[u8],
        rules: &'r [R],
    ) -> Result<Self, (&'r R, RuleError)> {
        let mut user = Self::new(name);
        user.apply_all(rules)?;
        Ok(user)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<[u8]> {
        &self.name
    }

    /// What its clients use, which it keeps when its rules change.
    pub(crate) const fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// A number that it keeps when its rules change.
    pub(crate) const fn identity(&self) -> u64 {
        self.identity
    }

    /// The same user with the rules of another.
    pub(crate) fn replaced_by(&self, other: Self) -> Self {
        Self {
            identity: self.identity,
            tenant: Arc::clone(&self.tenant),
            ..other
        }
    }

    /// Returns true if it may do everything.
    pub(crate) const fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// Returns true if a client may be this user without a password.
    pub(crate) const fn is_open(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Returns true if a client may be this user with this password.
    pub(crate) fn admits(&self, given: &Password) -> bool {
        if !self.enabled || self.no_password {
            return self.enabled;
        }
        // All are compared, whichever is right.
        let known = self.passwords.iter();
        known.fold(false, |found, known| found | known.is_same(given))
    }

    /// Applies rules up to the first that cannot be.
    pub(crate) fn apply_all<'r, R: AsRef<[u8]>>(
        &mut self,
        rules: &'r [R],
    ) -> Result<(), (&'r R, RuleError)> {
        for text in rules {
            let rule = Rule::parse(text.as_ref());
            rule.and_then(|rule| self.apply(rule))
                .map_err(|error| (text, self.first_error(text.as_ref(), error)))?;
        }
        self.unrestricted =
            self.keys.are_all() && self.channels.are_all() && self.commands.are_all();
        Ok(())
    }

    /// Redis notices that a pattern is too many before it looks at the pattern.
    fn first_error(&self, text: &[u8], error: RuleError) -> RuleError {
        match text {
            [b'~' | b'%', ..] if self.keys.are_all() => RuleError::KeysAfterAll,
            [b'&', ..] if self.channels.are_all() => RuleError::ChannelsAfterAll,
            _ => error,
        }
    }

    fn apply(&mut self, rule: Rule) -> Result<(), RuleError> {
        match rule {
            Rule::On => self.enabled = true,
            Rule::Off => self.enabled = false,
            Rule::NoPass => {
                self.no_password = true;
                self.passwords.clear();
            }
            Rule::ResetPass => {
                self.no_password = false;
                self.passwords.clear();
            }
            Rule::AddPassword(password) => {
                if !self.passwords.contains(&password) {
                    self.passwords.push(password);
                }
                self.no_password = false;
            }
            Rule::RemovePassword(password) => {
                let count = self.passwords.len();
                self.passwords.retain(|known| *known != password);
                if self.passwords.len() == count {
                    return Err(RuleError::NoSuchPassword);
                }
            }
            Rule::Keys(allowed, pattern) => self.keys.add(allowed, &pattern)?,
            Rule::AllKeys => self.keys.allow_all(),
            Rule::ResetKeys => self.keys.reset(),
            Rule::Channel(pattern) => self.channels.add(&pattern)?,
            Rule::AllChannels => self.channels.allow_all(),
            Rule::ResetChannels => self.channels.reset(),
            Rule::Commands { allow, commands } => self.commands.apply(allow, &commands),
            Rule::SanitizePayload(sanitizes) => self.sanitizes_payload = Some(sanitizes),
            Rule::NoEffect => {}
            Rule::Reset => {
                *self = Self {
                    identity: self.identity,
                    tenant: Arc::clone(&self.tenant),
                    sanitizes_payload: Some(true),
                    ..Self::new(&self.name)
                };
            }
        }
        Ok(())
    }
}
