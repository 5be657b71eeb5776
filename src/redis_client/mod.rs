//! A connection to one Redis server that waits for its replies: for tools, not for the data plane.
//!
//! ```text
//!   queue --> output --write--> socket --read--> input --scan--> replies, in the order of the requests
//!                                                        \-----> pushes (RESP3), in the order in which they came
//! ```
//!
//! The socket never blocks: whoever waits for replies also sends what is still to be sent, so neither side waits for
//! the other to read, however large requests and replies are. All lengths are bytes of the wire; keys and values may be
//! anything.
//!
//! A connection that has returned an error other than [`ServerError::Refused`] is of no more use: replies of earlier
//! requests may still come. It is never opened again by itself.
//!
//! Callers: `verify`, `mover`, and what is built on them. One thread uses a connection at a time.

mod connection;
mod error;
mod info;
mod options;
mod readiness;
mod socket;
mod tls;

pub use connection::Connection;
pub use error::{ServerError, refused};
pub use info::Info;
pub use options::ConnectOptions;
