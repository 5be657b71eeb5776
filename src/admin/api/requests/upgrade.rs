//! The request to replace the process.

use crate::admin::api::described::described;

described! {
    /// The request to replace the process by a new one.
    #[serde(default, deny_unknown_fields)]
    pub struct Upgrade {
        /// Absolute path of the binary of the new process; without it the one that this process was started with.
        binary: Option<String>,
    }
}

impl Eq for Upgrade {}
