//! What a page asks for.

use super::answer::Answer;
use super::answers::{Events, Overview, Rings};
use super::requests::EventsAfter;

/// The proxy, as a page draws it. Nothing is counted or kept for that alone.
pub trait OverviewRequests {
    /// The state and the counts of a pool, and of the proxy.
    fn overview(&self, pool: Option<String>) -> Answer<'_, Overview>;

    /// The events of a pool.
    fn events(&self, wanted: EventsAfter) -> Answer<'_, Events>;

    /// The ring of a pool.
    fn rings(&self, pool: Option<String>) -> Answer<'_, Rings>;
}
