//! TLS, towards clients and towards servers.

pub(crate) mod certificates;
pub(crate) mod client;
mod clients;
mod failovers;
mod fleet;
mod floods;
mod moves;
mod paths;
mod refusals;
mod renewal;
mod servers;
mod stats_port;
mod streams;

use crate::support::{Pool, Proxy, RedisServer};
use certificates::{Ca, Files};
use client::{Setup, TlsClient};

/// The name of the proxy in its certificate.
const NAME: &str = "ringroad.test";

/// The name of the servers in theirs.
const SERVER_NAME: &str = "redis.test";

/// A pool with a listener for TLS.
fn tls_pool<'s>(servers: impl IntoIterator<Item = &'s RedisServer>, own: &Files) -> Pool {
    Pool::of(servers)
        .listening_for_tls()
        .with("tls_cert", own.cert.display())
        .with("tls_key", own.key.display())
}

/// Encrypts connections to the servers of a pool.
fn with_server_tls(pool: Pool, ca: &Ca) -> Pool {
    pool.with("server_tls", true)
        .with("server_tls_ca", ca.file().display())
        .with("server_tls_name", SERVER_NAME)
}

/// A redis-server that speaks nothing but TLS.
fn tls_server(ca: &Ca, own: &Files, more: &[&str]) -> RedisServer {
    let options = tls_options(ca, own);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    RedisServer::start_with(&[&options, more].concat())
}

/// The options of such a server, in pairs.
fn tls_options(ca: &Ca, own: &Files) -> Vec<String> {
    let options = [
        ("--port", "0".to_owned()),
        ("--tls-port", "16379".to_owned()),
        ("--tls-cert-file", own.cert.display().to_string()),
        ("--tls-key-file", own.key.display().to_string()),
        ("--tls-ca-cert-file", ca.file().display().to_string()),
    ];
    let pairs = options.map(|(option, value)| [option.to_owned(), value]);
    pairs.concat()
}

/// A client of a proxy.
fn connect(proxy: &Proxy, ca: &Ca) -> TlsClient {
    Setup::new(&ca.file(), None).connect(proxy.tls_address(), NAME)
}

/// A CA, the certificate of a proxy, a server, and a proxy before it.
fn plain_server() -> (Ca, RedisServer, Proxy) {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let own = ca.issue("proxy", &[NAME]);
    let proxy = Proxy::ringroad(&tls_pool([&server], &own));
    (ca, server, proxy)
}
