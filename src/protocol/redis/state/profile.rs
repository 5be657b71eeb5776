//! Redis's connection profiles: a RESP version and a database.
//!
//! Profiles 0 and 1 are RESP2 and RESP3 in the initial database of every client; two for each database from 0 on
//! follow. Those that repeat the first two are never used.

use crate::protocol::ConnProfile;
use crate::protocol::redis::command::request::Request;
use crate::protocol::redis::command::{Local, Policy};
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::settings::Settings;

/// The number of profiles of a pool.
pub(crate) fn count(settings: &Settings) -> usize {
    2 + 2 * usize::try_from(settings.databases).unwrap_or(0)
}

/// The profile of this RESP version in this database, which the pool must support.
pub(crate) fn of(resp: Resp, db: u32, settings: &Settings) -> ConnProfile {
    let pair = if db == settings.db { 0 } else { db + 1 };
    let offset = match resp {
        Resp::Two => 0,
        Resp::Three => 1,
    };
    ConnProfile::new(2 * pair + offset)
}

/// Returns true if a request may switch its client to another profile.
pub(crate) fn may_change(request: &Request) -> bool {
    let policy = request.command.map(|command| command.policy);
    matches!(
        policy,
        Some(Policy::Local(Local::Hello | Local::Reset | Local::Select))
    )
}

/// The RESP version and the database of a profile.
pub(crate) fn meaning(profile: ConnProfile, settings: &Settings) -> (Resp, u32) {
    let number = u32::try_from(profile.index()).unwrap_or(0);
    (
        resp(profile),
        (number / 2).checked_sub(1).unwrap_or(settings.db),
    )
}

/// The RESP version of a profile.
pub(crate) fn resp(profile: ConnProfile) -> Resp {
    if profile.index().is_multiple_of(2) {
        Resp::Two
    } else {
        Resp::Three
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_cover_each_database_and_version() {
        for (start, databases) in [(0, 16), (5, 16), (15, 16), (20, 16), (0, 1)] {
            let settings = Settings {
                db: start,
                databases,
                ..Settings::new("alpha")
            };
            assert_eq!(of(Resp::Two, start, &settings), ConnProfile::FIRST);
            let mut seen = Vec::new();
            for db in (0..databases).chain([start]) {
                for resp in [Resp::Two, Resp::Three] {
                    let profile = of(resp, db, &settings);
                    assert!(profile.index() < count(&settings));
                    assert_eq!(meaning(profile, &settings), (resp, db));
                    assert!(db == start || !seen.contains(&profile.index()));
                    seen.push(profile.index());
                }
            }
        }
    }
}
