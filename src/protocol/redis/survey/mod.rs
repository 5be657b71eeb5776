//! `SCAN`, `KEYS` and `RANDOMKEY` while keys are being moved: they show a key only at its owner.
//!
//! Invariant: whether a key is shown is decided by a topology in which its bucket is not held. Then the reply of its server was
//! executed while that owner was certain ([`Survey`]), and the key there was no copy.

mod common;
mod keys;
mod random;
mod scan;

use crate::protocol::Survey;
use crate::protocol::redis::command::Command;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::redis::survey::keys::KeysSurvey;
use crate::protocol::redis::survey::random::RandomSurvey;
use crate::protocol::redis::survey::scan::ScanSurvey;

/// See [`crate::protocol::Surveys::survey`].
pub(crate) fn survey(
    command: Option<&'static Command>,
    frame: &[u8],
    client: &Client,
    settings: &Settings,
) -> Option<Box<dyn Survey>> {
    Some(match command?.name {
        "KEYS" => Box::new(KeysSurvey::new(frame)),
        "RANDOMKEY" => {
            let (resp, _) = profile::meaning(client.profile(), settings);
            Box::new(RandomSurvey::new(resp))
        }
        "SCAN" => Box::new(ScanSurvey::new(frame)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
