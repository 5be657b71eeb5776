//! The programs in `tests/clients`, which use client libraries as their users do.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs one of them with an interpreter that `make setup` has installed, or with the system's. They exit with 0 on
/// success; otherwise this fails and shows their output.
pub(crate) fn run_client(interpreter: &str, program: &str, args: &[&str]) {
    run_client_with(interpreter, program, args, &[]);
}

/// The same, with these variables in its environment.
pub(crate) fn run_client_with(
    interpreter: &str,
    program: &str,
    args: &[&str],
    variables: &[(&str, &Path)],
) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let installed = root.join("target/clients");
    assert!(
        installed.exists(),
        "the client libraries are not installed: run `make setup`"
    );
    let local = installed.join(interpreter);
    let interpreter = if local.exists() {
        local
    } else {
        PathBuf::from(interpreter)
    };
    let output = Command::new("timeout")
        .arg("60")
        .arg(&interpreter)
        .arg(root.join("tests/clients").join(program))
        .args(args)
        .env("CLIENTS", installed.join("node_modules"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:#?}");
}
