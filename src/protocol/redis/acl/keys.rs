//! The keys that a user may read and write.

use crate::protocol::redis::acl::access::Access;
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::acl::pattern::Pattern;

/// The keys that a user may read and write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyRules {
    all: bool,
    patterns: Vec<KeyPattern>,
}

/// A pattern of keys, and what may be done to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPattern {
    pub(crate) allowed: Access,
    pub(crate) pattern: Pattern,
}

impl KeyRules {
    pub(crate) const fn are_all(&self) -> bool {
        self.all
    }

    pub(crate) fn patterns(&self) -> &[KeyPattern] {
        &self.patterns
    }

    pub(crate) fn allow_all(&mut self) {
        self.all = true;
        self.patterns.clear();
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Adds a pattern; one that is there already gets these permissions as well.
    pub(crate) fn add(&mut self, allowed: Access, text: &[u8]) -> Result<(), RuleError> {
        if self.all {
            return Err(RuleError::KeysAfterAll);
        }
        let mut known = self.patterns.iter_mut();
        match known.find(|known| known.pattern.text() == text) {
            Some(known) => known.allowed = known.allowed.and(allowed),
            None => self.patterns.push(KeyPattern {
                allowed,
                pattern: Pattern::new(text),
            }),
        }
        Ok(())
    }

    /// Returns true if one pattern allows all of the access.
    pub(crate) fn allow(&self, key: &[u8], access: Access) -> bool {
        let mut patterns = self.patterns.iter();
        self.all
            || patterns.any(|known| known.allowed.includes(access) && known.pattern.matches(key))
    }

    /// Returns true if any key may be accessed so.
    pub(crate) fn allow_any(&self, access: Access) -> bool {
        let mut patterns = self.patterns.iter();
        self.all
            || patterns.any(|known| known.allowed.includes(access) && known.pattern.text() == b"*")
    }
}
