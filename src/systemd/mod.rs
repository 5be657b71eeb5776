//! The service manager: sockets that it has opened (`LISTEN_FDS`), and messages about the state of this process
//! (`NOTIFY_SOCKET`).
//!
//! Without these variables, as under any other supervisor, there are no sockets and messages go nowhere.

mod notify;
mod sockets;

pub use notify::{Notifier, Watchdog};
pub use sockets::{PassedSocket, SocketError, passed_sockets};
