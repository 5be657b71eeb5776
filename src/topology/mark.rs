//! The keys that say where keys are.

/// The start of the key of a mark: `ringroad:mark:POOL:DB` in database 0 of a server (`docs/adr/0017`).
pub const MARK_PREFIX: &str = "ringroad:mark:";

/// Returns true for the key of a mark, which belongs to its server and is no key of a pool: it is never copied, unlinked
/// or counted, wherever the router would place it.
#[must_use]
pub fn is_mark(key: &[u8]) -> bool {
    key.starts_with(MARK_PREFIX.as_bytes())
}
