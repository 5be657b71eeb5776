//! Buffers of the data plane: copy small, share large.
//!
//! Every worker owns one [`Scratch`] that all its sockets read into, so an idle connection holds no read buffer.
//!
//! ```text
//!            Scratch (one per worker)                     WriteBuf (one per connection)
//! socket --> [frame frame frame part] --copy each frame--> [tail......] --one write--> socket
//!                               |                             ^
//!                               v                             | chained behind what is before it
//!            ReadBuf.kept [part + the rest of a large frame] -+ (split off, not copied)
//! ```
//!
//! Called by `protocol/` (gather) and `proxy/`.

mod frame;
mod read;
mod reader;
mod write;

pub use frame::Frame;
pub use read::{Filled, ReadBuf, Scratch};
pub(crate) use reader::Reader;
pub use write::WriteBuf;

/// The size from which a frame with its own allocation is shared instead of copied.
pub const SHARE_BYTES: usize = 4 << 10;
