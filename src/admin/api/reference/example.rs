//! The example of an operation.

use serde::Serialize;

use crate::admin::api::described::{Described, Field};
use crate::admin::api::requests::Request;

/// A request and its answer.
pub(super) struct Example {
    pub(super) request: Request,
    pub(super) json: String,
    /// The objects of the answer, each with a title.
    pub(super) answer: Vec<(&'static str, &'static [Field])>,
}

impl Example {
    pub(super) fn new<T: Described + Serialize>(request: Request, answer: &T) -> Self {
        Self {
            request,
            // An answer is plain data.
            json: serde_json::to_string_pretty(answer).unwrap_or_default(),
            answer: vec![("The answer:", T::FIELDS)],
        }
    }

    pub(super) fn with<T: Described>(mut self, title: &'static str) -> Self {
        self.answer.push((title, T::FIELDS));
        self
    }
}
