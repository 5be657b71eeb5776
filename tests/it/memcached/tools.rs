//! libmemcached's own conformance tool: tests that pass against memcached itself pass through the proxy, except for
//! those listed here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use super::fleet::Fleet;
use crate::support::Memcached;

/// Tests that pass against memcached and not through the proxy, each with the reason.
const DIFFERENCES: [(&str, &str); 0] = [];

#[test]
fn memccapable_passes_as_with_memcached() {
    let alone = Memcached::start();
    let fleets = [Fleet::of(1), Fleet::of(4)];
    // It waits for replies that must not arrive, so the three runs are concurrent.
    let (expected, found) = std::thread::scope(|scope| {
        let address = alone.address();
        let expected = scope.spawn(move || results(address));
        let runs = fleets.each_ref().map(|fleet| {
            let address = fleet.proxy.address();
            scope.spawn(move || results(address))
        });
        let found = runs.map(|run| run.join().unwrap());
        (expected.join().unwrap(), found)
    });
    assert!(expected.len() >= 27, "{expected:?}");
    for (fleet, found) in fleets.iter().zip(found) {
        let count = fleet.servers.len();
        let names: Vec<_> = expected.keys().collect();
        assert_eq!(names, found.keys().collect::<Vec<_>>(), "before {count}");
        let differing: Vec<&str> = expected
            .iter()
            .filter(|(name, result)| found[*name] != **result)
            .map(|(name, _)| name.as_str())
            .collect();
        let listed: Vec<&str> = DIFFERENCES.iter().map(|(name, _)| *name).collect();
        assert_eq!(differing, listed, "before {count}: {found:?}");
    }
}

/// The result of each ASCII test of `memccapable`: `pass` or `FAIL`.
fn results(address: SocketAddr) -> BTreeMap<String, String> {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let output = Command::new("timeout")
        .args(["60", "memccapable", "-a", "-t", "5", "-h", &ip, "-p", &port])
        .output()
        .unwrap_or_else(|error| panic!("memccapable: {error}: run `make setup`"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The result of a failed test is on the other stream, and the next test shares its line.
    let tests = text.split("ascii ").skip(1).map(|test| {
        let name = test.split(['[', '\n']).next().unwrap_or_default().trim();
        let result = if test.contains("[pass]") {
            "pass"
        } else {
            "FAIL"
        };
        (name.to_owned(), result.to_owned())
    });
    let results: BTreeMap<_, _> = tests.collect();
    assert!(!results.is_empty(), "{output:?}");
    results
}
