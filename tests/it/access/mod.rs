//! Who is let in: by the proxy, and by the servers.

mod hostile;
mod networks;
mod proxy_protocol;
mod secrets;
mod server_users;

use crate::support::{Proxy, words};

const OK: &str = "+OK\r\n";

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    variables.iter().map(owned).collect()
}

/// A header of version 1.
fn v1_header(address: &str) -> Vec<u8> {
    let family = if address.contains(':') {
        "TCP6"
    } else {
        "TCP4"
    };
    let listener = if address.contains(':') {
        "::1"
    } else {
        "127.0.0.1"
    };
    format!("PROXY {family} {address} {listener} 4097 80\r\n").into_bytes()
}

/// A header of version 2, with notes of the balancer.
fn v2_header(address: [u8; 4], notes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(12 + notes.len()).unwrap();
    let fixed = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &len.to_be_bytes()].concat();
    let ports = [127, 0, 0, 1, 0x10, 0x01, 0, 80];
    [&fixed[..], &address, &ports, notes].concat()
}

/// The reply to a request on a connection that begins with this header; nothing if it is closed.
fn ask_through(proxy: &Proxy, header: &[u8], request: &str) -> Vec<u8> {
    let mut client = proxy.client();
    // It may be closed before all is sent.
    let _ = client.try_send(&[header, &words(request)].concat());
    client.read_to_close_or_reply()
}

/// A count of the pool, by its name in `docs/stats.md`.
fn count(proxy: &Proxy, name: &str) -> u64 {
    proxy.metric(&format!("ringroad_pool_{name}_total{{pool=\"p\"}}"))
}
