//! A listening socket, TCP or unix.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Access, Mode, access, fchmod};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::{Accepted, ListenAddr};

/// A listening socket. A unix socket's file is removed when it is dropped, if it is this process's.
#[derive(Debug)]
pub enum Listener {
    /// On TCP.
    Tcp(TcpListener),
    /// On a unix socket. The file is removed first, while the socket still listens: a successor that starts meanwhile
    /// does not mistake it for a stale one.
    Unix(SocketFile, UnixListener),
}

/// The file of a unix socket. The process that it belongs to, which created it or has taken it over, removes it at the
/// end, unless another one is at its path by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// None if it was gone at once.
    bound: Option<BoundAddr>,
    is_own: AtomicBool,
}

/// What a listener is bound to, however its address is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundAddr {
    /// An IPv4 address is never written as one of IPv6.
    Tcp(SocketAddr),
    /// The file of a unix socket.
    Unix {
        /// Its device.
        device: u64,
        /// Its number there.
        inode: u64,
    },
}

/// The outcome of binding.
#[derive(Debug)]
pub enum Binding<L> {
    /// A new listener.
    New(L),
    /// The address of a listener that is open.
    Open(BoundAddr),
}

impl<L> Binding<L> {
    fn try_map<M>(self, map: impl FnOnce(L) -> io::Result<M>) -> io::Result<Binding<M>> {
        match self {
            Self::New(new) => map(new).map(Binding::New),
            Self::Open(bound) => Ok(Binding::Open(bound)),
        }
    }
}

impl BoundAddr {
    fn tcp(mut address: SocketAddr) -> Self {
        address.set_ip(address.ip().to_canonical());
        Self::Tcp(address)
    }

    /// The address of a socket; `None` if the system does not tell.
    #[must_use]
    pub fn of(socket: &impl AsFd) -> Option<Self> {
        let address = SockRef::from(socket).local_addr().ok()?;
        match address.as_socket() {
            Some(address) => Some(Self::tcp(address)),
            None => Self::unix(address.as_pathname()?),
        }
    }

    /// Returns true if a host and a port stand for it.
    #[must_use]
    pub fn is_of(&self, host: &str, port: u16) -> bool {
        let addresses = Listener::resolve(host, port).unwrap_or_default();
        addresses
            .into_iter()
            .any(|address| Self::tcp(address) == *self)
    }

    /// The socket at a path; `None` if there is none.
    #[must_use]
    pub fn unix(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        found.file_type().is_socket().then(|| Self::Unix {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Listener {
    /// Resolves a host to the addresses that are tried in turn; there is at least one.
    pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }

    /// Returns true if the address belongs to this machine, whoever uses its port.
    pub fn can_bind(mut address: SocketAddr) -> bool {
        address.set_port(0);
        Socket::new(Domain::for_address(address), Type::STREAM, None)
            .and_then(|socket| socket.bind(&address.into()))
            .is_ok()
    }

    /// Binds and listens. Must be called within a runtime.
    ///
    /// An existing file at the path of a unix socket is removed only if it is a socket that nobody listens on.
    pub fn bind(address: &ListenAddr, backlog: u32, reuseport: bool) -> io::Result<Self> {
        match Self::bind_unless(address, backlog, reuseport, |_| false)? {
            Binding::New(listener) => Ok(listener),
            Binding::Open(_) => Err(io::ErrorKind::AddrInUse.into()),
        }
    }

    /// As [`Self::bind`], but the search for an address ends at one that a listener has which `is_open`.
    pub fn bind_unless(
        address: &ListenAddr,
        backlog: u32,
        reuseport: bool,
        is_open: impl Fn(&BoundAddr) -> bool,
    ) -> io::Result<Binding<Self>> {
        match address {
            ListenAddr::Tcp { host, port } => {
                bind_tcp(host, *port, reuseport, is_open)?.try_map(|socket| {
                    socket.listen(length(backlog))?;
                    TcpListener::from_std(socket.into()).map(Self::Tcp)
                })
            }
            ListenAddr::Unix { path, mode } => match BoundAddr::unix(path).filter(is_open) {
                Some(bound) => Ok(Binding::Open(bound)),
                None => bind_unix(path, *mode, backlog).map(Binding::New),
            },
        }
    }

    /// As [`Self::bind_unless`], but nothing listens, and no file is created or removed.
    pub fn check_unless(
        address: &ListenAddr,
        reuseport: bool,
        is_open: impl Fn(&BoundAddr) -> bool,
    ) -> io::Result<Binding<()>> {
        match address {
            ListenAddr::Tcp { host, port } => {
                bind_tcp(host, *port, reuseport, is_open)?.try_map(|_| Ok(()))
            }
            ListenAddr::Unix { path, .. } => match BoundAddr::unix(path).filter(is_open) {
                Some(bound) => Ok(Binding::Open(bound)),
                None => check_unix(path).map(Binding::New),
            },
        }
    }

    /// Takes a socket that another process has opened, which must listen. Its file belongs to that process. Must be called
    /// within a runtime.
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if !socket.is_listener()? {
            let text = "the socket does not listen";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        if address.as_socket().is_some() {
            return TcpListener::from_std(socket.into()).map(Self::Tcp);
        }
        let Some(path) = address.as_pathname() else {
            let text = "the socket has no address that a pool can have";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let file = SocketFile::new(path, false);
        UnixListener::from_std(socket.into()).map(|listener| Self::Unix(file, listener))
    }

    /// Says whether the file of a unix socket belongs to this process, which then removes it.
    pub fn own_file(&self, is_own: bool) {
        if let Self::Unix(file, _) = self {
            file.own(is_own);
        }
    }

    /// Returns true if it has the file of a unix socket that belongs to this process.
    #[must_use]
    pub fn owns_file(&self) -> bool {
        matches!(self, Self::Unix(file, _) if file.is_own())
    }

    /// Returns true if it is a unix socket to which its path no longer leads.
    #[must_use]
    pub fn has_lost_its_file(&self) -> bool {
        matches!(self, Self::Unix(file, _) if !file.is_there())
    }

    /// The address that it is bound to.
    pub fn bound_addr(&self) -> io::Result<BoundAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(BoundAddr::tcp),
            Self::Unix(file, _) => file.bound.ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }

    /// Takes another way of writing its address, and the mode that goes with it.
    pub fn readdress(&mut self, address: &ListenAddr) -> io::Result<()> {
        if let (Self::Unix(file, _), ListenAddr::Unix { path, mode }) = (self, address) {
            file.path.clone_from(path);
            if let Some(mode) = mode {
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
            }
        }
        Ok(())
    }

    /// Changes the number of connections that wait to be accepted.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => rustix::net::listen(listener, length(backlog))?,
            Self::Unix(_, listener) => rustix::net::listen(listener, length(backlog))?,
        }
        Ok(())
    }

    /// Accepts the next client, to be adopted on its worker's thread.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await?.0.into_std().map(Accepted::Tcp),
            Self::Unix(_, listener) => listener.accept().await?.0.into_std().map(Accepted::Unix),
        }
    }
}

