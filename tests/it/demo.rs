//! `make demo` does what the README says, with the program of the tests.

use std::process::Command;

use crate::support::fresh_ip;

#[test]
fn demo_adds_a_server_and_loses_no_key() {
    let ports = [22121, 22131, 22132, 22133, 22134, 22135, 22222];
    let output = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/demo.sh"))
        .env("RINGROAD", env!("CARGO_BIN_EXE_ringroad"))
        .env("DEMO_HOST", fresh_ip(&ports).to_string())
        .env("DEMO_SECONDS", "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    // Before the fifth server came, and after.
    let complete = text.matches("20000 of 20000 values came back");
    assert_eq!(complete.count(), 2, "{text}");
    for told in [
        "all keys are where the new file looks for them",
        ":22135 ",
        ":22222/\n",
        "requests per second",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}
