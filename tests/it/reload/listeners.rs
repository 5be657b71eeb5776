//! A listener stays open when its address is only written differently.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

use tempfile::TempDir;

use super::OK;
use crate::support::{Client, Kind, Launch, Pool, Proxy, RedisServer, show, words};

const IN_USE: &str = "the configuration is in use";
/// Of a listener that is bound.
const BOUND: &str = ": listening pool=";

/// The configuration of a pool that listens on what is written so.
fn listening_on(pool: &Pool, proxy: &Proxy, listen: &str) -> String {
    let written = format!("listen: {}\n", proxy.address());
    let yaml = pool.yaml(proxy.address());
    assert!(yaml.contains(&written), "{yaml}");
    yaml.replacen(&written, &format!("listen: '{listen}'\n"), 1)
}

#[test]
fn address_written_differently_keeps_its_listener() {
    let server = RedisServer::start();
    let dir = TempDir::new().unwrap();
    let hosts = dir.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    for reuseport in [false, true] {
        let launch = Launch {
            hosts: Some(hosts.clone()),
            ..Launch::default()
        };
        let pool = Pool::of([&server]).with("reuseport", reuseport);
        let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
        let (ip, port) = (proxy.address().ip(), proxy.address().port());
        fs::write(&hosts, format!("{ip} proxy.test other.test\n")).unwrap();
        let mut client = proxy.client();
        client.converse(&[("SET k 1", OK)]);
        for listen in [
            format!("proxy.test:{port}"),
            format!("other.test:{port}"),
            format!("[::ffff:{ip}]:{port}"),
            format!("{ip}:{port}"),
        ] {
            let outcome = proxy.reload_text(&listening_on(&pool, &proxy, &listen));
            assert!(outcome.contains(IN_USE), "{listen}: {outcome}");
            assert!(!outcome.contains(BOUND), "{outcome}");
            proxy.client().converse(&[("GET k", "$1\r\n1\r\n")]);
        }
        client.converse(&[("GET k", "$1\r\n1\r\n")]);
        // The next one is bound as at a start.
        let other = port + 1;
        let outcome =
            proxy.reload_text(&listening_on(&pool, &proxy, &format!("proxy.test:{other}")));
        assert!(
            outcome.contains(IN_USE) && outcome.contains(BOUND),
            "{outcome}"
        );
        assert!(Client::try_connect(proxy.address()).is_err());
    }
}

#[test]
fn pools_swap_listeners_that_are_written_differently() {
    let [first, second] = RedisServer::several();
    for (server, value) in [(&first, "first"), (&second, "second")] {
        server.client().converse(&[(&format!("SET k {value}"), OK)]);
    }
    let (here, there) = (Pool::of([&first]), Pool::of([&second]));
    let proxy = Proxy::ringroad(&here);
    let (ip, port) = (proxy.address().ip(), proxy.address().port());
    let yaml = |pool: &Pool, name: &str, listen: &str| {
        listening_on(pool, &proxy, listen).replacen("p:", &format!("{name}:"), 1)
    };
    let other = port + 1;
    let plain = |port| format!("{ip}:{port}");
    let mapped = |port| format!("[::ffff:{ip}]:{port}");
    proxy.reload_text(&(yaml(&here, "p", &plain(port)) + &yaml(&there, "q", &plain(other))));
    let swapped = yaml(&here, "p", &mapped(other)) + &yaml(&there, "q", &mapped(port));
    let outcome = proxy.reload_text(&swapped);
    assert!(outcome.contains(IN_USE), "{outcome}");
    assert!(!outcome.contains(BOUND), "{outcome}");
    proxy.client().converse(&[("GET k", "$6\r\nsecond\r\n")]);
}

/// The reply to a PING over a unix socket.
fn ping(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(&words("PING")).unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    show(&reply)
}

#[test]
fn unix_socket_keeps_its_listener_and_gets_the_new_mode() {
    let server = RedisServer::start();
    let dir = TempDir::new().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let pool = Pool::of([&server]);
    let proxy = Proxy::ringroad(&pool);
    let both = |listen: &str| {
        let unix = listening_on(&pool, &proxy, listen).replacen("p:", "q:", 1);
        pool.yaml(proxy.address()) + &unix
    };
    let (by_real, by_link) = (real.join("q.sock"), link.join("q.sock"));
    let outcome = proxy.reload_text(&both(&format!("{} 0600", by_real.display())));
    assert!(outcome.contains(IN_USE), "{outcome}");
    for (path, mode) in [(&by_link, 0o600), (&by_link, 0o666), (&by_real, 0o640)] {
        let outcome = proxy.reload_text(&both(&format!("{} {mode:04o}", path.display())));
        assert!(outcome.contains(IN_USE), "{outcome}");
        let found = fs::metadata(&by_real).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode);
        assert_eq!(ping(&by_real), "+PONG\\r\\n");
    }
    // The mode that a start would give it depends on the umask.
    let outcome = proxy.reload_text(&both(&by_real.display().to_string()));
    let advice = "write a mode behind the path, or restart";
    assert!(outcome.contains(advice), "{outcome}");
    let outcome = proxy.reload_text(&both(&by_link.display().to_string()));
    assert!(outcome.contains(advice), "{outcome}");
    assert_eq!(ping(&by_real), "+PONG\\r\\n");
    proxy.reload(&pool);
    assert!(!by_real.exists());
}

#[test]
fn unix_socket_whose_file_was_removed_gets_a_new_one() {
    let server = RedisServer::start();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("q.sock");
    let pool = Pool::of([&server]);
    let proxy = Proxy::ringroad(&pool);
    let both = |mode: &str| {
        let listen = format!("{} {mode}", path.display());
        let unix = listening_on(&pool, &proxy, &listen).replacen("p:", "q:", 1);
        pool.yaml(proxy.address()) + &unix
    };
    proxy.reload_text(&both("0600"));
    fs::remove_file(&path).unwrap();
    let outcome = proxy.reload_text(&both("0640"));
    assert!(outcome.contains(IN_USE), "{outcome}");
    assert_eq!(ping(&path), "+PONG\\r\\n");
    proxy.reload(&pool);
    assert!(!path.exists());
}

#[test]
fn renamed_pool_at_another_spelling_may_not_lose_keys() {
    let servers: [_; 3] = RedisServer::several();
    let store = |count: usize| Pool::of(&servers[..count]).with("hash", "murmur");
    let proxy = Proxy::ringroad(&store(2));
    let listen = format!(
        "[::ffff:{}]:{}",
        proxy.address().ip(),
        proxy.address().port()
    );
    let renamed = |count| listening_on(&store(count), &proxy, &listen).replacen("p:", "q:", 1);
    let outcome = proxy.reload_text(&renamed(3));
    assert!(
        outcome.contains("pool 'q', in the place of 'p': "),
        "{outcome}"
    );
    let outcome = proxy.reload_text(&renamed(2));
    assert!(outcome.contains(IN_USE), "{outcome}");
    assert_eq!(show(&proxy.ask("PING")), "+PONG\\r\\n");
}
