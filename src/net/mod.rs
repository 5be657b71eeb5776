//! Addresses and sockets, TCP or unix.

mod abandoned;
mod address;
mod address_table;
mod conn_limit;
mod connect_error;
mod gate;
mod listener;
mod network;
pub mod passing;
mod proxy_header;
mod stream;
pub mod tls;

pub use abandoned::AbandonedConns;
pub use address::{AddressError, ListenAddr, ServerAddr};
pub use address_table::{AddressLimit, AddressLimits, AddressPermit, AddressTable};
pub use conn_limit::{ConnLimit, ConnPermit};
pub use connect_error::ConnectError;
pub use gate::AcceptGate;
pub use listener::{Binding, BoundAddr, Listener, SocketFile};
pub use network::{Network, Peer, PeerKey, PeerRule};
pub use proxy_header::{HeaderError, Progress, ProxyHeader, parse_proxy_header, read_proxy_header};
pub use stream::{Accepted, Dial, Stream};
