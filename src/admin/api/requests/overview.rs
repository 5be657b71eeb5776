//! The parameters of what a page asks for.

use crate::admin::api::described::described;
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::malformed::{malformed, unknown_parameter};

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
            let is_new = match &*name {
                "pool" => found.pool.replace(value.into_owned()).is_none(),
                "after" => {
                    let number = value.parse();
                    let number = number.map_err(|_| malformed("'after' is not a number"))?;
                    found.after.replace(number).is_none()
                }
                _ => return Err(unknown_parameter(&name)),
            };
            if !is_new {
                return Err(malformed(format!("the parameter '{name}' is given twice")));
            }
        }
        Ok(found)
    }

    pub(super) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(pool) = &self.pool {
            query.append_pair("pool", pool);
        }
        if let Some(after) = self.after {
            query.append_pair("after", &after.to_string());
        }
        query.finish()
    }
}
