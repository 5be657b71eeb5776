//! Popular client libraries, in their default configuration, through the proxy with one server and with four.

use super::fleet::Fleet;
use crate::support::run_client;

#[test]
fn pymemcache() {
    through_one_and_four("pymemcache_client.py");
}

#[test]
fn pylibmc() {
    through_one_and_four("pylibmc_client.py");
}

#[test]
fn meta_memcache() {
    through_one_and_four("meta_memcache_client.py");
}

fn through_one_and_four(program: &str) {
    for count in [1, 4] {
        let fleet = Fleet::of(count);
        let address = fleet.proxy.address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        run_client("venv/bin/python", program, &[&ip, &port]);
        let held: Vec<_> = fleet.servers.iter().map(|s| s.keys().len()).collect();
        assert!(
            held.iter().all(|keys| *keys > 0),
            "{program} before {count}: {held:?}"
        );
    }
}
