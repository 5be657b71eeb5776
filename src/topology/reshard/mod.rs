//! Moves of keys from one placement to another: the types that proxies and the coordinator share.
//!
//! ```text
//! Mark (one at each server) --proxies--> Facts --compose--> Router (Moving): owner before, owner after, bucket moved?
//!        ^--coordinator                              +--> Holds: keys whose requests wait
//! ```
//!
//! Pure: `protocol::redis::mark` reads and writes marks, `control::marks` watches them, `reshard` coordinates.
//! [ADR 17](../../../docs/adr/0017-moves-decided-at-the-source.md) has the protocol and its invariants.

mod bucket;
mod effective;
mod mark;
mod moving;
mod placement;
mod reading;
mod vouching;

pub use bucket::{BUCKETS, Bucket, BucketSet};
pub(super) use effective::Marks;
pub use effective::{Effective, Marked, MoveState, SeenMark};
pub use mark::{Decision, Intent, Mark, MarkError, State, hold_number};
pub(super) use moving::Moving;
pub use moving::{SourceState, Whereabouts};
pub use placement::{Placement, PlacementError};
pub use reading::MarkReading;
pub use vouching::{Voucher, Vouching};
