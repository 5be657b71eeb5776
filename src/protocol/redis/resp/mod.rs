//! The wire format, RESP2 and RESP3: requests and replies are scanned, read and written here.
//!
//! Knows no command and no client.

pub(crate) mod args;
pub(crate) mod glob;
pub(crate) mod inline;
pub(crate) mod inspect;
pub(crate) mod number;
pub(crate) mod reply;
pub(crate) mod request;
