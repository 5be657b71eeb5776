//! What operators see of the requests that pass: hot keys, big keys, the slow log, MONITOR and `ringroad ctl tap`.

mod hot_keys;
mod large_and_slow;
mod monitor;
mod tap;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Kind, Launch, Pool, Proxy};

/// A proxy with an admin socket.
struct Watched {
    proxy: Proxy,
    dir: TempDir,
}

impl Watched {
    fn start(pool: &Pool) -> Self {
        let dir = TempDir::new().unwrap();
        let args = ["--workers", "2", "--admin"].map(str::to_owned);
        let socket = dir.path().join("ctl.sock").display().to_string();
        let launch = Launch {
            args: args.into_iter().chain([socket]).collect(),
            ..Launch::default()
        };
        let proxy = Proxy::start(Kind::Ringroad, pool, &launch);
        Self { proxy, dir }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("ctl.sock")
    }

    /// A command of `ringroad ctl`.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroad"));
        command.arg("ctl").arg("--admin").arg(self.socket());
        command.args(args);
        command
    }

    /// The output of a command that succeeds.
    fn ctl(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let json = self.ctl(&[&["--json"], args].concat());
        serde_json::from_str(&json).unwrap()
    }
}
