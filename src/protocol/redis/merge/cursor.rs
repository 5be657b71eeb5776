//! The cursors of `SCAN`.
//!
//! ```text
//! client's cursor = (server's cursor * stops + number of the stop) * tags + tag
//! ```
//!
//! A scan stops at one server after another. The tag says what the stops are: a cursor with another tag is of another scan.

/// The number of tags. More would leave clients that store a cursor in 53 bits less room for that of a server.
pub(crate) const TAGS: u64 = 4096;

/// The number of tags in a pool with `placement_guard`, whose placement changes while clients scan.
pub(crate) const GUARDED_TAGS: u64 = 65_536;

/// The stops of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stops {
    pub(crate) count: u64,
    pub(crate) tags: u64,
    /// Below `tags`.
    pub(crate) tag: u64,
}

impl Stops {
    /// The client's cursor at a stop; `None` if it exceeds 64 bits.
    pub(crate) fn encode(&self, own: u64, stop: usize) -> Option<u64> {
        let stop = u64::try_from(stop).ok()?;
        let position = own.checked_mul(self.count)?.checked_add(stop)?;
        position.checked_mul(self.tags)?.checked_add(self.tag)
    }

    /// The cursor of the server, and the number of the stop; `None` if the cursor is of another scan.
    pub(crate) fn decode(&self, cursor: u64) -> Option<(u64, usize)> {
        let position = (cursor % self.tags == self.tag).then_some(cursor / self.tags)?;
        let stop = usize::try_from(position.checked_rem(self.count)?).ok()?;
        Some((position / self.count, stop))
    }

    /// The cursor of the server, and the number of the stop, behind a reply with the server's cursor `own`; `None` after the
    /// last stop.
    pub(crate) fn next(&self, own: u64, stop: usize) -> Option<(u64, usize)> {
        let next = stop.saturating_add(1);
        match own {
            0 if u64::try_from(next).is_ok_and(|next| next < self.count) => Some((0, next)),
            0 => None,
            _ => Some((own, stop)),
        }
    }
}

/// The tag that follows from a digest in a pool with `placement_guard`: never 0, so no cursor is.
pub(crate) const fn guarded_tag(digest: u64) -> u64 {
    1 + digest % (GUARDED_TAGS - 1)
}
