//! Loopback addresses that no two tests share.
//!
//! All of 127/8 is loopback on Linux, so everything that listens gets an address of its own and a fixed port. The address
//! follows from the process and a counter, and trying to bind it proves that nobody else is there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Addresses that one process may use before it runs into those of the next process id.
const PER_PROCESS: u32 = 512;
/// Tests live in 127.128.0.0/9, away from what people start by hand.
const FIRST: u32 = 0x7f80_0000;
const COUNT: u32 = 0x007f_ffff;

/// An address on which all of `ports` are free.
pub(crate) fn fresh_ip(ports: &[u16]) -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PER_PROCESS {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = process::id().wrapping_mul(PER_PROCESS).wrapping_add(nth) % COUNT;
        let ip = Ipv4Addr::from(FIRST + offset);
        let is_free = |port: &u16| TcpListener::bind(SocketAddr::from((ip, *port))).is_ok();
        if ports.iter().all(is_free) {
            return ip;
        }
    }
    panic!("no loopback address has the ports {ports:?} free");
}
