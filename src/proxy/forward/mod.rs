//! From a planned request to the servers it goes to.

pub(crate) mod eval_fallback;
pub(crate) mod fan_out;
