//! The page in Chromium, against a real proxy (`tests/page/checks.js`).

use std::path::Path;
use std::process::Command;

use crate::support::fresh_ip;

/// The ports of `tests/page/site.js`.
const PORTS: [u16; 10] = [
    16121, 16122, 16222, 16223, 16131, 16132, 16133, 16134, 16135, 17000,
];

fn check(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join("target/clients/node_modules");
    assert!(
        modules.join("playwright-core").exists(),
        "the driver of the browser is not installed: run `make setup`"
    );
    let output = Command::new("timeout")
        .arg("240")
        .arg("node")
        .arg(root.join("tests/page/checks.js"))
        .args([name, env!("CARGO_BIN_EXE_ringroad")])
        .arg(fresh_ip(&PORTS).to_string())
        .env("CLIENTS", modules)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}: {stderr}",
        output.status
    );
}

#[test]
fn page_shows_what_the_api_tells() {
    check("figures");
}

#[test]
fn page_is_for_keyboards_screen_readers_and_phones() {
    check("access");
}

#[test]
fn page_shows_servers_and_proxies_that_are_gone() {
    check("troubles");
}

#[test]
fn page_shows_trouble_with_files_of_tls() {
    check("tls");
}

#[test]
fn page_changes_things_after_a_confirmation() {
    check("actions");
}

#[test]
fn page_on_the_stats_port_reads_only() {
    check("readonly");
}

#[test]
fn page_shows_two_hundred_pools() {
    check("many");
}

#[test]
fn page_shows_a_move_of_keys() {
    check("moves");
}

#[test]
fn page_tells_which_moves_cannot_be_read() {
    check("hangs");
}
