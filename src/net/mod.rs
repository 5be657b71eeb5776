//! Addresses and sockets, TCP or unix.

mod address;
mod listener;
mod places;
mod stream;

pub use address::{AddressError, ListenAddr, ServerAddr};
pub use listener::{Listener, SocketFile};
pub use places::{Place, Places};
pub use stream::{Accepted, Stream};
