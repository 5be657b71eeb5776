//! The channels that a user may subscribe to and publish to.

use crate::protocol::ChannelKind;
use crate::protocol::redis::acl::error::RuleError;
use crate::protocol::redis::acl::pattern::Pattern;

/// The channels that a user may subscribe to and publish to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChannelRules {
    all: bool,
    patterns: Vec<Pattern>,
}

impl ChannelRules {
    pub(crate) const fn are_all(&self) -> bool {
        self.all
    }

    pub(crate) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    pub(crate) fn allow_all(&mut self) {
        self.all = true;
        self.patterns.clear();
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn add(&mut self, text: &[u8]) -> Result<(), RuleError> {
        if self.all {
            return Err(RuleError::ChannelsAfterAll);
        }
        if !self.patterns.iter().any(|known| known.text() == text) {
            self.patterns.push(Pattern::new(text));
        }
        Ok(())
    }

    /// Returns true if a client may use this channel. A pattern must be among the rules as it is.
    pub(crate) fn allow(&self, kind: ChannelKind, name: &[u8]) -> bool {
        let mut patterns = self.patterns.iter();
        self.all
            || match kind {
                ChannelKind::Pattern => patterns.any(|known| known.text() == name),
                _ => patterns.any(|known| known.matches(name)),
            }
    }
}
