//! Loopback addresses that no two tests share, even in different processes.
//!
//! All of 127/8 is loopback on Linux, so every listener gets its own address and a fixed port. A process claims
//! addresses by the block: it listens on the first address of a block until it exits. So an address stays reserved also
//! while nothing listens there, such as between the end of a server and its next start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::Mutex;

/// The port at which a block is claimed.
const CLAIM_PORT: u16 = 16001;
/// Addresses of a block.
const BLOCK: u32 = 256;
/// Tests use 127.128.0.0/9, away from servers that people start by hand.
const FIRST: u32 = 0x7f80_0000;
const BLOCKS: u32 = 0x0080_0000 / BLOCK;

/// The addresses of a block that are not yet handed out.
#[derive(Debug)]
struct Block {
    left: std::ops::Range<u32>,
    claims: Vec<TcpListener>,
}

/// An address on which all of `ports` are free.
pub(crate) fn fresh_ip(ports: &[u16]) -> Ipv4Addr {
    static BLOCK_IN_USE: Mutex<Block> = Mutex::new(Block {
        left: 0..0,
        claims: Vec::new(),
    });
    let mut block = BLOCK_IN_USE.lock().unwrap();
    loop {
        let Some(address) = block.left.next() else {
            block.claim();
            continue;
        };
        let ip = Ipv4Addr::from(address);
        // A child of an earlier process may still run.
        let is_free = |port: &u16| TcpListener::bind((ip, *port)).is_ok();
        if ports.iter().all(is_free) {
            return ip;
        }
    }
}

impl Block {
    fn claim(&mut self) {
        let tries = (0..BLOCKS).map(|nth| (process::id().wrapping_mul(8) + nth) % BLOCKS);
        let claimed = tries.map(|nth| FIRST + nth * BLOCK).find_map(|first| {
            let claim = SocketAddr::from((Ipv4Addr::from(first), CLAIM_PORT));
            Some((first, TcpListener::bind(claim).ok()?))
        });
        let (first, claim) = claimed.expect("no loopback addresses are left");
        self.claims.push(claim);
        // The first address is that of the net, and the last its broadcast.
        self.left = first + 1..first + BLOCK - 1;
    }
}
