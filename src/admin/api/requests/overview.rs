//! The parameters of what a page asks for.

use crate::admin::api::described::described;
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::parameters::{number, once, query, unknown_parameter};

described! {
    /// The events that a request is about.
    #[serde(default, deny_unknown_fields)]
    pub struct EventsAfter {
        /// Only those of this pool; without it all, and those of the proxy.
        pool: Option<String>,
        /// Only those after the one with this number.
        after: Option<u64>,
    }
}

impl Eq for EventsAfter {}

impl EventsAfter {
    pub(super) fn read(query: &str) -> Result<Self, ControlError> {
        let mut found = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "pool" => once(&mut found.pool, &name, value.into_owned())?,
                "after" => once(&mut found.after, &name, number(&name, &value)?)?,
                _ => return Err(unknown_parameter(&name)),
            }
        }
        Ok(found)
    }

    pub(super) fn query(&self) -> String {
        query([
            ("pool", self.pool.clone()),
            ("after", self.after.map(|after| after.to_string())),
        ])
    }
}
