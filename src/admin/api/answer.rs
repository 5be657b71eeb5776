//! The type of all answers.

use std::future::Future;
use std::pin::Pin;

use crate::admin::api::error::ControlError;

/// An answer that may take a moment.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ControlError>> + Send + 'a>>;
