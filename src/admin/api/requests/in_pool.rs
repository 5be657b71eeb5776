//! The pool that a request is about.

use crate::admin::api::described::described;
use crate::admin::api::error::ControlError;
use crate::admin::api::requests::parameters::{once, query, unknown_parameter};

described! {
    /// The pool that a request for a list is about.
    #[serde(default, deny_unknown_fields)]
    pub struct InPool {
        /// Only this pool; without it all pools.
        pool: Option<String>,
    }
}

impl Eq for InPool {}

impl InPool {
    pub(super) fn read(query: &str) -> Result<Self, ControlError> {
        let mut found = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "pool" {
                return Err(unknown_parameter(&name));
            }
            once(&mut found.pool, &name, value.into_owned())?;
        }
        Ok(found)
    }

    pub(super) fn query(&self) -> String {
        query([("pool", self.pool.clone())])
    }
}
