//! The errors of requests that cannot be read.

use crate::admin::api::error::ControlError;

pub(super) fn unknown_parameter(name: &str) -> ControlError {
    malformed(format!("unknown parameter '{name}'"))
}

pub(super) fn malformed(text: impl Into<String>) -> ControlError {
    ControlError::Malformed(text.into())
}