/// The backlog, as the system takes it.
fn length(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

/// A socket that is bound to the first address of the host that can be.
fn bind_tcp(
    host: &str,
    port: u16,
    reuseport: bool,
    is_open: impl Fn(&BoundAddr) -> bool,
) -> io::Result<Binding<Socket>> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in Listener::resolve(host, port)? {
        let bound = BoundAddr::tcp(address);
        if is_open(&bound) {
            return Ok(Binding::Open(bound));
        }
        let socket = tcp_socket(address, reuseport)?;
        match socket.bind(&address.into()) {
            Ok(()) => return Ok(Binding::New(socket)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tcp_socket(address: SocketAddr, reuseport: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuseport {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<Listener> {
    remove_stale_socket(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(mode) = mode {
        // The file gets the mode of the socket less the umask, so it never has a wider one than it shall.
        fchmod(&socket, Mode::from_raw_mode(mode))?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path, true);
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(length(backlog))?;
    UnixListener::from_std(socket.into()).map(|listener| Listener::Unix(file, listener))
}

fn remove_stale_socket(path: &Path) -> io::Result<()> {
    if has_stale_socket(path)? {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Returns an error if [`bind_unix`] would.
fn check_unix(path: &Path) -> io::Result<()> {
    has_stale_socket(path)?;
    let dir = path.parent().unwrap_or(path);
    access(dir, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(())
}

/// Returns true if there is a socket on which nobody listens. `Err` if there is another file, or somebody listens.
fn has_stale_socket(path: &Path) -> io::Result<bool> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(false);
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path exists and is not a socket",
        ));
    }
    // A listener with a full backlog would make a blocking call wait until it accepts.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(true),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

impl SocketFile {
    fn new(path: &Path, is_own: bool) -> Self {
        Self {
            path: path.to_owned(),
            bound: BoundAddr::unix(path),
            is_own: AtomicBool::new(is_own),
        }
    }

    /// Says whether it belongs to this process.
    pub fn own(&self, is_own: bool) {
        self.is_own.store(is_own, Ordering::Relaxed);
    }

    /// Returns true if it belongs to this process.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own.load(Ordering::Relaxed)
    }

    /// Returns true unless its path leads to another file, or to none.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.bound.is_some() && BoundAddr::unix(&self.path) == self.bound
    }

    /// Its path, as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(_, listener) => listener.as_fd(),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The file may be gone already, and a successor's be at its path.
        if *self.is_own.get_mut() && self.is_there() {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_has_its_mode_from_the_first_instant() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        fchmod(&socket, Mode::from_raw_mode(0o600)).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            mode(&path),
            0o600,
            "the system honours the mode of the socket"
        );
        drop(socket);

        for expected in [0o600, 0o666] {
            let address = ListenAddr::Unix {
                path: path.clone(),
                mode: Some(expected),
            };
            let _listener = Listener::bind(&address, 1, false).unwrap();
            assert_eq!(mode(&path), expected);
        }
    }

    #[tokio::test]
    async fn socket_of_a_successor_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let address = ListenAddr::Unix {
            path: path.clone(),
            mode: None,
        };
        let first = Listener::bind(&address, 1, false).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Listener::bind(&address, 1, false).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn socket_with_a_full_backlog_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let address = SockAddr::unix(&path).unwrap();
        let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let waiting = socket();
        waiting.connect(&address).unwrap();
        let taken = remove_stale_socket(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop((listener, waiting));
        remove_stale_socket(&path).unwrap();
        assert!(!path.exists());
    }
}
