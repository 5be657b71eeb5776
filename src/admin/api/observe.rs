//! What operators ask about the requests that pass.

use super::answer::Answer;
use super::answers::observed::{BigKeys, HotKeys, SlowLog, Tapped};
use super::requests::observed::{EntriesOf, HotKeysOf, TapOf};

/// The part of [`super::Control`] that tells of requests.
pub trait ObserveRequests {
    /// The keys that most requests name.
    fn hot_keys(&self, wanted: HotKeysOf) -> Answer<'_, HotKeys>;

    /// The largest requests and replies.
    fn big_keys(&self, wanted: EntriesOf) -> Answer<'_, BigKeys>;

    /// Some of the requests that pass.
    fn tap(&self, wanted: TapOf) -> Answer<'_, Tapped>;

    /// The slow requests.
    fn slow_log(&self, wanted: EntriesOf) -> Answer<'_, SlowLog>;
}
