//! Addresses and sockets, TCP or unix.

mod address;
mod listener;
mod stream;

pub use address::{AddressError, ListenAddr, ServerAddr};
pub use listener::{Listener, SocketFile};
pub use stream::{Accepted, Stream};
