//! Two processes behind one address, as behind a TCP proxy whose server has failed over.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::OK;
use super::coordinator::{Move, pool_at};
use crate::support::{Client, Proxy, RedisServer, eventually, show, words};

/// Passes connections on to a server; new ones to another one after [`Relay::lead_to`].
struct Relay {
    address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
    is_over: Arc<AtomicBool>,
}

impl Relay {
    fn to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            to: Arc::new(Mutex::new(server.address())),
            is_over: Arc::default(),
        };
        let (to, is_over) = (Arc::clone(&relay.to), Arc::clone(&relay.is_over));
        thread::spawn(move || {
            for near in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let near = near.unwrap();
                let far = TcpStream::connect(*to.lock().unwrap()).unwrap();
                let (back, forth) = (far.try_clone().unwrap(), near.try_clone().unwrap());
                thread::spawn(move || pass(near, far));
                thread::spawn(move || pass(back, forth));
            }
        });
        relay
    }

    fn lead_to(&self, server: &RedisServer) {
        *self.to.lock().unwrap() = server.address();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn watcher_follows_its_address_to_another_process() {
    let servers: [_; 2] = RedisServer::several();
    let successor = RedisServer::start();
    let relay = Relay::to(&servers[0]);
    let addresses = [relay.address, servers[1].address()];
    let pools = [&addresses[..1], &addresses].map(|some| pool_at(some.iter().copied()));
    let mut mv = Move::between(pools, &servers);
    let proxy = Proxy::ringroad(&mv.pool_before());
    let (_, key) = mv.moving_key("k");
    let stays = mv.staying_key("s");
    proxy.client().converse(&[(&format!("SET {stays} v"), OK)]);
    mv.arm();
    // A replica has all that its primary has, also the mark.
    let [ip, port] = [
        servers[0].address().ip().to_string(),
        servers[0].address().port().to_string(),
    ];
    assert_eq!(successor.ask(&format!("REPLICAOF {ip} {port}")), b"+OK\r\n");
    eventually("the replica has the mark", || {
        (successor.ask("EXISTS ringroad:mark:p:0") == b":1\r\n").then_some(())
    });
    assert_eq!(successor.ask("REPLICAOF NO ONE"), b"+OK\r\n");
    relay.lead_to(&successor);
    mv.end_guarded(0);
    let mut client = proxy.client();
    client.set_patience(Duration::from_secs(5));
    let ask = |client: &mut Client, request: &str| {
        client.send(&words(request));
        client.try_reply().map(|reply| show(&reply))
    };
    let reply = ask(&mut client, &format!("SET {stays} w"));
    assert_eq!(reply, Ok(show(OK.as_bytes())));
    assert_eq!(successor.ask(&format!("GET {stays}")), b"$1\r\nw\r\n");
    // What moves waits for a coordinator that looks at this process.
    client.send(&words(&format!("SET {key} w")));
    assert!(super::waits(&mut client));
}
