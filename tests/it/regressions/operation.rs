//! Start, restart and shutdown.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use super::one_worker;
use crate::support::{
    Client, FakeServer, Gate, PATIENCE, Pool, Process, Proxy, RedisServer, eventually, fresh_ip,
    reply_len, show, words,
};

const PORT: u16 = 16121;
const STATS_PORT: u16 = 16222;

/// A configuration that can be started more than once.
struct Site {
    dir: TempDir,
    address: SocketAddr,
}

/// A process that is no child of the test; dropping it kills it.
struct Daemon(Pid);

impl Site {
    fn new(server: &RedisServer) -> Self {
        let dir = TempDir::new().unwrap();
        let address = SocketAddr::from((fresh_ip(&[PORT, STATS_PORT]), PORT));
        let yaml = Pool::of([server]).yaml(address);
        fs::write(dir.path().join("p.yml"), yaml).unwrap();
        Self { dir, address }
    }

    fn daemonize(&self) -> Output {
        let ip = self.address.ip().to_string();
        Command::new(env!("CARGO_BIN_EXE_ringroad"))
            .current_dir(self.dir.path())
            .args(["-d", "-c", "p.yml", "-o", "log", "-p", "pid", "-a", &ip])
            .args(["-s", &STATS_PORT.to_string(), "--workers", "1"])
            .output()
            .unwrap()
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.path().join("pid")
    }

    fn pid(&self) -> Pid {
        let text = fs::read_to_string(self.pid_file()).unwrap();
        Pid::from_raw(text.parse().unwrap()).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn daemon_is_ready_on_return_and_removes_its_pid_file() {
    let server = RedisServer::start();
    let site = Site::new(&server);
    let started = site.daemonize();
    assert_eq!(started.status.code(), Some(0), "{}", show(&started.stderr));
    let daemon = Daemon(site.pid());
    let mut client = Client::connect(site.address);
    client.converse(&[("SET a 1", "+OK\r\n")]);
    let program = fs::read_link(format!("/proc/{}/exe", daemon.0.as_raw_nonzero())).unwrap();
    assert_eq!(program, Path::new(env!("CARGO_BIN_EXE_ringroad")));

    let second = site.daemonize();
    assert_eq!(second.status.code(), Some(1));
    assert!(show(&second.stderr).contains("Address already in use"));
    assert_eq!(site.pid(), daemon.0, "the second start took the pid file");
    client.converse(&[("GET a", "$1\r\n1\r\n")]);

    kill_process(daemon.0, Signal::TERM).unwrap();
    client.expect_close();
    drop(client);
    eventually("the daemon is gone", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", daemon.0.as_raw_nonzero()));
        // Its new parent may be slow to reap it.
        let is_dead = state.map_or(true, |stat| stat.contains(") Z "));
        (is_dead || test_kill_process(daemon.0).is_err()).then_some(())
    });
    assert!(!site.pid_file().exists());
}

#[test]
fn busy_client_does_not_delay_shutdown() {
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &[]);
    let mut reader = TcpStream::connect(proxy.address()).unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = reader.try_clone().unwrap();
    let batch = words("INCR n").repeat(100);
    let writing = thread::spawn(move || while writer.write_all(&batch).is_ok() {});
    let (progress_sender, progress) = channel();
    let reading = thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        // It ends with a FIN or, as the client keeps sending, with a reset.
        while reader.read(&mut piece).is_ok_and(|len| len > 0) {
            let _ = progress_sender.send(());
        }
    });
    progress.recv_timeout(PATIENCE).unwrap();
    let start = Instant::now();
    proxy.terminate();
    assert_eq!(proxy.process().exit().code(), Some(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(9), "left only after {took:?}");
    writing.join().unwrap();
    reading.join().unwrap();
}

