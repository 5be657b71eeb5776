//! Messages to the service manager (`sd_notify(3)`).
//!
//! Lost messages are not repeated: the service manager is either there, or there is none.

use std::env;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Tells the service manager of the state of this process. A clone tells the same one.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    address: Option<SocketAddr>,
}

/// The service manager restarts a process that does not notify it so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    /// The interval in which it expects a message.
    pub within: Duration,
}

impl Notifier {
    /// The service manager that has started this process, if one wants to know.
    #[must_use]
    pub fn from_environment() -> Self {
        Self {
            address: env::var_os("NOTIFY_SOCKET").and_then(|path| address(&path)),
        }
    }

    /// The process serves.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// This process serves, in the place of the main process.
    pub fn ready_as_main(&self, status: &str) {
        let pid = std::process::id();
        self.send(&format!("MAINPID={pid}\nREADY=1\nSTATUS={status}"));
    }

    /// It loads its configuration again; [`Self::ready`] ends that.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or_default();
        let micros = Duration::new(seconds, nanoseconds).as_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// It works.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some(address) = &self.address else {
            return;
        };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            // A service manager that does not read must not hold up this thread.
            socket.set_nonblocking(true)?;
            socket.send_to_addr(message.as_bytes(), address)
        });
        if let Err(error) = sent {
            tracing::debug!(%error, "service manager not notified");
        }
    }
}

/// The address of a path, or of an abstract name after `@`.
fn address(path: &OsStr) -> Option<SocketAddr> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(path),
        _ => return None,
    };
    address.ok()
}

impl Watchdog {
    /// The watchdog of this process, if the service manager has one.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let micros = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        let is_own =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let within = Duration::from_micros(micros);
        (is_own && !within.is_zero()).then_some(Self { within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("@ringroad-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str()),
            (
                UnixDatagram::bind_addr(&abstract_name).unwrap(),
                OsStr::new(&name),
            ),
        ];
        for (socket, text) in sockets {
            let notifier = Notifier {
                address: address(text),
            };
            notifier.ready("serving");
            assert_eq!(received(&socket), "READY=1\nSTATUS=serving");
            notifier.ready_as_main("serving");
            let main = format!("MAINPID={}\nREADY=1\nSTATUS=serving", std::process::id());
            assert_eq!(received(&socket), main);
            notifier.reloading();
            let reloading = received(&socket);
            let micros = reloading
                .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
                .unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0, "{micros}");
            notifier.stopping("draining");
            assert_eq!(received(&socket), "STOPPING=1\nSTATUS=draining");
            notifier.alive();
            assert_eq!(received(&socket), "WATCHDOG=1");
        }
    }

    #[test]
    fn nothing_is_sent_without_a_service_manager() {
        assert!(address(OsStr::new("")).is_none());
        assert!(address(OsStr::new("relative")).is_none());
        Notifier::default().ready("serving");
    }
}
