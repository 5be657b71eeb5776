//! A command on a terminal, as `script` makes one.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A command that runs on a terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    shown: Vec<u8>,
}

impl Terminal {
    /// Runs the program with these words, in a directory.
    pub(crate) fn run(dir: &Path, words: &str) -> Self {
        let command = format!("{} {words}", env!("CARGO_BIN_EXE_ringroad"));
        // The tests may run in the background of a shell, which then ignores SIGINT for all of them.
        let child = Command::new("env")
            .args(["--default-signal=INT", "script"])
            .current_dir(dir)
            .args(["-qec", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Vec::new();
        Self { child, shown }
    }

    /// Waits until what is shown ends with this text.
    pub(crate) fn await_text(&mut self, text: &str) {
        let out = self.child.stdout.as_mut().unwrap();
        while !self.shown.ends_with(text.as_bytes()) {
            let mut byte = [0];
            let shown = self.shown.escape_ascii();
            assert!(out.read(&mut byte).unwrap() > 0, "{text} is not in {shown}");
            self.shown.push(byte[0]);
        }
    }

    pub(crate) fn type_in(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, and all that was shown.
    pub(crate) fn end(self) -> (Option<i32>, String) {
        let output = self.child.wait_with_output().unwrap();
        let shown = [self.shown, output.stdout].concat();
        (output.status.code(), String::from_utf8(shown).unwrap())
    }
}
