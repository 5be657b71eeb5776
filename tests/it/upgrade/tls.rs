//! Clients over TLS: their keys stay in the old process, so they are closed when they are idle, and connect again.

use std::net::SocketAddr;

use super::site::{MORE, Site};
use crate::support::show;
use crate::tls::certificates::Ca;
use crate::tls::client::Setup;

#[test]
fn tls_clients_are_answered_and_closed_by_an_upgrade() {
    let (site, ca) = (Site::start(), Ca::new());
    let own = ca.issue("proxy", &["ringroad.test"]);
    let address = SocketAddr::new(site.address().ip(), MORE);
    let (cert, key) = (own.cert.display(), own.key.display());
    let lines = format!("  tls_listen: {address}\n  tls_cert: {cert}\n  tls_key: {key}\n");
    let place = "  redis: true\n";
    site.rewrite_conf(|yaml| yaml.replacen(place, &format!("{place}{lines}"), 1));
    site.ctl(&["reload"]);
    let setup = Setup::new(&ca.file(), None);
    let mut clients: Vec<_> = (0..20)
        .map(|_| setup.connect(address, "ringroad.test"))
        .collect();
    let mut plain = site.client();
    plain.converse(&[("SET key value", "+OK\r\n")]);
    for client in &mut clients {
        assert_eq!(show(&client.ask("GET key")), "$5\\r\\nvalue\\r\\n");
    }
    let new = site.upgrade();
    for client in &mut clients {
        // With a word of goodbye: nothing is cut off.
        assert_eq!(show(&client.read_to_close()), "");
    }
    plain.converse(&[("GET key", "$5\r\nvalue\r\n")]);
    let mut again = setup.connect(address, "ringroad.test");
    assert_eq!(show(&again.ask("GET key")), "$5\\r\\nvalue\\r\\n");
    site.assert_serves(new);
}
