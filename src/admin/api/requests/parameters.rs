//! Parameters of a query.

use std::str::FromStr;

use crate::admin::api::error::ControlError;

/// Sets a parameter that may be given once.
pub(super) fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), ControlError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed(format!("the parameter '{name}' is given twice"))),
    }
}

pub(super) fn number<T: FromStr>(name: &str, value: &str) -> Result<T, ControlError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| value.parse().ok()).flatten();
    number.ok_or_else(|| malformed(format!("'{name}' is not a number")))
}

/// The query with the parameters that are set.
pub(super) fn query<const N: usize>(parameters: [(&str, Option<String>); N]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    query.finish()
}

pub(super) fn unknown_parameter(name: &str) -> ControlError {
    malformed(format!("unknown parameter '{name}'"))
}

pub(super) fn malformed(text: impl Into<String>) -> ControlError {
    ControlError::Malformed(text.into())
}
