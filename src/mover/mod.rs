//! The engine that copies keys between servers while clients change them, and keeps the copies equal.
//!
//! ```text
//!                 change feed (Feed): keys that have changed --+
//!   source -------------------------------------------------->  DirtySet --+
//!      |    \---- SCAN (Scan), each database once ---------------------+   |
//!      |                                                               v   v
//!      +--- PEXPIRETIME, DUMP ----------> Copier, batch by batch, at a Pace
//!                                            | RESTORE REPLACE ABSTTL, UNLINK
//!   destinations <---------------------------+
//!      +--- changes of copies by others, evictions (Feed, NOLOOP) --> DirtySet
//! ```
//!
//! It has no command line and prints nothing. Callers: `copy`, and whoever moves keys.
//!
//! # How to use it
//!
//! A [`Mover`] has one source, its destinations, and a [`Placement`]: a function from a key to the position of its
//! destination, or to none if the key does not move. It is asked again just before each copy, so a caller that lets
//! a key go (its bucket is committed) only has to make the function return none: no copy of it is sent after that.
//! Several sources are several movers, each on its own thread.
//!
//! ```text
//! let mut mover = Mover::open(plan)?;      the feed is on before anything is read
//! mover.try_formats()?;                    do the destinations load what the source dumps?
//! mover.remove_leftovers()?;               after a crash: copies of keys that the source has no more
//! while .. { mover.step(wait)?; }          scans, copies, follows; mover.state() says how far it is
//! mover.sync(&wanted, deadline)?;          when nobody writes the wanted keys: equal, or how many are not
//! clean(..)?;                              unlinks at the source
//! ```
//!
//! [`MoverError::may_go_on`]: the same mover goes on after a pause (a destination is full, a script runs).
//! [`MoverError::may_start_anew`]: a new mover may succeed, which scans everything again (the feed was cut, keys were
//! flushed, a connection was lost). A mover never reconnects.
//!
//! # Invariants
//!
//! - A change at the source is told, since the feed is on before the scan, or its key is of a type whose changes are not
//!   all told ([`State::untold`]: streams, values of modules), which [`Mover::sync`] copies in any case.
//! - A key is forgotten only when its copy, read after its last known change, was confirmed by the destination.
//! - Marks (`topology::is_mark`) are never copied, unlinked, or counted.
//! - Copies have the absolute expiry of the source. Their idle time and frequency of use are not copied: reading them is
//!   a third command for each key, and `DUMP` itself counts as a use before Redis 7.2 (since then `CLIENT NO-TOUCH`).
//!
//! What the feed does not tell, and the engine cannot know: SWAPDB at the source.

mod clean;
mod copier;
mod destination;
mod dirty;
mod dump;
mod endpoint;
mod engine;
mod error;
mod feed;
mod pace;
mod scan;
mod source;

pub use clean::{Clean, clean, clean_if};
pub use copier::{DatabasePair, Tally};
pub use endpoint::Endpoint;
pub use engine::{GivenAway, Mover, Placement, Plan, State, Step, Synced};
pub use error::{MoverError, PayloadError};
pub use pace::Limits;
