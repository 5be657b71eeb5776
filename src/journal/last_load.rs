//! What became of the configuration file when it was last loaded.

use std::time::SystemTime;

use super::event::Event;
use super::kind::EventKind;

/// What became of the configuration file since the start, when it was last loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLoad {
    /// When it was last applied, perhaps by the start.
    pub applied: SystemTime,
    /// Why it was refused since then; none if the file, as it was last loaded, is in use.
    pub refusal: Option<String>,
}

impl Default for LastLoad {
    /// A start, now.
    fn default() -> Self {
        Self {
            applied: SystemTime::now(),
            refusal: None,
        }
    }
}

impl LastLoad {
    /// Adds what an event says of the file.
    pub(super) fn add(&mut self, event: &Event, now: SystemTime) {
        match event.kind {
            EventKind::Reloaded => {
                *self = Self {
                    applied: now,
                    refusal: None,
                }
            }
            EventKind::ReloadRefused => self.refusal = Some(reason(event)),
            _ => {}
        }
    }
}

/// The first reason, and how many more there are.
fn reason(event: &Event) -> String {
    match &event.details[..] {
        [] => event.text.clone(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn refusal_stays_until_a_file_is_applied() {
        let refused = |details: &[&str]| {
            let event = Event::new(EventKind::ReloadRefused, "refused");
            event.with_details(details.iter().map(|&detail| detail.to_owned()))
        };
        let mut load = LastLoad::default();
        let start = load.applied;
        for (event, refusal) in [
            (refused(&[]), Some("refused")),
            (refused(&["F:3: no"]), Some("F:3: no")),
            (Event::new(EventKind::LogLevelSet, "5"), Some("F:3: no")),
            (refused(&["a", "b", "c"]), Some("a (and 2 more)")),
            (Event::new(EventKind::Reloaded, "applied"), None),
        ] {
            assert_eq!(load.applied, start);
            load.add(&event, UNIX_EPOCH);
            assert_eq!(load.refusal.as_deref(), refusal);
        }
        assert_eq!(load.applied, UNIX_EPOCH);
    }
}
