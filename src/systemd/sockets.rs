//! Socket activation (`sd_listen_fds(3)`).

use std::env;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

/// A socket that the service manager has opened.
#[derive(Debug)]
pub struct PassedSocket {
    /// Its name (`FileDescriptorName=`); empty if it has none.
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// A passed descriptor that is no listener.
#[derive(Debug, thiserror::Error)]
#[error(
    "the service manager passes descriptor '{name}', which is no stream socket: use ListenStream="
)]
pub struct SocketError {
    /// Its name, or its number.
    pub name: String,
}

/// The sockets that the service manager has passed to this process. The first call takes them.
pub fn passed_sockets() -> Result<Vec<PassedSocket>, SocketError> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::with_capacity(passed.len());
    let mut names = names.split(':');
    for index in 0..passed.len() {
        // systemd's name of a socket without one.
        let name = names.next().filter(|name| *name != "unknown");
        let socket = if let Ok(tcp) = passed.take_tcp_listener(index) {
            tcp.map(OwnedFd::from)
        } else {
            let unix = passed.take_unix_listener(index);
            unix.ok().flatten().map(OwnedFd::from)
        };
        let name = name.unwrap_or_default().to_owned();
        match socket {
            Some(socket) => sockets.push(PassedSocket { name, socket }),
            None if name.is_empty() => {
                let name = (3 + index).to_string();
                return Err(SocketError { name });
            }
            None => return Err(SocketError { name }),
        }
    }
    Ok(sockets)
}
