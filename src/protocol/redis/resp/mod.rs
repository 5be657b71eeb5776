//! The wire format, RESP2 and RESP3: scanning, parsing and encoding of frames.
//!
//! Independent of commands and clients.

pub(crate) mod args;
pub(crate) mod encode;
pub(crate) mod error_line;
pub(crate) mod glob;
pub(crate) mod inline;
pub(crate) mod inspect;
pub(crate) mod number;
pub(crate) mod reply;
pub(crate) mod scan_error;
pub(crate) mod version;
