//! The type of the table of directives.

use super::kind::Kind;
use super::pool::PoolConfig;
use super::setting::Setting;

/// One directive of a pool.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The text that is parsed if the file has none; `None` if the directive is then absent.
    pub(super) default: Option<&'static str>,
    /// Its value in a pool.
    pub(super) show: fn(&PoolConfig) -> Setting,
    /// Sentences for `docs/config.md`.
    pub(super) doc: &'static str,
}