#[test]
fn executed_requests_are_answered_on_shutdown() {
    const WINDOW: usize = 64;
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &[]);
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let batch = words("INCR n").repeat(WINDOW);
    let (progress_sender, progress) = channel();
    let requester = thread::spawn(move || {
        let (mut received, mut replies, mut piece) = (Vec::new(), 0, [0; 4096]);
        loop {
            if replies % WINDOW == 0 && stream.write_all(&batch).is_err() {
                return Err(replies);
            }
            match stream.read(&mut piece) {
                Ok(0) => return Ok(replies),
                Ok(len) => received.extend_from_slice(&piece[..len]),
                Err(_) => return Err(replies),
            }
            while let Some(len) = reply_len(&received).unwrap() {
                received.drain(..len);
                replies += 1;
                if replies % WINDOW == 0 {
                    let _ = progress_sender.send(());
                    break;
                }
            }
        }
    });
    for _ in 0..20 {
        progress.recv_timeout(PATIENCE).unwrap();
    }
    proxy.terminate();
    let replies = requester.join().unwrap();
    let done = server.ask("GET n");
    let done = show(&done);
    let counted = replies.unwrap_or_else(|replies| panic!("reset after {replies} replies; {done}"));
    assert!(
        done.contains(&format!("\\n{counted}\\r")),
        "{counted} replies; {done}"
    );
    assert_eq!(proxy.process().exit().code(), Some(0));
}

#[test]
fn sent_request_gets_a_reply_and_clean_close_on_shutdown() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut clients: Vec<_> = (0..50).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.converse(&[("SET a 1", "+OK\r\n")]);
    }
    for client in &mut clients {
        client.send(&words("GET a"));
    }
    proxy.terminate();
    for client in &mut clients {
        assert_eq!(show(&client.reply()), show(b"$1\r\n1\r\n"));
        client.expect_close();
    }
    drop(clients);
    assert_eq!(proxy.process().exit().code(), Some(0));
}

#[test]
fn new_process_keeps_its_unix_socket() {
    let gate = Gate::new();
    let wait = gate.waiter();
    let (arrived, arrival) = channel();
    let server = FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.request() {
            if request == words("GET held") {
                arrived.send(()).unwrap();
                wait();
            }
            peer.send(b"+done\r\n");
        }
    });
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("socket");
    let yaml = Pool::at([server.address()]).yaml(SocketAddr::from(([0, 0, 0, 0], PORT)));
    let listen = format!("listen: {}", socket.display());
    fs::write(
        dir.path().join("p.yml"),
        yaml.replace("listen: 0.0.0.0:16121", &listen),
    )
    .unwrap();
    let start = || {
        let ip = fresh_ip(&[STATS_PORT]).to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        command
            .current_dir(dir.path())
            .args(["-o", "", "-c", "p.yml", "-a", &ip])
            .args(["-s", &STATS_PORT.to_string()]);
        let process = Process::spawn(command);
        process.await_output("listening");
        process
    };
    let ask = |request: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&words(request)).unwrap();
        stream
    };
    let done = |mut stream: UnixStream| {
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+done\r\n");
    };
    let old = start();
    done(ask("GET free"));
    let held = ask("GET held");
    arrival.recv_timeout(PATIENCE).unwrap();
    old.signal(Signal::TERM);
    eventually("the old process no longer listens", || {
        UnixStream::connect(&socket).is_err().then_some(())
    });
    let new = start();
    done(ask("GET free"));
    gate.open();
    done(held);
    assert_eq!(old.exit().code(), Some(0));
    assert!(socket.exists(), "the old process took the socket away");
    done(ask("GET free"));
    new.signal(Signal::TERM);
    assert_eq!(new.exit().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn config_check_warns_of_bad_key_distribution() {
    let dir = TempDir::new().unwrap();
    let addresses = [1, 2, 3].map(|n| SocketAddr::from(([127, 0, 0, n], 6379)));
    let listen = SocketAddr::from(([127, 0, 0, 1], 22121));
    for (hash, is_sound) in [("crc32", false), ("murmur", true)] {
        let pool = Pool::at(addresses)
            .with("hash", hash)
            .with("distribution", "ketama");
        fs::write(dir.path().join("p.yml"), pool.yaml(listen)).unwrap();
        let checked = Command::new(env!("CARGO_BIN_EXE_ringroad"))
            .current_dir(dir.path())
            .args(["-t", "-c", "p.yml"])
            .output()
            .unwrap();
        let stderr = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(0), "{stderr}");
        assert!(stderr.ends_with("syntax is ok\n"), "{stderr}");
        let warns = stderr.starts_with("ringroad: warning: pool 'p': ");
        assert_eq!(warns, !is_sound, "{hash}: {stderr}");
    }
}
