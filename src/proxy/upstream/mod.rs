//! One connection to a server: its queue, its socket, and its handshake.
//!
//! ```text
//! forward --admit--> conn (write buffer, FIFO of requests in flight) --one write a turn--> socket
//! responder <--complete replies-- driver <---------------------------------------------- socket
//! ```

pub(crate) mod abandoned;
pub(crate) mod admission;
pub(crate) mod batch;
pub(crate) mod conn;
pub(crate) mod connect_guard;
pub(crate) mod connection;
pub(crate) mod dedicated;
pub(crate) mod disconnect;
pub(crate) mod driver;
pub(crate) mod exchange;
pub(crate) mod failover;
pub(crate) mod fragment;
pub(crate) mod greeting;
pub(crate) mod guard;
pub(crate) mod half_close;
pub(crate) mod handshake;
pub(crate) mod in_flight;
pub(crate) mod io;
pub(crate) mod loaded_scripts;
pub(crate) mod observed;
pub(crate) mod queue;
pub(crate) mod reconnect;
pub(crate) mod refusals;
pub(crate) mod refused;
pub(crate) mod sent_heads;
pub(crate) mod server;
pub(crate) mod tx_replies;
pub(crate) mod tx_support;
mod wait_sampler;
