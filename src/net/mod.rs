//! Addresses and sockets, TCP or unix.

mod abandoned;
mod address;
mod conn_limit;
mod connect_error;
mod gate;
mod listener;
pub mod passing;
mod stream;
pub mod tls;

pub use abandoned::AbandonedConns;
pub use address::{AddressError, ListenAddr, ServerAddr};
pub use conn_limit::{ConnLimit, ConnPermit};
pub use connect_error::ConnectError;
pub use gate::AcceptGate;
pub use listener::{Binding, BoundAddr, Listener, SocketFile};
pub use stream::{Accepted, Dial, Stream};
